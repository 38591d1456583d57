/**
 * A second Worker in the same workerd, for what no client may do: it runs SQL on the same database, and it
 * listens to the spans that the runtime makes of every SQL call of the first, as a streaming tail Worker.
 * Being inside, it answers in a millisecond; miniflare's own proxy for D1 takes forty.
 */
import type { LegacyWorkerOptions } from "miniflare";
import { z } from "zod";

/** A statement and its parameters. */
export type Statement = readonly [text: string, ...params: (string | number | null)[]];

export type SqlRow = Readonly<Record<string, string | number | null>>;

/** A call that D1 or an object's own storage served, as the runtime counts it. */
export type SqlCall = {
  readonly store: "d1" | "object";
  /** The statements of a batch are joined by line breaks. */
  readonly text: string;
  readonly rowsRead: number;
  readonly rowsWritten: number;
};

/**
 * The Worker, for miniflare.
 *
 * @param d1Databases what the first Worker binds
 */
export const companion = (
  name: string,
  d1Databases: LegacyWorkerOptions["d1Databases"],
): LegacyWorkerOptions => ({
  name,
  modules: true,
  compatibilityDate: "2026-10-15",
  compatibilityFlags: ["streaming_tail_worker", "experimental"],
  ...(d1Databases === undefined ? {} : { d1Databases }),
  unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  script: `
    const spans = [];
    const plain = (_name, value) => (typeof value === "bigint" ? Number(value) : value);
    export default {
      async fetch(request, env) {
        const DB = env[new URL(request.url).searchParams.get("database")];
        if (request.method === "GET") return new Response(JSON.stringify(spans.splice(0), plain));
        const statements = await request.json();
        try {
          const results = await DB.batch(statements.map(([text, ...params]) => DB.prepare(text).bind(...params)));
          return Response.json(results.map(({ results }) => results));
        } catch (error) {
          return new Response(String(error), { status: 500 });
        }
      },
      tailStream: () => ({ attributes: ({ event }) => void spans.push(event.info) }),
    };
  `,
});

/** Runs a batch, one transaction, and gives each statement's rows. */
export const runSql = async (
  url: URL,
  database: string,
  statements: readonly Statement[],
): Promise<SqlRow[][]> => {
  const response = await fetch(new URL(`?database=${database}`, url), {
    method: "POST",
    body: JSON.stringify(statements),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return rowsSchema.parse(JSON.parse(text));
};

const rowsSchema = z.array(
  z.array(z.record(z.string(), z.union([z.string(), z.number(), z.null()]))),
);

/** The SQL calls since it was last asked. */
export const takeCalls = async (url: URL): Promise<SqlCall[]> => {
  const spans = spansSchema.parse(await (await fetch(url)).json());
  return spans.flatMap((attributes): SqlCall[] => {
    const named = Object.fromEntries(attributes.map(({ name, value }) => [name, value]));
    const call = callSchema.safeParse(named);
    if (!call.success) return [];
    const store = call.data["db.system.name"] === "cloudflare-d1" ? "d1" : "object";
    const counts = `cloudflare.${store === "d1" ? "d1" : "durable_object"}.response`;
    return [
      {
        store,
        text: call.data["db.query.text"].trim(),
        rowsRead: countSchema.parse(named[`${counts}.rows_read`]),
        rowsWritten: countSchema.parse(named[`${counts}.rows_written`]),
      },
    ];
  });
};

/** Attributes of a span, as workerd names them (OpenTelemetry's semantic conventions and its own). */
const spansSchema = z.array(z.array(z.object({ name: z.string(), value: z.unknown() })));

const callSchema = z.object({ "db.query.text": z.string(), "db.system.name": z.string() });

const countSchema = z.number().default(0);
