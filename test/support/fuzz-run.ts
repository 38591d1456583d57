/**
 * A fuzz run: a server, requests that the document describes and requests that it forbids, and a judge of every
 * answer. Requests come in scenarios, which a seed fixes: one request and its retries, duplicates at once, two bodies
 * under one key, broken frames. Checked are:
 *
 * - every answer: declared for its operation, valid, no 5xx but 503, within ten seconds, and the refusal that the
 *   contract's order of checks names;
 * - every key: what was refused stored nothing, what was told is replayed byte for byte, another body gets 422;
 * - in the end, the database: a journal row for each key that was told an outcome and for no key that was refused,
 *   one effect for each success, and books that balance.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "./crash-random.ts";
import { ApiDocument, type Documented } from "./fuzz-document.ts";
import { findImbalances } from "./imbalances.ts";
import {
  type Draft,
  draftOf,
  type Fault,
  firstFault,
  isBeyondSchema,
  mutate,
  MUTATIONS_COUNT,
  rawOf,
  reused,
  rewritten,
  targetOf,
  type World,
} from "./fuzz-request.ts";
import { openWorlds } from "./fuzz-world.ts";
import {
  chunk,
  exchangeParts,
  type RawAnswer,
  type RawRequest,
  requestBytes,
  sendThenReset,
} from "./raw-http.ts";
import { type Server, startServer } from "./server.ts";

export type FuzzPlan = {
  readonly seed: number;
  readonly requests: number;
  /** Ends earlier, with fewer requests, on a machine that has other things to do. */
  readonly secondsMax?: number;
};

export type Violation = {
  readonly what: string;
  /** The scenario, whose randomness is the seed's and its number's alone. */
  readonly scenario: number;
  /** The requests that show it, as text; reduced to one, and that to what is needed, if one suffices. */
  readonly reproduction: string;
  /** The request, if its answer is wrong whatever was sent before. */
  readonly alone?: { readonly act: Act; readonly draft: Draft };
};

export type FuzzResult = {
  readonly seed: number;
  readonly requests: number;
  readonly by_status: Readonly<Record<string, number>>;
  readonly by_operation: Readonly<Record<string, number>>;
  /** Wanted and seen answers, over all operations. */
  readonly coverage: { readonly wanted: number; readonly seen: number };
  /** Declared, reachable, and not seen in this run. */
  readonly uncovered: readonly string[];
  readonly violations: number;
};

/** Requests under way at a time. */
const LANES = 12;
const SLOW_MS = 10_000;
/** A run that is broken throughout need not be told in full. */
const VIOLATIONS_MAX = 50;

export const runFuzz = async (
  plan: FuzzPlan,
): Promise<{ readonly result: FuzzResult; readonly violations: readonly Violation[] }> => {
  const server = await startServer({ newKeysPerMinute: "unlimited" });
  try {
    const served: unknown = await (await fetch(`${server.origin}/openapi.json`)).json();
    const document = new ApiDocument(served);
    const fuzz = new Fuzz(server, document, await openWorlds(server), plan);
    await fuzz.run();
    return { result: fuzz.result(), violations: fuzz.violations };
  } finally {
    await server.stop();
  }
};

/** What is known of a key from the answers that it got. */
type KeyLife = {
  readonly tenant: string;
  readonly key: string;
  /** `refused`: nothing may be stored. `open`: nobody was told. `told`: stored, and this is what. */
  fate: "refused" | "open" | "told";
  operation?: Documented;
  outcome?: RawAnswer;
  erased?: true;
  /** Of one scenario alone: what becomes of it is not for others to retry. */
  isOwn?: true;
};

/** A key that has its outcome, and the request that it belongs to. */
type Settled = { readonly draft: Draft; readonly life: KeyLife };

/** What the stage of a key's life lets an answer be, if the request itself is not at fault. */
type Stage =
  | { readonly is: "fresh" }
  | { readonly is: "settled"; readonly life: KeyLife }
  | { readonly is: "reused" }
  /** Others are on their way with this key: it may also be in flight, or be theirs. */
  | { readonly is: "contended" };

class Fuzz {
  readonly violations: Violation[] = [];
  readonly #server: Server;
  readonly #document: ApiDocument;
  readonly #worlds: readonly World[];
  readonly #plan: FuzzPlan;
  readonly #lives = new Map<string, KeyLife>();
  readonly #settled = new Map<World, Settled[]>();
  readonly #byStatus: Record<string, number> = {};
  readonly #byOperation: Record<string, number> = {};
  readonly #seen = new Set<string>();
  /** Operations as they take turns: those that change something more often. */
  readonly #turns: readonly Documented[];
  readonly #endsAtMs: number;
  #requests = 0;
  #scenarios = 0;
  #checkedAt = 0;

  constructor(server: Server, document: ApiDocument, worlds: readonly World[], plan: FuzzPlan) {
    this.#server = server;
    this.#document = document;
    this.#worlds = worlds;
    this.#plan = plan;
    const keyed = document.operations.filter((one) => one.keyed);
    this.#turns = new Random(plan.seed).shuffled([...document.operations, ...keyed, ...keyed]);
    this.#endsAtMs = performance.now() + (plan.secondsMax ?? Infinity) * 1000;
  }

