/**
 * Sends what was decided to be done once, until its outcome is known. It guarantees that the intent is stored before its
 * first try, that every try has its key and its bytes, and that what was stored and has no outcome can be gone on with by
 * another process (`resume`). It refuses another body under a known key, and a key past its life. That an effect happens
 * once is the server's doing: two tabs that send the same intent are safe without a lock.
 */
import { IDEMPOTENCY_KEY } from "../contract/headers.ts";
import { type Answer, problemOf, toAnswer } from "./answer.ts";
import { decodeContent, encodeBody, encodeBytes } from "./content.ts";
import type { Endpoint, Endpoints } from "./endpoints.ts";
import { NoOutcomeError, type NoOutcomeReason, ProblemError, StoreError } from "./errors.ts";
import type { ClientEvent } from "./events.ts";
import {
  type Intent,
  type IntentRequest,
  isSameRequest,
  parseIntent,
  type StoredAnswer,
} from "./intent.ts";
import { keyOf, systemRandomness, uuidV7 } from "./key.ts";
import {
  ATTEMPT_TIMEOUT_MS,
  GIVE_UP_AFTER_MS,
  KEY_SAFE_MS,
  LATCHKEY_KEY_SAFE_MS,
  ORIGINS_MAX,
  RESUME_PARALLEL,
  TIMER_MS_MAX,
  WAIT_SECONDS,
} from "./limits.ts";
import { nextStep } from "./retry-decision.ts";
import { type Pass, reasonOf, RetryBudget } from "./retry-budget.ts";
import { type IntentStore, memoryStore } from "./store.ts";
import { judge, marksOf, type Verdict } from "./verdict.ts";

export type ClientOptions = {
  /** Where a Latchkey is, with the path that it is mounted at; needed for `send`. */
  readonly baseUrl?: string;
  /**
   * Added to every try and never stored: credentials. Asked anew each time, so that a token may be renewed; told the URL,
   * so that none goes where it does not belong.
   */
  readonly credentials?: (
    url: string,
  ) => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>;
  /** In memory unless said, which a crash of the process does not survive. */
  readonly store?: IntentStore;
  readonly fetch?: typeof fetch;
  readonly onEvent?: (event: ClientEvent) => void;
  /** How long one call goes on, milliseconds; two minutes unless said. */
  readonly giveUpAfterMs?: number;
  /** How long one try may take, milliseconds. */
  readonly attemptTimeoutMs?: number;
  /** How long the API of `request` is known to remember a key, milliseconds; 24 hours unless said. */
  readonly keySafeMs?: number;
  /** For tests: milliseconds since the epoch, and a number from 0 up to 1. */
  readonly now?: () => number;
  readonly random?: () => number;
};

export type CallOptions = {
  /** Of the intent, if you have one; else made, and in the answer and every event and error. */
  readonly key?: string;
  /** What identifies the intent; its hash is the key. See `keyOf`. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Ends this call. What was sent may happen all the same; the intent stays stored. */
  readonly signal?: AbortSignal;
  readonly giveUpAfterMs?: number;
};

export type SendOptions<Of extends Endpoint> = CallOptions &
  (Of["params"] extends Readonly<Record<string, never>>
    ? { readonly params?: undefined }
    : { readonly params: Of["params"] }) & { readonly body: Of["body"] };

export type RequestOptions = CallOptions & {
  /** POST unless said. */
  readonly method?: string;
  /** A JSON value, text, a `Uint8Array` or `URLSearchParams`: what can be stored, and sent again. */
  readonly body?: unknown;
  /** Stored with the intent: no credentials. */
  readonly headers?: Readonly<Record<string, string>>;
};

/** What came of one stored intent. */
export type Resumed =
  | { readonly key: string; readonly answer: Answer }
  | { readonly key: string; readonly error: Error };

