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
import { COMMIT_BUDGET_MS, SEND_TIMEOUT_MS } from "../../src/kernel/limits.ts";
import { Random } from "./crash-random.ts";
import { ApiDocument, type Documented } from "./fuzz-document.ts";
import { wantedOf } from "./fuzz-coverage.ts";
import { framesOf } from "./fuzz-frames.ts";
import {
  effectFaults,
  journalFaults,
  type KeyLife,
  nameOf,
  sameBytes,
  sameOutcome,
} from "./fuzz-keys.ts";
import { renamed, smallerThan, withoutTokens } from "./fuzz-reproduction.ts";
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
  exchangeParts,
  type RawAnswer,
  type RawRequest,
  requestBytes,
  sendThenReset,
} from "./raw-http.ts";
import { startUpstream } from "../../examples/upstream/upstream.ts";
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
/** A key becomes final within this: twice what a run may take with its last send, however slow the machine is. */
const FINAL_WITHIN_MS = 2 * (COMMIT_BUDGET_MS + SEND_TIMEOUT_MS);
/** A run that is broken throughout need not be told in full. */
const VIOLATIONS_MAX = 50;

/** @param progress is told now and then how many requests were sent */
export const runFuzz = async (
  plan: FuzzPlan,
  progress: (requests: number) => void = () => undefined,
): Promise<{ readonly result: FuzzResult; readonly violations: readonly Violation[] }> => {
  // Payouts are sent by somebody.
  const processor = await startUpstream();
  const server = await startServer({
    newKeysPerMinute: "unlimited",
    vars: { PAYOUT_PROCESSOR_ORIGIN: processor.origin },
  });
  try {
    const served: unknown = await (await fetch(`${server.origin}/openapi.json`)).json();
    const document = new ApiDocument(served);
    const fuzz = new Fuzz(server, document, await openWorlds(server), plan);
    await fuzz.run(progress);
    return { result: fuzz.result(), violations: fuzz.violations };
  } finally {
    await server.stop();
    await processor.stop();
  }
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

  async run(progress: (requests: number) => void): Promise<void> {
    const lane = async (): Promise<void> => {
      while (
        this.#requests < this.#plan.requests &&
        this.violations.length < VIOLATIONS_MAX &&
        performance.now() < this.#endsAtMs
      ) {
        await this.#scenario((this.#scenarios += 1));
        if (this.#requests - this.#checkedAt >= CHECK_EVERY_REQUESTS) {
          this.#checkedAt = this.#requests;
          progress(this.#requests);
          for (const fault of await journalFaults(this.#server, this.#lives, false))
            this.#note(fault);
        }
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    await this.#settleAll();
    for (const fault of [
      ...(await journalFaults(this.#server, this.#lives, true)),
      ...(await effectFaults(this.#server)),
    ]) {
      this.#note(fault);
    }
    for (const [i, found] of this.violations.slice(0, REDUCED_MAX).entries()) {
      // What does not show again, or answers no more, stays as it was found.
      this.violations[i] = await this.#reduced(found).catch(() => found);
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
      const [answer] = await this.#exchange(act, fresh, [
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
    return {
      ...found,
      reproduction: `${withoutTokens(text).slice(0, TRACE_LENGTH_MAX)}\n(reduced)\n\n${found.reproduction}`,
    };
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
      this.#violate(act, error instanceof Error ? (error.stack ?? error.message) : String(error));
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
    const roll = random.next();
    if (roll < 0.15) return this.#pipelined(act);
    if (roll < 0.3) {
      const whole = requestBytes(this.#server.origin, rawOf(draft));
      const reset = await sendThenReset(this.#server.origin, whole);
      this.#count(draft);
      this.#lifeOf(world, draft.key ?? "").fate = "open";
      await sleep(random.int(0, 15));
      reset();
      await this.#conclude(act, draft);
      return;
    }
    const frame = random.pick(framesOf(this.#server.origin, draft, random));
    act.trace.push(
      `# ${frame.is}\n${Buffer.concat(frame.parts).toString("latin1").slice(0, TRACE_LENGTH_MAX)}`,
    );
    const [answer] = await this.#exchange(act, draft, frame.parts, frame.pauseMs);
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
    act.trace.push(
      `# pipelined\n${Buffer.concat(bytes).toString("latin1").slice(0, TRACE_LENGTH_MAX)}`,
    );
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
    const giveUpAtMs = performance.now() + FINAL_WITHIN_MS;
    while (performance.now() < giveUpAtMs) {
      const life = this.#lifeOf(act.world, draft.key ?? "");
      if (life.fate === "told") {
        await this.#ask(act, draft, { is: "settled", life });
        return;
      }
      const answer = await this.#ask(act, draft, { is: "contended" });
      if (answer !== undefined && answer.status < 423 && answer.status !== 202) return;
      await sleep(25);
    }
    this.#violate(act, `the key was not final within ${FINAL_WITHIN_MS / 1000} s of retries`);
  }

  /* Sending and judging. */

  async #ask(act: Act, draft: Draft, stage: Stage): Promise<RawAnswer | undefined> {
    const bytes = requestBytes(this.#server.origin, rawOf(draft));
    act.trace.push(bytes.toString("latin1").slice(0, TRACE_LENGTH_MAX));
    const [answer] = await this.#exchange(act, draft, [bytes]);
    if (answer === undefined) {
      this.#violate(act, "no answer");
      return undefined;
    }
    this.#examine(act, draft, answer, stage);
    return answer;
  }

  async #raw(act: Act, draft: Draft, raw: RawRequest): Promise<RawAnswer | undefined> {
    const bytes = requestBytes(this.#server.origin, raw);
    act.trace.push(bytes.toString("latin1").slice(0, TRACE_LENGTH_MAX));
    const [answer] = await this.#exchange(act, draft, [bytes]);
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

  async #exchange(
    { world }: Act,
    draft: Draft,
    parts: readonly Uint8Array[],
    pauseMs = 0,
  ): Promise<RawAnswer[]> {
    const startedAtMs = performance.now();
    let answers: RawAnswer[];
    try {
      answers = await exchangeParts(this.#server.origin, parts, pauseMs);
    } catch (error) {
      if (draft.key === undefined) throw error;
      this.#lifeOf(world, draft.key).fate = "open";
      // Whether it ran, and when, tells on which side of the database it was held up.
      const rows = await this.#server.sql(
        "SELECT status, created_at_ms FROM journal WHERE tenant = ? AND key = ?",
        world.tenant,
        draft.key,
      );
      throw new Error(`${String(error)} Its row, at ${Date.now()}: ${JSON.stringify(rows)}`, {
        cause: error,
      });
    }
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
    const isOutcome =
      status === operation.success ||
      operation.problems.some(
        (one) => one.status === status && one.code === code && one.use === "new-key",
      );
    switch (stage.is) {
      case "contended":
        return isOutcome || [202, 410, 422, 423, 503].includes(status) || !this.#isValid(draft)
          ? undefined
          : `a valid request beside others gets ${status} ${code}`;
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
        return stored && isOutcome
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
      this.#harvest(world, draft.operation, answer);
    } else if (life.fate === "refused" && [202, 423, 503].includes(answer.status)) {
      life.fate = "open";
    }
  }

  #harvest(world: World, { id, success }: Documented, answer: RawAnswer): void {
    if (answer.status !== success) return;
    const made = JSON.parse(answer.text) as Readonly<Record<string, unknown>>;
    if (id === "refunds.create") {
      world.rare["refunds.get"] = [
        { params: { id: String(made["payment"]), refund: String(made["id"]) } },
      ];
    }
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

  /** What the database shows belongs to no one request. */
  #note(what: string): void {
    this.violations.push({ what, scenario: 0, reproduction: "(seen in the database)" });
  }

  /** Keys whose fate is open: their work has come to its end, so the journal may be read. */
  async #settleAll(): Promise<void> {
    for (let tries = 0; tries < 50; tries++) {
      const [row] = await this.#server.sql("SELECT count(*) AS n FROM journal");
      await sleep(100);
      const [later] = await this.#server.sql("SELECT count(*) AS n FROM journal");
      if (row?.["n"] === later?.["n"]) return;
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

/** Of many violations the first few are reduced: one usually stands for all. */
const REDUCED_MAX = 5;
/** A request as it is told: more of it is padding. */
const TRACE_LENGTH_MAX = 2_000;
const POOL_MAX = 300;
const SETTLED_MAX = 2_000;
const CHECK_EVERY_REQUESTS = 2_000;

/** Every answer of the Worker has one; the runtime's own refusals have none. */
const isFromWorker = ({ headers }: RawAnswer): boolean => headers.has("x-request-id");

const deviation = (fault: Fault, status: number, code: string): string | undefined =>
  status === fault.status && code === fault.code
    ? undefined
    : `${fault.what}: ${status} ${code} instead of ${fault.status} ${fault.code}`;