  async run(): Promise<void> {
    const lane = async (): Promise<void> => {
      while (
        this.#requests < this.#plan.requests &&
        this.violations.length < VIOLATIONS_MAX &&
        performance.now() < this.#endsAtMs
      ) {
        await this.#scenario((this.#scenarios += 1));
        if (this.#requests - this.#checkedAt >= CHECK_EVERY_REQUESTS) {
          this.#checkedAt = this.#requests;
          await this.#checkJournal(false);
        }
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    await this.#settleAll();
    await this.#checkJournal(true);
    await this.#checkEffects();
    for (const [i, found] of this.violations.slice(0, REDUCED_MAX).entries()) {
      this.violations[i] = await this.#reduced(found);
    }
  }

  /** The violation with the smallest request that shows it too, if it needs no other request before it. */
  async #reduced(found: Violation): Promise<Violation> {
    const { alone, what } = found;
    if (alone === undefined) return found;
    const act: Act = { ...alone.act, trace: [] };
    const shows = async (draft: Draft): Promise<boolean> => {
      const fresh =
        draft.key === undefined ? draft : renamed(draft, `fuzz-reduced-${crypto.randomUUID()}`);
      const [answer] = await this.#exchange(fresh, [
        requestBytes(this.#server.origin, rawOf(fresh)),
      ]);
      return (
        answer !== undefined && this.#faultsOf(act, fresh, answer, { is: "fresh" }).includes(what)
      );
    };
    let smallest = alone.draft;
    if (!(await shows(smallest))) return found;
    for (let isSmaller = true; isSmaller;) {
      isSmaller = false;
      for (const smaller of smallerThan(smallest)) {
        if (!(await shows(smaller))) continue;
        smallest = smaller;
        isSmaller = true;
        break;
      }
    }
    const text = requestBytes(this.#server.origin, rawOf(smallest)).toString("latin1");
    return { ...found, reproduction: `${withoutTokens(text)}\n(reduced)\n\n${found.reproduction}` };
  }

  result(): FuzzResult {
    const wanted = this.#document.operations.flatMap(wantedOf);
    const uncovered = wanted.filter((one) => !this.#seen.has(one));
    return {
      seed: this.#plan.seed,
      requests: this.#requests,
      by_status: this.#byStatus,
      by_operation: this.#byOperation,
      coverage: { wanted: wanted.length, seen: wanted.length - uncovered.length },
      uncovered,
      violations: this.violations.length,
    };
  }

  async #scenario(number: number): Promise<void> {
    const random = new Random(`${this.#plan.seed}/${number}`);
    const world = random.pick(this.#worlds);
    const act: Act = { number, random, world, trace: [] };
    try {
      const roll = random.next();
      if (roll < 0.5) await this.#single(act);
      else if (roll < 0.6) await this.#retry(act);
      else if (roll < 0.7) await this.#duplicates(act);
      else if (roll < 0.76) await this.#interleaved(act);
      else if (roll < 0.8) await this.#detached(act);
      else if (roll < 0.84) await this.#care(act);
      else if (roll < 0.92) await this.#framing(act);
      else await this.#stray(act);
    } catch (error) {
      // No answer for ten seconds shows as an error of the socket.
      this.#violate(act, error instanceof Error ? error.message : String(error));
    }
  }

  /* Scenarios. */

  /** One request with up to three things wrong; then, with the same key, what the contract says to do next. */
  async #single(act: Act): Promise<void> {
    const { number, random, world } = act;
    // Not left to chance: a short run comes by every operation with everything that can be wrong with it.
    const turn = this.#turns[Math.floor(number / MUTATIONS_COUNT) % this.#turns.length];
    const good = draftOf(turn ?? this.#pickKeyed(random), world, this.#document, random);
    const faults = random.pick([0, 0, 1, 1, 1, 2, 3]);
    let draft = faults === 0 ? good : mutate(good, world, random, number % MUTATIONS_COUNT);
    for (let more = faults; more > 1; more--) draft = mutate(draft, world, random);
    if (draft.method === "GET" && random.chance(0.1)) draft = { ...draft, method: "HEAD" };
    const answer = await this.#ask(act, draft, { is: "fresh" });
    if (good.key === undefined || answer === undefined) return;
    const life = this.#lifeOf(world, good.key);
    if (life.fate === "refused" && random.chance(0.4)) {
      // Corrected, same key: it runs as if nothing had been.
      await this.#ask(act, good, { is: "fresh" });
    }
    if (life.fate !== "told") return;
    const told = draft === good || answer.headers.has("idempotency-expires") ? draft : good;
    if (random.chance(0.3)) await this.#ask(act, rewritten(told, random), { is: "settled", life });
    if (random.chance(0.2)) await this.#ask(act, reused(told, random), { is: "reused" });
    if (random.chance(0.1)) await this.#ask(act, told, { is: "settled", life });
  }

  /** A key of long ago: as it was, otherwise written, with another body, broken, by another tenant. */
  async #retry(act: Act): Promise<void> {
    const { random, world } = act;
    const known = this.#settled.get(world) ?? [];
    if (known.length === 0) return;
    const { draft, life } = random.pick(known);
    await this.#ask(act, rewritten(draft, random), { is: "settled", life });
    if (random.chance(0.5)) await this.#ask(act, reused(draft, random), { is: "reused" });
    if (random.chance(0.3)) {
      const broken = mutate(draft, world, random);
      // What the change means for the key cannot be told: whatever the answer, it must be a proper one.
      await this.#ask(act, broken, { is: "contended" });
      await this.#ask(act, draft, { is: "settled", life });
    }
  }

  async #duplicates(act: Act): Promise<void> {
    const { random, world } = act;
    const draft = draftOf(this.#pickKeyed(random), world, this.#document, random);
    const waits = random.chance(0.4);
    const sent = waits
      ? { ...draft, headers: [...draft.headers, ["Prefer", "wait=5"] as const] }
      : draft;
    const answers = await Promise.all(
      Array.from({ length: random.int(2, 6) }, async () =>
        this.#ask(act, sent, { is: "contended" }),
      ),
    );
    this.#agree(act, answers);
    await this.#conclude(act, draft);
  }

  /** Two bodies under one key at the same time: one of them has it, the other hears so. */
  async #interleaved(act: Act): Promise<void> {
    const { random, world } = act;
    const one = draftOf(this.#pickKeyed(random), world, this.#document, random);
    const other = { ...draftOf(one.operation, world, this.#document, random), key: one.key };
    const two = {
      ...other,
      headers: other.headers.map((header) =>
        header[0] === "Idempotency-Key" ? (["Idempotency-Key", one.key ?? ""] as const) : header,
      ),
    };
    if (targetOf(one) === targetOf(two) && one.body === two.body) return;
    const drafts = [one, two, one, two].slice(0, random.int(2, 4));
    const answers = await Promise.all(
      drafts.map(async (draft) => this.#ask(act, draft, { is: "contended" })),
    );
    this.#agree(act, answers);
  }

  async #detached(act: Act): Promise<void> {
    const { random, world } = act;
    const draft = draftOf(this.#pickKeyed(random), world, this.#document, random);
    const prefer = random.pick(["respond-async", "respond-async, wait=5", "wait=1, respond-async"]);
    await this.#ask(
      act,
      { ...draft, headers: [...draft.headers, ["Prefer", prefer]] },
      { is: "contended" },
    );
    await this.#conclude(act, draft);
  }

  /** A key is looked up while it runs and after, and its answer erased. */
  async #care(act: Act): Promise<void> {
    const { random, world } = act;
    const draft = draftOf(this.#pickKeyed(random), world, this.#document, random);
    const { key } = draft;
    if (key === undefined) return;
    const life = this.#lifeOf(world, key);
    life.isOwn = true;
    const about = (id: string): Draft => ({
      ...draftOf(this.#operation(id), world, this.#document, random),
      params: { key },
    });
    await Promise.all([
      this.#ask(act, draft, { is: "contended" }),
      this.#ask(act, about("idempotency-keys.get"), { is: "contended" }),
      ...(random.chance(0.5)
        ? []
        : [this.#ask(act, about("idempotency-keys.erase"), { is: "contended" })]),
    ]);
    const erasing = await this.#ask(act, about("idempotency-keys.erase"), { is: "contended" });
    if (erasing?.status !== 204) return;
    life.erased = true;
    const again = await this.#ask(act, draft, { is: "contended" });
    if (again?.status !== 410) this.#violate(act, `an erased key answers ${String(again?.status)}`);
    await this.#ask(act, about("idempotency-keys.erase"), { is: "contended" });
    await this.#ask(act, reused(draft, random), { is: "reused" });
  }

  /** Bodies in pieces, slow, cut off, with false lengths; requests behind one another; garbage. Then a good retry. */
  async #framing(act: Act): Promise<void> {
    const { random, world } = act;
    const draft = draftOf(this.#pickKeyed(random), world, this.#document, random);
    const raw = rawOf(draft);
    const whole = requestBytes(this.#server.origin, raw);
    const body = Buffer.from(draft.body ?? "");
    const chunked = (payload: Uint8Array, more: RawRequest["headers"] = []): Buffer =>
      requestBytes(this.#server.origin, {
        ...raw,
        headers: [...draft.headers, ...more, ["Transfer-Encoding", "chunked"]],
        body: payload,
      });
    const sized = (length: string): Buffer =>
      requestBytes(this.#server.origin, {
        ...raw,
        headers: [...draft.headers, ["Content-Length", length]],
      });
    const halves = [whole.subarray(0, -3), whole.subarray(-3)];
    const frames: readonly Frame[] = [
      { is: "chunked", runs: true, parts: [chunked(Buffer.concat([chunk(body), chunk("")]))] },
      {
        is: "in chunks of a byte",
        runs: true,
        parts: [
          chunked(
            Buffer.concat([...[...body].map((byte) => chunk(Buffer.from([byte]))), chunk("")]),
          ),
        ],
      },
      {
        is: "chunked, with an extension and a trailer",
        runs: true,
        parts: [chunked(Buffer.concat([chunk(body), Buffer.from("0\r\nX-Trailer: 1\r\n\r\n")]))],
      },
      { is: "slow", runs: true, parts: halves, pauseMs: random.int(1, 300) },
      {
        is: "slow head",
        runs: true,
        parts: [whole.subarray(0, 30), whole.subarray(30)],
        pauseMs: 50,
      },
      { is: "cut off", runs: false, parts: [whole.subarray(0, -random.int(1, body.byteLength))] },
      { is: "cut off in the head", runs: false, parts: [whole.subarray(0, random.int(1, 60))] },
      { is: "chunked without an end", runs: false, parts: [chunked(chunk(body))] },
      {
        is: "chunks of no size",
        runs: false,
        parts: [chunked(Buffer.from(`zz\r\n${body.toString()}\r\n0\r\n\r\n`))],
      },
      {
        is: "chunks of a negative size",
        runs: false,
        parts: [chunked(Buffer.from("-1\r\n\r\n0\r\n\r\n"))],
      },
      {
        is: "chunks of a huge size",
        runs: false,
        parts: [chunked(Buffer.from("fffffffffffffffff\r\nx\r\n0\r\n\r\n"))],
      },
      {
        is: "too long a chunk size",
        runs: false,
        parts: [
          chunked(
            Buffer.from(`${body.byteLength.toString(16)}0\r\n${body.toString()}\r\n0\r\n\r\n`),
          ),
        ],
      },
      { is: "a length too short", runs: false, parts: [sized(String(body.byteLength - 1))] },
      { is: "a length too long", runs: false, parts: [sized(String(body.byteLength + 10))] },
      ...[
        "-1",
        "abc",
        "1e2",
        "99999999999999999999",
        "",
        `${body.byteLength}, ${body.byteLength}`,
      ].map((length): Frame => ({
        is: `a length of ${length}`,
        runs: false,
        parts: [sized(length)],
      })),
      { is: "garbage", runs: false, parts: [Buffer.from([22, 3, 1, 0, 200, 1, 0, 0, 0])] },
      {
        is: "HTTP/9",
        runs: false,
        parts: [Buffer.from(whole.toString("latin1").replace("HTTP/1.1", "HTTP/9.1"), "latin1")],
      },
      {
        is: "a header with NUL",
        runs: false,
        parts: [
          requestBytes(this.#server.origin, {
            ...raw,
            headers: [["X-A", "a\0b"], ...draft.headers],
          }),
        ],
      },
      {
        is: "a header name with a space",
        runs: false,
        parts: [
          requestBytes(this.#server.origin, { ...raw, headers: [["X A", "b"], ...draft.headers] }),
        ],
      },
      {
        is: "a transfer coding that nobody has",
        runs: false,
        parts: [
          requestBytes(this.#server.origin, {
            ...raw,
            headers: [...draft.headers, ["Transfer-Encoding", "gzip"]],
          }),
        ],
      },
    ];
    const roll = random.next();
    if (roll < 0.15) return this.#pipelined(act);
    if (roll < 0.3) {
      const reset = await sendThenReset(this.#server.origin, whole);
      this.#count(draft);
      this.#lifeOf(world, draft.key ?? "").fate = "open";
      await sleep(random.int(0, 15));
      reset();
      await this.#conclude(act, draft);
      return;
    }
    const frame = random.pick(frames);
    act.trace.push(
      `# ${frame.is}\n${Buffer.concat(frame.parts).toString("latin1").slice(0, 2_000)}`,
    );
    const [answer] = await this.#exchange(draft, frame.parts, frame.pauseMs);
    const life = this.#lifeOf(world, draft.key ?? "");
    if (frame.runs) {
      if (answer === undefined) this.#violate(act, `${frame.is}: no answer`);
      else this.#examine(act, draft, answer, { is: "fresh" });
    } else if (answer !== undefined && isFromWorker(answer)) {
      this.#judge(act, draft.operation, draft.method, answer);
      if (answer.status !== 400) this.#violate(act, `${frame.is}: ${answer.status} instead of 400`);
    } else if (answer !== undefined && answer.status !== 400 && answer.status !== 501) {
      this.#violate(act, `${frame.is}: the runtime answers ${answer.status}`);
    }
    // What was broken has made nothing; what was whole is replayed.
    await this.#ask(act, draft, life.fate === "told" ? { is: "settled", life } : { is: "fresh" });
  }

  /** Requests of one connection, sent without waiting: answered in their order, each as if alone. */
  async #pipelined(act: Act): Promise<void> {
    const { random, world } = act;
    const drafts = Array.from({ length: random.int(2, 5) }, () =>
      mutate(draftOf(this.#pickOperation(random), world, this.#document, random), world, random),
    ).filter((draft) => !draft.headers.some(([name]) => name === "Expect"));
    const bytes = drafts.map((draft, i) =>
      requestBytes(this.#server.origin, {
        ...rawOf(draft),
        headers: [
          ...draft.headers,
          ["Connection", i === drafts.length - 1 ? "close" : "keep-alive"],
        ],
      }),
    );
    act.trace.push(`# pipelined\n${Buffer.concat(bytes).toString("latin1").slice(0, 4_000)}`);
    const answers = await exchangeParts(this.#server.origin, [Buffer.concat(bytes)]);
    for (const [i, draft] of drafts.entries()) {
      const answer = answers[i];
      this.#count(draft, answer);
      if (answer === undefined || !isFromWorker(answer)) {
        // A body that was not read to its end ends the connection: the rest was never heard, or in part.
        for (const rest of drafts.slice(i)) this.#lifeOf(world, rest.key ?? "").fate = "open";
        return;
      }
      this.#examine(act, draft, answer, { is: "fresh" });
    }
    if (answers.length > drafts.length) this.#violate(act, "more answers than requests");
  }

  /** What is not in the document: methods, and paths beside those that are. */
  async #stray(act: Act): Promise<void> {
    const { random, world } = act;
    const draft = draftOf(this.#pickOperation(random), world, this.#document, random);
    const target = targetOf(draft);
    const others = this.#document.operations.filter(({ path }) => path === draft.operation.path);
    const served = new Set([...others.map(({ method }) => method), "HEAD"]);
    if (random.chance(0.5)) {
      const method = random.pick(
        ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY"].filter(
          (one) => !served.has(one),
        ),
      );
      const answer = await this.#raw(act, draft, { ...rawOf(draft), method });
      if (answer === undefined) return;
      this.#judge(act, draft.operation, method, answer);
      if (answer.status !== 405)
        this.#violate(act, `${method} ${target} gets ${answer.status}, not 405`);
      for (const { id } of others) this.#seen.add(`${id} 405 method-not-allowed`);
      return;
    }
    const bare = target.split("?")[0] ?? target;
    const strayed = random.pick([
      `/${bare}`,
      `${bare}/`,
      bare.toUpperCase(),
      bare.replace("/v1", "/v2"),
      bare.replace("/v1/", "/v1//"),
      bare.replace("/v1/", "/v1/./"),
      `${bare}/%2e%2e/x`,
      `${bare}%00`,
      `${bare};x=1`,
      `${bare}\\`,
      `${bare}/${"x/".repeat(500)}`,
      `/%2e%2e${bare}`,
      `${bare}${"x".repeat(20_000)}/y`,
      `/${random.int(0, 1e9).toString(36)}`,
      "/v1",
      "*",
      "x",
    ]);
    const answer = await this.#raw(act, draft, { ...rawOf(draft), target: strayed });
    if (answer === undefined || !isFromWorker(answer)) return;
    // A longer id may be one of a thing that does not exist; what is no path of the document is not found.
    const id = answer.status === 404 || answer.status === 405 ? undefined : draft.operation;
    this.#judge(act, id, draft.method, answer);
    if (answer.status < 300) {
      // Then it was another spelling of something that is there: reads may be, writes may not.
      if (draft.operation.keyed) this.#violate(act, `${strayed} ran as ${target}`);
    }
  }

  /** After anything may have happened: the same request, until it is told. */
  async #conclude(act: Act, draft: Draft): Promise<void> {
    for (let tries = 0; tries < 40; tries++) {
      const life = this.#lifeOf(act.world, draft.key ?? "");
      if (life.fate === "told") {
        await this.#ask(act, draft, { is: "settled", life });
        return;
      }
      const answer = await this.#ask(act, draft, { is: "contended" });
      if (answer !== undefined && answer.status < 423 && answer.status !== 202) return;
      await sleep(25);
    }
    this.#violate(act, "the key was not final within a second of retries");
  }

  /* Sending and judging. */

  async #ask(act: Act, draft: Draft, stage: Stage): Promise<RawAnswer | undefined> {
    const bytes = requestBytes(this.#server.origin, rawOf(draft));
    act.trace.push(bytes.toString("latin1").slice(0, 3_000));
    const [answer] = await this.#exchange(draft, [bytes]);
    if (answer === undefined) {
      this.#violate(act, "no answer");
      return undefined;
    }
    this.#examine(act, draft, answer, stage);
    return answer;
  }

  async #raw(act: Act, draft: Draft, raw: RawRequest): Promise<RawAnswer | undefined> {
    const bytes = requestBytes(this.#server.origin, raw);
    act.trace.push(bytes.toString("latin1").slice(0, 3_000));
    const [answer] = await this.#exchange(draft, [bytes]);
    if (
      answer !== undefined &&
      draft.key !== undefined &&
      answer.headers.has("idempotency-expires")
    ) {
      this.#lifeOf(act.world, draft.key).fate = "open";
    }
    if (draft.key !== undefined) this.#lifeOf(act.world, draft.key);
    return answer;
  }

  async #exchange(draft: Draft, parts: readonly Uint8Array[], pauseMs = 0): Promise<RawAnswer[]> {
    const startedAtMs = performance.now();
    const answers = await exchangeParts(this.#server.origin, parts, pauseMs);
    this.#count(draft, answers[0]);
    const tookMs = performance.now() - startedAtMs;
    if (tookMs > SLOW_MS) throw new Error(`It took ${Math.round(tookMs)} ms.`);
    return answers;
  }

  #count({ operation: { id } }: Draft, answer?: RawAnswer): void {
    this.#requests += 1;
    const status = answer === undefined ? "none" : String(answer.status);
    this.#byStatus[status] = (this.#byStatus[status] ?? 0) + 1;
    this.#byOperation[id] = (this.#byOperation[id] ?? 0) + 1;
  }

  /** Whether the answer is one that the document has, whatever was asked. */
  #judge(act: Act, operation: Documented | undefined, method: string, answer: RawAnswer): void {
    for (const fault of this.#document.judge(operation, method, answer)) {
      this.#violate(act, fault, answer);
    }
    if (operation !== undefined)
      this.#seen.add(`${operation.id} ${answer.status} ${nameOf(answer)}`);
  }

  #examine(act: Act, draft: Draft, answer: RawAnswer, stage: Stage): void {
    const { operation, key } = draft;
    if (!isFromWorker(answer)) {
      // The runtime refuses what is no HTTP before the Worker sees it; it may not fail at it.
      if (answer.status >= 500 || answer.status < 400) {
        this.#violate(act, `the runtime answers ${answer.status}`, answer);
      }
      return;
    }
    for (const fault of this.#faultsOf(act, draft, answer, stage)) {
      const alone = stage.is === "fresh" ? { act, draft } : undefined;
      this.#violate(act, fault, answer, alone);
    }
    this.#seen.add(`${operation.id} ${answer.status} ${nameOf(answer)}`);
    if (key !== undefined && operation.keyed) this.#learn(act, draft, answer);
  }

  #faultsOf({ world }: Act, draft: Draft, answer: RawAnswer, stage: Stage): string[] {
    const wrong = this.#isWrong(world, draft, answer, stage);
    return [
      ...this.#document.judge(draft.operation, draft.method, answer),
      ...(wrong === undefined ? [] : [wrong]),
    ];
  }