export type Client<Routes extends Endpoints> = {
  /**
   * Sends to one of Latchkey's endpoints: `send("POST /v1/payments", { body })`. Resolves with its 2xx. Rejects with a
   * `ProblemError`, `NoOutcomeError` or `StoreError`, and with a TypeError for what cannot be a request.
   */
  readonly send: <Route extends keyof Routes & string>(
    route: Route,
    options: SendOptions<Routes[Route]>,
  ) => Promise<Answer<Routes[Route]["answer"]>>;
  /** The same for any API that honours an `Idempotency-Key`. */
  readonly request: (url: string | URL, options?: RequestOptions) => Promise<Answer>;
  /**
   * Goes on with every stored intent that has no outcome, whoever stored it; resolves when each has been given its time.
   * To be called at start, and when the network is back.
   */
  readonly resume: (options?: Pick<CallOptions, "signal" | "giveUpAfterMs">) => Promise<Resumed[]>;
  /** Intents that have no outcome yet. */
  readonly pending: () => Promise<Intent[]>;
  /** Takes an intent out of the store. One without an outcome is then nobody's: look it up first. */
  readonly forget: (key: string) => Promise<void>;
};

export const createClient = <Routes extends Endpoints = Endpoints>(
  options: ClientOptions = {},
): Client<Routes> => {
  const { store = memoryStore(), now = Date.now, random = Math.random } = options;
  const send = options.fetch ?? fetch;
  const tell = (event: ClientEvent): void => {
    // Apart from the call: what a listener throws is the program's error, and no outcome of a payment.
    if (options.onEvent !== undefined) queueMicrotask(() => options.onEvent?.(event));
  };
  const budgets = new Map<string, RetryBudget>();
  /** Calls of this client by key, so that two for one intent are one. */
  const running = new Map<
    string,
    { readonly request: IntentRequest; readonly done: Promise<Answer> }
  >();

  const budgetOf = (url: string): RetryBudget => {
    const { origin } = new URL(url);
    const budget = budgets.get(origin) ?? new RetryBudget({ now, random, sleep });
    budgets.delete(origin);
    budgets.set(origin, budget);
    const [oldest] = budgets.keys();
    if (budgets.size > ORIGINS_MAX && oldest !== undefined) budgets.delete(oldest);
    return budget;
  };

  /** The same call for all who ask for the key while it runs. */
  const once = async (
    key: string,
    request: IntentRequest,
    work: () => Promise<Answer>,
  ): Promise<Answer> => {
    const other = running.get(key);
    if (other !== undefined) {
      if (!isSameRequest(other.request, request)) throw changed(key);
      return other.done;
    }
    const done = work().finally(() => running.delete(key));
    running.set(key, { request, done });
    return done;
  };

  const call = async (
    request: IntentRequest,
    { key: given, metadata, ...patience }: CallOptions,
    safeMs: number,
  ): Promise<Answer> => {
    const key =
      given ?? (metadata === undefined ? uuidV7(now(), systemRandomness) : await keyOf(metadata));
    return once(key, request, async () => {
      const nowMs = now();
      const intent: Intent = {
        version: 1,
        key,
        request,
        createdAtMs: nowMs,
        safeUntilMs: nowMs + safeMs,
        notBeforeMs: 0,
        answer: null,
      };
      const kept = await keep(intent);
      if (!isSameRequest(kept.request, request)) throw changed(key);
      if (kept.answer !== null) return known(kept, kept.answer);
      tell({ type: "stored", key });
      // Somebody began it before: this may be a retry, and is paid for as one.
      return run(kept, { ...patience, resumed: kept.createdAtMs !== nowMs });
    });
  };

  const keep = async (intent: Intent): Promise<Intent> => {
    let stored: unknown;
    try {
      stored = await store.add(intent);
    } catch (cause) {
      throw new StoreError("The intent could not be stored, so it was not sent.", { cause });
    }
    const kept = parseIntent(stored);
    if (kept?.key !== intent.key)
      throw new StoreError(`What is stored as ${intent.key} is no intent.`);
    return kept;
  };

  /** An outcome from the store, as long as the server would say the same. */
  const known = ({ key }: Intent, stored: StoredAnswer): Answer => {
    const answer = toAnswer(key, stored, { fromStore: true, attempts: 0 });
    if (stored.expiresAtMs !== null && now() >= stored.expiresAtMs) {
      const { headers } = stored;
      throw new ProblemError("idempotency-key-expired", {
        key,
        detail: `The key expired at ${new Date(stored.expiresAtMs).toISOString()}; it is not sent again.`,
        members: headers["location"] === undefined ? {} : { link: headers["location"] },
      });
    }
    return delivered(answer, stored);
  };

  const run = async (
    intent: Intent,
    how: Pick<CallOptions, "signal" | "giveUpAfterMs"> & { readonly resumed: boolean },
  ): Promise<Answer> => {
    const { key, request } = intent;
    const giveUpAtMs = now() + (how.giveUpAfterMs ?? options.giveUpAfterMs ?? GIVE_UP_AFTER_MS);
    const patience = new AbortController();
    const deadline = setTimeout(() => patience.abort(), timerMs(giveUpAtMs - now()));
    const signal =
      how.signal === undefined ? patience.signal : AbortSignal.any([how.signal, patience.signal]);
    const budget = budgetOf(request.url);

    let attempts = 0;
    let notBeforeMs = intent.notBeforeMs;
    let last: ProblemError | undefined;
    const noOutcome = (reason: NoOutcomeReason, cause?: unknown): NoOutcomeError => {
      tell({ type: "no-outcome", key, reason });
      const maybeDone = how.resumed || attempts > 0;
      return new NoOutcomeError(reason, { key, maybeDone, notBeforeMs, last, cause });
    };
    try {
      if (now() >= intent.safeUntilMs) throw noOutcome("key-age");
      if (notBeforeMs >= giveUpAtMs) throw noOutcome("deadline");
      await sleep(notBeforeMs - now(), signal);
      for (;;) {
        const pass = how.resumed || attempts > 0 ? await inLine(budget, key, signal) : undefined;
        let heard: Attempted;
        try {
          // Another process may have had its turn while this one waited.
          const found = pass === undefined ? null : await outcomeOf(key);
          if (found !== null) {
            pass?.end(true);
            return known(intent, found);
          }
          attempts += 1;
          tell({ type: "sending", key, attempt: attempts, probe: pass?.probe ?? false });
          heard = await attempt(intent, signal);
          pass?.end(heard.answered);
        } finally {
          // Whatever was thrown, the next in line is let go; a second call of it says nothing.
          pass?.end(false);
        }
        const { stored, verdict } = heard;
        if (stored !== undefined) {
          const answer = toAnswer(key, stored, { fromStore: false, attempts });
          if (verdict.is !== "retry") {
            if (pass === undefined && heard.answered) budget.succeededAtOnce();
            await settle(intent, verdict, stored);
            tell({ type: "outcome", key, status: stored.status, replayed: stored.replayed });
            return delivered(answer, stored);
          }
          last = problemError(answer, stored);
        }
        tell({
          type: "failed",
          key,
          attempt: attempts,
          status: stored?.status ?? 0,
          code: last?.code ?? null,
        });
        if (signal.aborted) throw reasonOf(signal);
        const adviceMs = verdict.is === "retry" ? verdict.afterMs : null;
        const step = nextStep({
          nowMs: now(),
          failures: attempts,
          adviceMs,
          giveUpAtMs,
          safeUntilMs: intent.safeUntilMs,
          random: random(),
        });
        notBeforeMs = step.do === "wait" ? step.untilMs : step.notBeforeMs;
        // Another process that has the store is to wait as long.
        await write(key, () => store.put({ ...intent, notBeforeMs }));
        if (step.do === "give-up") throw noOutcome(step.why);
        tell({ type: "waiting", key, untilMs: notBeforeMs, advised: adviceMs !== null });
        await sleep(notBeforeMs - now(), signal);
      }
    } catch (error) {
      if (!signal.aborted || error instanceof NoOutcomeError || error instanceof ProblemError) {
        throw error;
      }
      throw noOutcome(how.signal?.aborted === true ? "aborted" : "deadline", error);
    } finally {
      clearTimeout(deadline);
    }
  };

  const inLine = async (budget: RetryBudget, key: string, signal: AbortSignal): Promise<Pass> => {
    if (budget.isSpent) tell({ type: "in-line", key });
    return budget.admit(signal);
  };

  /** One try, to the last byte of its answer: one that breaks off is none. */
  const attempt = async ({ key, request }: Intent, signal: AbortSignal): Promise<Attempted> => {
    // Outside of the try: without credentials there is nothing to send, and nothing that a retry would mend.
    const credentials = (await options.credentials?.(request.url)) ?? {};
    const patience = new AbortController();
    const timer = setTimeout(
      () => patience.abort(),
      timerMs(options.attemptTimeoutMs ?? ATTEMPT_TIMEOUT_MS),
    );
    try {
      const response = await send(request.url, {
        method: request.method,
        headers: { ...request.headers, ...credentials, [IDEMPOTENCY_KEY]: key },
        body: request.content === null ? null : decodeContent(request.content),
        redirect: "manual",
        signal: AbortSignal.any([signal, patience.signal]),
      });
      const content = encodeBytes(new Uint8Array(await response.arrayBuffer()));
      const headers = Object.fromEntries(response.headers);
      const problem = problemOf({ headers, content });
      const marks = marksOf(response.status, response.headers, problem, now());
      const { status, replayed, expiresAtMs } = marks;
      const answered = status !== 429 && status < 500;
      return {
        stored: { status, headers, content, replayed, expiresAtMs },
        verdict: judge(marks),
        answered,
      };
    } catch {
      // Refused, reset, cut off, too late: it may have been carried out all the same.
      return { verdict: { is: "retry", afterMs: null }, answered: false };
    } finally {
      clearTimeout(timer);
    }
  };

  /** What another process has heard; null also if the store does not say, for sending again is harmless. */
  const outcomeOf = async (key: string): Promise<StoredAnswer | null> => {
    try {
      return parseIntent(await store.get(key))?.answer ?? null;
    } catch {
      return null;
    }
  };

  const settle = async (intent: Intent, verdict: Verdict, answer: StoredAnswer): Promise<void> => {
    switch (verdict.is) {
      case "final":
        return write(intent.key, () => store.put({ ...intent, answer }));
      case "free":
        return write(intent.key, () => store.delete(intent.key));
      case "blocked":
      case "retry":
        return undefined;
    }
  };

  /** What is only comfort: see `intent.ts`. */
  const write = async (key: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      tell({ type: "not-kept", key, error });
    }
  };

  const readAll = async (): Promise<readonly unknown[]> => {
    try {
      return await store.all();
    } catch (cause) {
      throw new StoreError("The stored intents could not be read.", { cause });
    }
  };

  const pending = async (): Promise<Intent[]> =>
    (await readAll()).flatMap((stored) => {
      const intent = parseIntent(stored);
      return intent === undefined || intent.answer !== null ? [] : [intent];
    });

  const resumeOne = async (
    { key, request }: Intent,
    how: Pick<CallOptions, "signal" | "giveUpAfterMs">,
  ): Promise<Resumed[]> => {
    try {
      const answer = await once(key, request, async () => {
        // Read again: it may have waited here for long, and another process may have its outcome by now.
        const intent = parseIntent(await store.get(key));
        if (intent === undefined) throw new Gone();
        if (intent.answer !== null) return known(intent, intent.answer);
        return run(intent, { ...how, resumed: true });
      });
      return [{ key, answer }];
    } catch (error) {
      if (error instanceof Gone) return [];
      return [{ key, error: error instanceof Error ? error : new Error(String(error)) }];
    }
  };

  return {
    send: async (route, sending) => {
      // One for every route: what each of them asks for is held by the signature above.
      const {
        params,
        body,
        ...rest
      }: CallOptions & { readonly body: unknown; readonly params?: unknown } = sending;
      const [method = "", path = ""] = route.split(" ");
      const url = urlOf(options.baseUrl, path, (params ?? {}) as Readonly<Record<string, string>>);
      const request = requestOf(url, { method, body, headers: { prefer: `wait=${WAIT_SECONDS}` } });
      // Of the form that the definition promises: the server is held to it by its own tests, and it is not parsed again.
      return call(request, rest, LATCHKEY_KEY_SAFE_MS);
    },
    request: async (url, { method = "POST", body, headers = {}, ...rest } = {}) =>
      call(
        requestOf(new URL(url).href, { method, body, headers }),
        rest,
        options.keySafeMs ?? KEY_SAFE_MS,
      ),
    resume: async (how = {}) => {
      const kept = await readAll();
      const nowMs = now();
      const intents = kept.flatMap((stored) => parseIntent(stored) ?? []);
      for (const { key, answer, safeUntilMs } of intents) {
        // An outcome that nobody can ask for any more.
        if (answer !== null && nowMs >= safeUntilMs) await write(key, () => store.delete(key));
      }
      // In an order of its own, so that two processes meet at different intents, and find the other's outcomes.
      const queue = shuffled(
        intents.filter(({ answer }) => answer === null),
        random,
      );
      const results: Resumed[] = kept.flatMap((stored) =>
        parseIntent(stored) === undefined
          ? [{ key: "", error: new StoreError("The store holds something that is no intent.") }]
          : [],
      );
      const worker = async (): Promise<void> => {
        for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
          results.push(...(await resumeOne(next, how)));
        }
      };
      await Promise.all(Array.from({ length: RESUME_PARALLEL }, worker));
      return results;
    },
    pending,
    forget: async (key) => store.delete(key),
  };
};

