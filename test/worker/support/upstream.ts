/**
 * An API that is not idempotent: it counts every call that it carries out, and fails as a test says. What reaches it are
 * the runtime's own requests, and what comes back its own responses.
 */
import { until } from "../../support/faulty-database.ts";

export type UpstreamFault =
  /** Carried out, and answered 201. */
  | "none"
  /** The connection breaks before anything is carried out. */
  | "reset-before"
  /** It is carried out, and the connection breaks. */
  | "reset-after"
  /** It is carried out, and there is no answer until `release`. */
  | "hang"
  /** There is no answer, and it is carried out with `release`. */
  | "late"
  /** A status without an effect. */
  | number;

export class Upstream {
  /** Calls that were carried out, by key. */
  readonly effects = new Map<string, number>();
  /** Everything that came, oldest first. */
  readonly requests: {
    readonly method: string;
    readonly url: string;
    readonly headers: Headers;
    readonly body: Uint8Array;
  }[] = [];
  /** Of the next calls, in order; then none. */
  readonly faults: UpstreamFault[] = [];
  /** Whether it runs a key once. */
  honoursKeys = false;
  /** What it answers to a question, unless it knows of the key. */
  statusOfUnknown = 404;
  /** Of the next answers. */
  answer: (key: string) => Response = (key) =>
    Response.json({ made: key }, { status: 201, headers: { location: `/things/${key}` } });
  #released = false;

  get calls(): number {
    return this.requests.filter(({ method }) => method === "POST").length;
  }

  get questions(): number {
    return this.requests.filter(({ method }) => method === "GET").length;
  }

  effectsOf(key: string): number {
    return this.effects.get(key) ?? 0;
  }

  release(): void {
    this.#released = true;
  }

  readonly handle = async (request: Request): Promise<Response> => {
    const body = new Uint8Array(await request.arrayBuffer());
    const { method, url, headers, signal } = request;
    this.requests.push({ method, url, headers, body });
    if (method === "GET") {
      const asked = decodeURIComponent(new URL(url).pathname.split("/").at(-1) ?? "");
      if (this.effectsOf(asked) > 0) return this.answer(asked);
      return new Response("unknown", { status: this.statusOfUnknown });
    }
    const key = headers.get("idempotency-key") ?? "";
    const fault = this.faults.shift() ?? "none";
    if (typeof fault === "number") return new Response("failed", { status: fault });
    if (fault === "reset-before") throw new Error("Network connection lost.");
    if (fault === "late") {
      await until(() => this.#released || signal.aborted);
      this.#carryOut(key);
      signal.throwIfAborted();
      return this.answer(key);
    }
    this.#carryOut(key);
    if (fault === "reset-after") throw new Error("Network connection lost.");
    if (fault === "hang") {
      await until(() => this.#released || signal.aborted);
      signal.throwIfAborted();
    }
    return this.answer(key);
  };

  #carryOut(key: string): void {
    if (this.honoursKeys && this.effectsOf(key) > 0) return;
    this.effects.set(key, this.effectsOf(key) + 1);
  }
}