  /** A sentence if the answer is not what the contract gives this request at this stage. */
  #isWrong(world: World, draft: Draft, answer: RawAnswer, stage: Stage): string | undefined {
    const { operation } = draft;
    const { status } = answer;
    const code = nameOf(answer);
    if (status >= 500 && status !== 503) return `${operation.id} fails with ${status}`;
    const fault = firstFault(draft);
    if (fault !== undefined)
      return deviation(fault, status, draft.method === "HEAD" ? fault.code : code);
    if (!operation.keyed) return this.#isWrongRead(world, draft, status);
    const stored = answer.headers.has("idempotency-expires");
    switch (stage.is) {
      case "contended":
        return undefined;
      case "settled":
        return sameOutcome(stage.life, answer);
      case "reused":
        return status === 422 && code === "idempotency-key-reused"
          ? undefined
          : `a key with another body gets ${status} ${code}, not 422`;
      case "fresh": {
        const valid = this.#isValid(draft);
        if (!valid)
          return status === 400 && code === "request-invalid"
            ? undefined
            : `an invalid request gets ${status} ${code}`;
        if (answer.headers.has("idempotent-replayed")) return "a new key is answered by a replay";
        const refusal = operation.problems.some(
          (one) => one.status === status && one.code === code && one.use === "new-key",
        );
        return stored && (status === operation.success || refusal)
          ? undefined
          : `a valid request with a new key gets ${status} ${code}`;
      }
    }
  }

  #isWrongRead(world: World, draft: Draft, status: number): string | undefined {
    const { operation, params } = draft;
    if (params["id"] === world.foreignPayment && status < 300)
      return "another tenant's payment is shown";
    const isUntouched =
      draft.query === "" || operation.parameters.some((one) => one.in === "query");
    if (operation.method !== "GET" || !isUntouched) return undefined;
    const unknown = operation.parameters.some(
      (one) => one.in === "path" && !this.#document.allowsParameter(one, params[one.name] ?? ""),
    );
    return unknown && status !== 404 ? `an id that cannot be gets ${status}` : undefined;
  }

  #isValid({ operation, json, params }: Draft): boolean {
    return (
      this.#document.allowsBody(operation, json) &&
      !isBeyondSchema(operation, json) &&
      operation.parameters.every(
        (one) => one.in !== "path" || this.#document.allowsParameter(one, params[one.name] ?? ""),
      )
    );
  }

  /** What an answer says of its key, and what it made. */
  #learn(act: Act, draft: Draft, answer: RawAnswer): void {
    const { world } = act;
    const life = this.#lifeOf(world, draft.key ?? "");
    if (answer.headers.has("idempotency-expires")) {
      const wrong = life.outcome === undefined ? undefined : sameBytes(life.outcome, answer);
      if (wrong !== undefined) this.#violate(act, wrong, answer);
      if (life.fate !== "told") this.#keep(world, { draft, life });
      life.fate = "told";
      life.outcome ??= answer;
      life.operation = draft.operation;
      this.#harvest(world, draft.operation, answer);
    } else if (life.fate === "refused" && [202, 423, 503].includes(answer.status)) {
      life.fate = "open";
    }
  }

  #harvest(world: World, { id, success }: Documented, answer: RawAnswer): void {
    if (answer.status !== success) return;
    const made = JSON.parse(answer.text) as Readonly<Record<string, unknown>>;
    const pools: Readonly<Record<string, readonly [pool: string[], member: string]>> = {
      "payments.create": [world.payments, "id"],
      "orders.create": [world.orders, "id"],
      "products.create": [world.skus, "sku"],
    };
    const [pool, member] = pools[id] ?? [];
    if (pool === undefined || member === undefined || pool.length > POOL_MAX) return;
    const value = String(made[member]);
    if (!pool.includes(value)) pool.push(value);
  }

  #keep(world: World, settled: Settled): void {
    const known = this.#settled.get(world) ?? [];
    if (known.length < SETTLED_MAX && settled.life.isOwn !== true) known.push(settled);
    this.#settled.set(world, known);
    if (world.keys.length < POOL_MAX) world.keys.push(settled.life.key);
  }

  /** All outcomes told at once are one; at most one of them is not a replay. */
  #agree(act: Act, answers: readonly (RawAnswer | undefined)[]): void {
    const told = answers.filter(
      (answer): answer is RawAnswer => answer?.headers.has("idempotency-expires") === true,
    );
    if (new Set(told.map(({ status, text }) => `${status} ${text}`)).size > 1) {
      this.#violate(act, "one key, two outcomes");
    }
    if (told.filter(({ headers }) => !headers.has("idempotent-replayed")).length > 1) {
      this.#violate(act, "two answers of one key say that they are the first");
    }
  }

  #lifeOf({ tenant }: World, key: string): KeyLife {
    const name = `${tenant} ${key}`;
    const known = this.#lives.get(name) ?? { tenant, key, fate: "refused" };
    this.#lives.set(name, known);
    return known;
  }

  #pickOperation(random: Random): Documented {
    return random.chance(0.7) ? this.#pickKeyed(random) : random.pick(this.#document.operations);
  }

  #pickKeyed(random: Random): Documented {
    return random.pick(this.#document.operations.filter(({ keyed }) => keyed));
  }

  #operation(id: string): Documented {
    const found = this.#document.operations.find((one) => one.id === id);
    if (found === undefined) throw new Error(`${id} is not in the document.`);
    return found;
  }

  #violate(act: Act, what: string, answer?: RawAnswer, alone?: Violation["alone"]): void {
    const { number, trace } = act;
    const told = answer === undefined ? [] : [`→ ${answer.status} ${answer.text.slice(0, 500)}`];
    this.violations.push({
      what,
      scenario: number,
      reproduction: withoutTokens([...trace.slice(-4), ...told].join("\n")),
      ...(alone === undefined ? {} : { alone }),
    });
  }

  /* The database. */

  /** Keys whose fate is open: their work has come to its end, so the journal may be read. */
  async #settleAll(): Promise<void> {
    for (let tries = 0; tries < 50; tries++) {
      const [row] = await this.#server.sql("SELECT count(*) AS n FROM journal");
      await sleep(100);
      const [later] = await this.#server.sql("SELECT count(*) AS n FROM journal");
      if (row?.["n"] === later?.["n"]) return;
    }
  }

  /** A row for every key that was told an outcome, the same; none for a key that was only refused. */
  async #checkJournal(isOver: boolean): Promise<void> {
    // What is told was stored before: so the answers are read first, and the rows after.
    const told = [...this.#lives.values()].filter(({ fate }) => fate === "told");
    const rows = await this.#server.sql("SELECT tenant, key, status, state, body FROM journal");
    const byName = new Map(rows.map((row) => [`${row["tenant"]} ${row["key"]}`, row]));
    const act: Act = {
      number: 0,
      random: new Random(0),
      world: this.#worlds[0] as World,
      trace: [],
    };
    for (const life of told) {
      const row = byName.get(`${life.tenant} ${life.key}`);
      if (row === undefined)
        this.#violate(act, `the key ${life.key} was told an outcome and has no row`);
      else if (row["status"] !== life.outcome?.status)
        this.#violate(act, `the key ${life.key} is stored otherwise than told`);
      else if (row["state"] === "final" && row["body"] !== life.outcome?.text)
        this.#violate(act, `the key ${life.key} is stored with another body than told`);
    }
    if (!isOver) return;
    for (const [name, row] of byName) {
      const life = this.#lives.get(name);
      if (life?.fate === "refused")
        this.#violate(act, `the key ${life.key} was refused, and has a row (${row["status"]})`);
      if (life === undefined && String(row["key"]).startsWith("fuzz-"))
        this.#violate(act, `nobody sent the key ${String(row["key"])}`);
    }
  }

  /** One effect for each success, none for anything else, and books that balance. */
  async #checkEffects(): Promise<void> {
    const act: Act = {
      number: 0,
      random: new Random(0),
      world: this.#worlds[0] as World,
      trace: [],
    };
    for (const [fault, rows] of await findImbalances(this.#server)) {
      this.#violate(act, `${fault}: ${JSON.stringify(rows.slice(0, 3))}`);
    }
    const [effects = [], doubled = []] = await this.#server.sqlBatch([
      [
        `SELECT j.tenant, j.key, j.operation, j.refusal,
           (SELECT count(*) FROM transfers AS t WHERE t.tenant = j.tenant AND t.key = j.key) AS transfers,
           (SELECT count(*) FROM orders AS o WHERE o.tenant = j.tenant AND o.key = j.key) AS orders,
           (SELECT count(DISTINCT id) FROM stock_moves AS m WHERE m.tenant = j.tenant AND m.key = j.key) AS moves
         FROM journal AS j WHERE j.key <> 'seed'`,
      ],
      [
        `SELECT key FROM transfers AS t WHERE key <> 'seed' AND NOT EXISTS
           (SELECT 1 FROM journal AS j WHERE j.tenant = t.tenant AND j.key = t.key AND j.refusal IS NULL)`,
      ],
    ]);
    for (const row of doubled)
      this.#violate(act, `an effect of the key ${String(row["key"])}, which has no success`);
    for (const row of effects) {
      const made = {
        transfers: Number(row["transfers"]),
        orders: Number(row["orders"]),
        moves: Number(row["moves"]),
      };
      const right =
        row["refusal"] !== null
          ? made.transfers + made.orders + made.moves === 0
          : (EFFECTS[String(row["operation"])]?.(made) ?? true);
      if (!right)
        this.#violate(
          act,
          `${String(row["operation"])} with the key ${String(row["key"])} made ${JSON.stringify(made)}`,
        );
    }
  }
}

