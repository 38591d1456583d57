/**
 * What the Worker and its objects asked of SQL, as the runtime itself counts it: a streaming tail Worker beside
 * the real one collects the spans that workerd makes of every call to D1 and to an object's storage.
 */
import { z } from "zod";

export type SqlCall = {
  /** The shared database, or an object's own. */
  readonly store: "d1" | "object";
  /** The statements of a batch are joined by line breaks. */
  readonly text: string;
  readonly rowsRead: number;
  readonly rowsWritten: number;
};

/** The tail Worker, for miniflare. A GET gives what it has collected, and forgets it. */
export const tracer = (name: string) => ({
  name,
  modules: true,
  compatibilityDate: "2026-10-15",
  compatibilityFlags: ["streaming_tail_worker", "experimental"],
  unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  script: `
    const collected = [];
    const plain = (_name, value) => (typeof value === "bigint" ? Number(value) : value);
    export default {
      fetch: () => new Response(JSON.stringify(collected.splice(0), plain)),
      tailStream: () => ({ attributes: ({ event }) => void collected.push(event.info) }),
    };
  `,
});

const traceSchema = z.array(z.array(z.object({ name: z.string(), value: z.unknown() })));

const callSchema = z.object({
  "db.query.text": z.string(),
  "db.system.name": z.string(),
});

const count = z.number().default(0);

export const parseTrace = (text: string): SqlCall[] =>
  traceSchema.parse(JSON.parse(text)).flatMap((attributes): SqlCall[] => {
    const named = Object.fromEntries(attributes.map(({ name, value }) => [name, value]));
    const call = callSchema.safeParse(named);
    if (!call.success) return [];
    const store = call.data["db.system.name"] === "cloudflare-d1" ? "d1" : "object";
    const counter = store === "d1" ? "cloudflare.d1.response" : "cloudflare.durable_object.response";
    return [
      {
        store,
        text: call.data["db.query.text"].trim(),
        rowsRead: count.parse(named[`${counter}.rows_read`]),
        rowsWritten: count.parse(named[`${counter}.rows_written`]),
      },
    ];
  });