type Attempted = {
  /** None if no whole answer came. */
  readonly stored?: StoredAnswer;
  readonly verdict: Verdict;
  /** The origin is up: it has answered, and not with a refusal to work. */
  readonly answered: boolean;
};

/** Another process has taken the intent out of the store: it was found to be free, or forgotten. */
class Gone extends Error {
  override readonly name = "Gone";
}

const delivered = (answer: Answer, stored: StoredAnswer): Answer => {
  if (answer.status >= 200 && answer.status < 300) return answer;
  throw problemError(answer, stored);
};

const problemError = (answer: Answer, stored: StoredAnswer): ProblemError => {
  const members = problemOf(stored);
  const { code } = members;
  return new ProblemError(typeof code === "string" ? code : `http-${answer.status}`, {
    key: answer.key,
    members,
    answer,
  });
};

const changed = (key: string): ProblemError =>
  new ProblemError("idempotency-key-reused", {
    key,
    detail: "The key stands for another request, which is stored. Nothing was sent.",
  });

const requestOf = (
  url: string,
  given: {
    readonly method: string;
    readonly body: unknown;
    readonly headers: Readonly<Record<string, string>>;
  },
): IntentRequest => {
  const { content, type } = encodeBody(given.body);
  // Headers themselves say what is a name and what a value.
  const headers = new Headers(given.headers);
  if (headers.has(IDEMPOTENCY_KEY)) throw new TypeError("Give the key as `key`, not as a header.");
  if (headers.has("Authorization") || headers.has("Cookie")) {
    throw new TypeError("Headers are stored: give credentials by `credentials`.");
  }
  if (type !== null && !headers.has("Content-Type")) headers.set("Content-Type", type);
  return { method: given.method.toUpperCase(), url, headers: Object.fromEntries(headers), content };
};

const urlOf = (
  baseUrl: string | undefined,
  path: string,
  params: Readonly<Record<string, string>>,
): string => {
  if (baseUrl === undefined) throw new TypeError("`send` needs `baseUrl`.");
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = Object.hasOwn(params, name) ? params[name] : undefined;
    // "." and ".." would be taken for a step in the path, encoded or not.
    if (value === undefined || value === "" || /^\.{1,2}$/.test(value)) {
      throw new TypeError(`The parameter ${name} of ${path} is missing.`);
    }
    return encodeURIComponent(value);
  });
  return new URL(baseUrl.replace(/\/$/, "") + filled).href;
};

const shuffled = <Item>(items: readonly Item[], random: () => number): Item[] =>
  items
    .map((item) => ({ item, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);

const timerMs = (ms: number): number => Math.max(0, Math.min(ms, TIMER_MS_MAX));

/** Rejects with the signal's reason if that comes first. */
const sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
  signal.throwIfAborted();
  if (ms <= 0) return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, timerMs(ms));
    const abort = (): void => {
      clearTimeout(timer);
      reject(reasonOf(signal));
    };
    signal.addEventListener("abort", abort, { once: true });
  });
};