type Act = {
  readonly number: number;
  readonly random: Random;
  readonly world: World;
  /** What was sent so far. */
  readonly trace: string[];
};

type Frame = {
  readonly is: string;
  /** Whether it is a request at all. */
  readonly runs: boolean;
  readonly parts: readonly Uint8Array[];
  readonly pauseMs?: number;
};

/** Of many violations the first few are reduced: one usually stands for all. */
const REDUCED_MAX = 5;
const POOL_MAX = 300;
const SETTLED_MAX = 2_000;
const CHECK_EVERY_REQUESTS = 2_000;

type Made = { readonly transfers: number; readonly orders: number; readonly moves: number };

/** What one success makes, by operation. */
const EFFECTS: Readonly<Record<string, (made: Made) => boolean>> = {
  "accounts.create": ({ transfers, orders, moves }) => transfers + orders + moves === 0,
  "payments.create": ({ transfers, orders, moves }) => transfers === 1 && orders + moves === 0,
  "refunds.create": ({ transfers, orders, moves }) => transfers === 1 && orders + moves === 0,
  "products.create": ({ transfers, orders, moves }) => moves <= 1 && orders + transfers === 0,
  "stock.adjust": ({ transfers, orders, moves }) => moves === 1 && orders + transfers === 0,
  "orders.create": ({ transfers, orders, moves }) => orders === 1 && moves === 1 && transfers <= 1,
  "orders.cancel": ({ transfers, orders, moves }) => orders === 0 && moves === 1 && transfers <= 1,
};

