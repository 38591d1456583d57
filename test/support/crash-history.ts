/**
 * What happened in a crash run, one JSON object a line: every request, every answer, every kill. The clients
 * write it; the checker believes nothing else, save the database.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { z } from "zod";

const keyed = { atMs: z.number(), tenant: z.string(), key: z.string() };

const entry = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("run"),
    atMs: z.number(),
    seed: z.number(),
    mode: z.string(),
  }),
  z.object({ kind: z.literal("start"), atMs: z.number(), keyObjects: z.string() }),
  z.object({ kind: z.literal("kill"), atMs: z.number(), point: z.string() }),
  /** The intention, written once, before its first request. */
  z.object({
    kind: z.literal("operation"),
    ...keyed,
    name: z.enum([
      "account",
      "payment",
      "refund",
      "product",
      "stock",
      "order",
      "cancellation",
      // Outside the database: by a processor, and through the gateway.
      "payout",
      "call",
    ]),
    method: z.enum(["POST", "PATCH"]),
    path: z.string(),
    body: z.record(z.string(), z.json()),
  }),
  z.object({ kind: z.literal("request"), ...keyed, send: z.number() }),
  z.object({
    kind: z.literal("answer"),
    ...keyed,
    send: z.number(),
    status: z.number(),
    headers: z.record(z.string(), z.string()),
    /** The bytes, each as the character of its number (ISO 8859-1): exact, and to be read by eye. */
    body: z.string(),
  }),
  z.object({ kind: z.literal("no-answer"), ...keyed, send: z.number(), reason: z.string() }),
]);

export type HistoryEntry = z.output<typeof entry>;
export type Operation = Omit<Extract<HistoryEntry, { kind: "operation" }>, "kind" | "atMs">;
export type Answer = Pick<Extract<HistoryEntry, { kind: "answer" }>, "status" | "headers" | "body">;

type WithoutTime<Entry> = Entry extends unknown ? Omit<Entry, "atMs"> : never;

export class History {
  readonly file: string;
  readonly #descriptor: number;

  constructor(file: string) {
    this.file = file;
    this.#descriptor = openSync(file, "w");
  }

  /** On disk, as far as this process is concerned, when it returns. */
  write(line: WithoutTime<HistoryEntry>): void {
    writeSync(this.#descriptor, `${JSON.stringify({ atMs: Date.now(), ...line })}\n`);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

export const readHistory = (file: string): HistoryEntry[] =>
  readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => entry.parse(JSON.parse(line)));

/** By the contract this header is on every stored outcome, and on nothing else. */
export const isOutcome = ({ headers }: Answer): boolean => "idempotency-expires" in headers;

/** The key's life is over: it never runs again, and its answer is gone. */
export const isExpired = (answer: Answer): boolean => answer.status === 410 && !isOutcome(answer);