/** A token as what it grants: it is long, and another run has another. */
const withoutTokens = (text: string): string =>
  text.replaceAll(/Bearer (\w[\w-]*\.[\w-]+\.[\w-]*)/g, (whole, token: string) => {
    const claims = /"scope":"([^"]*)"/.exec(
      Buffer.from(token.split(".")[1] ?? "", "base64url").toString(),
    );
    return claims === null ? whole : `Bearer (a token with the scopes ${claims[1]})`;
  });

const renamed = (draft: Draft, key: string): Draft => ({
  ...draft,
  key,
  headers: draft.headers.map((header) =>
    header[0] === "Idempotency-Key" ? (["Idempotency-Key", key] as const) : header,
  ),
});

/** Drafts with one thing less: a header, the query, a member of the body. */
const smallerThan = (draft: Draft): Draft[] => {
  const { headers, json, query, body } = draft;
  const members = typeof json === "object" && json !== null ? Object.entries(json) : [];
  const isPlain = JSON.stringify(json) === body && !Array.isArray(json);
  return [
    ...headers.map((_, i) => ({ ...draft, headers: headers.toSpliced(i, 1) })),
    ...(query === "" ? [] : [{ ...draft, query: "" }]),
    ...(isPlain ? members : []).map((_, i) => {
      const fewer = Object.fromEntries(members.toSpliced(i, 1));
      return { ...draft, json: fewer, body: JSON.stringify(fewer) };
    }),
  ];
};

/** Every answer of the Worker has one; the runtime's own refusals have none. */
const isFromWorker = ({ headers }: RawAnswer): boolean => headers.has("x-request-id");

/** A problem's code, or what a success is. */
const nameOf = (answer: RawAnswer): string => {
  if (answer.status < 300) return answer.headers.has("idempotent-replayed") ? "replayed" : "done";
  try {
    const { code } = JSON.parse(answer.text) as { code?: unknown };
    return String(code);
  } catch {
    return "";
  }
};

const deviation = (fault: Fault, status: number, code: string): string | undefined =>
  status === fault.status && code === fault.code
    ? undefined
    : `${fault.what}: ${status} ${code} instead of ${fault.status} ${fault.code}`;

const REPLAYED_HEADERS = ["content-type", "location", "etag", "link", "idempotency-expires"];

const sameBytes = (first: RawAnswer, answer: RawAnswer): string | undefined => {
  if (answer.status !== first.status || answer.text !== first.text)
    return "a replay with other bytes";
  const header = REPLAYED_HEADERS.find(
    (name) => first.headers.get(name) !== answer.headers.get(name),
  );
  return header === undefined ? undefined : `a replay with another ${header}`;
};

const sameOutcome = ({ outcome, erased }: KeyLife, answer: RawAnswer): string | undefined => {
  if (erased === true)
    return answer.status === 410 ? undefined : `an erased key gets ${answer.status}`;
  if (answer.headers.get("idempotent-replayed") !== "true") {
    return `a retry gets ${answer.status} ${nameOf(answer)}, not marked as a replay`;
  }
  return outcome === undefined ? undefined : sameBytes(outcome, answer);
};

/* Coverage. */

/** Declared, and out of reach of requests alone: faults of the database, time, configuration. */
const OUT_OF_REACH = new Set([
  // The limiter is off: it would hide what lies behind it.
  "rate-limited",
  "idempotency-key-expired",
  "operation-failed",
  "internal-error",
  "temporarily-unavailable",
  "outcome-unknown-yet",
]);

/** Declared for what the data cannot come to: a second line behind a guard, or a rule of all reads. */
const NEVER: Readonly<Record<string, readonly string[]>> = {
  "refunds.create": ["unknown-account", "currency-mismatch", "limit-exceeded"],
  "orders.cancel": [
    "unknown-account",
    "currency-mismatch",
    "refund-exceeds-payment",
    "out-of-stock",
  ],
  "idempotency-keys.get": ["not-found", "request-invalid"],
  "idempotency-keys.erase": ["request-invalid"],
  "ops.revoke-token": ["not-found"],
};

const wantedOf = (operation: Documented): string[] => {
  const { id, keyed, success, problems, parameters, path } = operation;
  const hasId = path.includes("{");
  const reachable = problems.filter(
    ({ code, status }) =>
      !OUT_OF_REACH.has(code) &&
      !(NEVER[id]?.includes(code) ?? false) &&
      !(code === "request-in-flight" && status === 409) &&
      !(code === "not-found" && (keyed || !hasId)),
  );
  return [
    `${id} ${success} done`,
    ...(keyed ? [`${id} ${success} replayed`, `${id} 202 done`] : []),
    ...reachable
      .filter(
        ({ code }) =>
          parameters.length > 0 || keyed || code !== "request-invalid" || id === "ops.revoke-token",
      )
      .map(({ status, code }) => `${id} ${status} ${code}`),
  ];
};
