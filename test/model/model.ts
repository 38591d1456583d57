/**
 * The transition system: every way in which the world can go on from a state. What is decided on the way is decided
 * by the product's own functions; what stands here is what they are called with, in the order in which the shells
 * (key-engine.ts, group-commit.ts) call them, and everything around that may happen at any moment.
 *
 * Between two awaits a Durable Object runs undisturbed, so a step reaches from one await to the next.
 */
import { FINGERPRINT_VERSION } from "../../src/idempotency/fingerprint.ts";
import type { Decision, KeyKnowledge } from "../../src/idempotency/key-record.ts";
import type { DatabaseFailure } from "../../src/journal/database.ts";
import type { JournalEntry } from "../../src/journal/record-row.ts";
import type { Fate } from "../../src/journal/submission.ts";
import { SEND_TIMEOUT_MS } from "../../src/kernel/limits.ts";
import { deliver, RULES, type Rules } from "./database.ts";
import { outcomeIn, Papers, PRODUCT, type Product } from "./product.ts";
import type { Request, Scenario } from "./scenarios.ts";
import {
  type Batch,
  Codec,
  type Faults,
  type Incarnation,
  nonceName,
  type Pending,
  type Send,
  type State,
  type Told,
} from "./state.ts";

/** What somebody is told that is not kept in the state. */
export type Said =
  /** The client's run was not carried out, and will not be. */
  | { readonly kind: "unavailable"; readonly run: number }
  /** The first key is free. */
  | { readonly kind: "free" };

export type Step = {
  readonly next: State;
  /** In words; asked for only when a trace is printed. */
  readonly label: () => string;
  /** Whether it needs something to go wrong. */
  readonly isFault: boolean;
  readonly said: readonly Said[];
};

export type Model = {
  readonly scenario: Scenario;
  readonly initial: State;
  readonly codec: Codec;
  readonly steps: (state: State, emit: (step: Step) => void) => void;
};

const BOTH = [0, 1] as const;
const WITHOUT_WORK = { queue: [], groups: [], phase: { at: "idle" } } as const;
const UNANSWERED: DatabaseFailure = { kind: "unknown", message: "" };
const UNDONE: DatabaseFailure = { kind: "aborted", constraint: "stock" };

export const modelOf = (
  scenario: Scenario,
  product: Product = PRODUCT,
  rules: Rules = RULES,
): Model => {
  const { requests, instants, batchLifeMs, reach, looksUp } = scenario;
  const papers = new Papers(scenario, product);
  const requestOf = (client: number): Request => {
    const request = requests[client];
    if (request === undefined) throw new Error(`There is no client ${client}.`);
    return request;
  };
  const keyOf = (client: number): number => requestOf(client).key;
  const nowMs = (state: State): number => papers.msOf(state.now);

  // --- What an incarnation knows and answers --------------------------------------------------------------------

  const knownOf = (incarnation: Incarnation, key: number): KeyKnowledge => {
    const run = runOf(incarnation, key);
    if (run !== undefined) {
      return {
        kind: "running",
        fingerprint: papers.fingerprintOf(run.client),
        fingerprintVersion: FINGERPRINT_VERSION,
        members: {},
      };
    }
    const copy = incarnation.copies[key];
    return copy === undefined
      ? { kind: "free" }
      : { kind: "record", record: papers.recordOf(copy) };
  };

  const runOf = ({ queue, groups }: Incarnation, key: number): Pending | undefined => {
    const isOfKey = ({ client }: Pending): boolean => keyOf(client) === key;
    const queued = queue.find(isOfKey);
    if (queued !== undefined) return queued;
    for (const group of groups) {
      const found = group.find(isOfKey);
      if (found !== undefined) return found;
    }
    return undefined;
  };

  /** What a decision on a record tells the caller. */
  const toldBy = (decision: Decision): Told => {
    switch (decision.do) {
      case "replay":
        return { kind: "outcome", outcome: outcomeIn(decision.response.body) };
      case "mismatch":
        return { kind: "mismatch" };
      case "expired":
        return { kind: "expired" };
      case "start":
      case "wait":
      case "in-flight":
      case "erased":
      case "uncertain":
      case "recover":
      case "unreadable":
        throw new Error(`No record of the model leads to ${decision.do}.`);
    }
  };

  /** A copy is kept of what is settled, and never over a tombstone that still stands. */
  const keep = (state: State, at: number, key: number, entry: JournalEntry): State => {
    const incarnation = incarnationOf(state, at);
    const before = incarnation.copies[key];
    if (before?.tombstone === true) return state;
    const copies = incarnation.copies.with(key, papers.copyOf(entry));
    return withIncarnation(state, at, { ...incarnation, copies });
  };

  /** A run is over: all who wait for it here hear the same. Undefined: to be tried again. */
  const reply = (state: State, at: number, key: number, told: Told | undefined): State => ({
    ...state,
    clients: state.clients.map((client, c) =>
      client.at !== "waiting" || client.incarnation !== at || keyOf(c) !== key
        ? client
        : told === undefined
          ? { at: "idle" }
          : { at: "told", told },
    ),
  });

  // --- A run ----------------------------------------------------------------------------------------------------

  const newPending = (state: State, client: number): Pending => ({
    client,
    run: state.names.runs,
    startedAt: state.now,
    standing: product.newStanding(papers.deadlineMs(state.now)),
    refuses: false,
    seen: seenBy(client, state),
    mayYetCommit: false,
    round: 0,
  });

  const seenBy = (client: number, { stock }: State): number =>
    requestOf(client).kind === "planned" ? stock : 0;

  /** The fates of some runs, whoever they leave waiting. */
  const settle = (
    before: State,
    at: number,
    fates: readonly (readonly [Pending, Fate])[],
    said: Said[],
  ): State => {
    let state = before;
    for (const [pending, fate] of fates) state = settleOne(state, at, pending, fate, said);
    return state;
  };

  const settleOne = (
    state: State,
    at: number,
    pending: Pending,
    fate: Fate,
    said: Said[],
  ): State => {
    const { client, mayYetCommit, round } = pending;
    const key = keyOf(client);
    const end = product.afterFate(fate, mayYetCommit, round);
    switch (end.do) {
      case "recall": {
        const { entry, own } = end;
        const asking = papers.askingOf(client);
        const decision = product.decideOnRow(entry.record, own, asking, nowMs(state));
        const kept = keep(noteUnanswered(state, at, key, -1), at, key, entry);
        return reply(kept, at, key, toldBy(decision));
      }
      case "plan-again": {
        const incarnation = incarnationOf(state, at);
        const again: Pending = {
          ...pending,
          standing: product.newStanding(pending.standing.deadlineMs),
          refuses: false,
          seen: seenBy(client, state),
          mayYetCommit: end.mayYetCommit,
          round: round + 1,
        };
        return withIncarnation(state, at, {
          ...incarnation,
          queue: [...incarnation.queue, again],
        });
      }
      case "unavailable":
        said.push({ kind: "unavailable", run: pending.run });
        return reply(state, at, key, undefined);
      case "unknown":
        return reply(noteUnanswered(state, at, key, state.now), at, key, undefined);
    }
  };

  /** Kept only where a lookup asks for it. */
  const noteUnanswered = (state: State, at: number, key: number, instant: number): State => {
    if (!looksUp) return state;
    const incarnation = incarnationOf(state, at);
    const unansweredAt = incarnation.unansweredAt.with(key, instant);
    return withIncarnation(state, at, { ...incarnation, unansweredAt });
  };

  // --- Clients --------------------------------------------------------------------------------------------------

  const submit: Rule = (state, emit) => {
    state.clients.forEach((client, c) => {
      if (client.at !== "idle") return;
      for (const at of BOTH) {
        if (incarnationOf(state, at).reachable) submitTo(state, c, at, emit);
      }
    });
  };

  const submitTo = (state: State, c: number, at: number, emit: Emit): void => {
    const { key } = requestOf(c);
    const incarnation = incarnationOf(state, at);
    const known = knownOf(incarnation, key);
    const decision = product.decide(known, papers.askingOf(c), nowMs(state));
    const waiting = { at: "waiting", incarnation: at } as const;
    const ask = (what: string) => () => `${nameOf(c)} asks object ${at}: ${what}`;
    switch (decision.do) {
      case "start": {
        // While a lookup is on its way nothing new begins: what it says is meant for the moment of its question.
        if (state.lookup.at === "absent") return;
        const queue = [...incarnation.queue, newPending(state, c)];
        const names = { ...state.names, runs: state.names.runs + 1 };
        const started = withIncarnation({ ...state, names }, at, { ...incarnation, queue });
        return emit(withClient(started, c, waiting), ask(`run ${state.names.runs} starts`));
      }
      case "wait":
        return emit(withClient(state, c, waiting), ask("it waits for the run in flight"));
      case "in-flight":
        // It hears so and asks again: nothing has changed.
        return;
      case "mismatch": {
        const mismatched = withTold(state, c, { kind: "mismatch" });
        const isTold = ask("it is told of a mismatch");
        if (known.kind !== "running") return emit(mismatched, isTold);
        const row = state.rows[key];
        const entry = row === undefined ? undefined : papers.entryOfRow(row);
        const next = product.decideAgainstRun(entry, false);
        switch (next.do) {
          case "mismatch":
            return emit(mismatched, isTold);
          case "in-flight":
          case "after-run":
            // It asks again, or is heard again when the run is over: the same to us.
            return;
          case "recall": {
            const { record } = next.entry;
            const recalled = product.decideOnRow(record, false, papers.askingOf(c), nowMs(state));
            const told = toldBy(recalled);
            return emit(
              withTold(keep(state, at, key, next.entry), c, told),
              ask(`the journal has the key; it is told ${wordsOf(told)}`),
            );
          }
        }
        return;
      }
      case "replay":
      case "expired":
      case "erased":
      case "uncertain":
      case "recover":
      case "unreadable": {
        const told = toldBy(decision);
        return emit(withTold(state, c, told), ask(`it is told ${wordsOf(told)}`));
      }
    }
  };

  const leave: Rule = (state, emit) => {
    if (state.faults.leave === 0) return;
    state.clients.forEach((client, c) => {
      if (client.at !== "waiting") return;
      const gone = withClient(withFault(state, "leave"), c, { at: "idle" });
      emit(gone, () => `${nameOf(c)} goes away without an answer`, FAULT);
    });
  };

  // --- Group commit ---------------------------------------------------------------------------------------------

  const commit: Rule = (state, emit) => {
    for (const at of BOTH) {
      const incarnation = incarnationOf(state, at);
      switch (incarnation.phase.at) {
        case "idle":
          if (incarnation.groups.length > 0 || incarnation.queue.length > 0) send(state, at, emit);
          break;
        case "sent":
          if (state.faults.silence > 0) fallSilent(state, at, emit);
          break;
        case "answered":
          hear(state, at, incarnation, emit);
          break;
        case "reading":
          read(state, at, incarnation.phase.answered, emit);
          if (state.faults.unread > 0) failToRead(state, at, emit);
          break;
      }
    }
  };

  /** The next group goes to the database: those of it who still have time. */
  const send = (state: State, at: number, emit: Emit): void => {
    const incarnation = incarnationOf(state, at);
    const [next, ...rest] =
      incarnation.groups.length > 0 ? incarnation.groups : [incarnation.queue];
    const queue = incarnation.groups.length > 0 ? incarnation.queue : [];
    const said: Said[] = [];
    const { open, late } = inTime(state, next ?? []);
    if (open.length === 0) {
      const idle = withIncarnation(state, at, { ...incarnation, queue, groups: rest });
      const over = settle(idle, at, late, said);
      return emit(over, () => `object ${at} gives up: the time is over`, { said });
    }
    let { nonces } = state.names;
    const group = open.map((pending) => {
      const standing = product.sentUnder(pending.standing, nonceName(nonces));
      nonces += 1;
      return { ...pending, standing };
    });
    const batch: Batch = { sends: group.map(sendOf), sentAt: state.now, awaitedBy: at };
    const sent = withIncarnation(
      { ...state, batches: [...state.batches, batch], names: { ...state.names, nonces } },
      at,
      { ...incarnation, queue, groups: [group, ...rest], phase: { at: "sent" } },
    );
    emit(settle(sent, at, late, said), () => `object ${at} sends ${describe(batch)}`, { said });
  };

  const sendOf = ({ client, run, standing, startedAt, refuses, seen }: Pending): Send => ({
    client,
    run,
    nonce: standing.nonces.at(-1) ?? "",
    startedAt,
    refuses,
    seen,
  });

  const inTime = (state: State, group: readonly Pending[]) => {
    const now = nowMs(state);
    const open = group.filter(({ standing }) => product.isInTime(standing, now));
    const late = group
      .filter(({ standing }) => !product.isInTime(standing, now))
      .map((pending) => [pending, product.givenUp(pending.standing, "time")] as const);
    return { open, late };
  };

  /** The answer does not come; the batch may. */
  const fallSilent = (state: State, at: number, emit: Emit): void => {
    const incarnation = incarnationOf(state, at);
    const [group = [], ...rest] = incarnation.groups;
    const next = product.afterBatch(group.length, UNANSWERED, group.some(refusing));
    if (next.do !== "look-up") throw new Error(`After silence: ${next.do}.`);
    const quiet = withIncarnation(
      {
        ...withFault(state, "silence"),
        batches: state.batches.map((batch) =>
          batch.awaitedBy === at ? { ...batch, awaitedBy: -1 } : batch,
        ),
      },
      at,
      {
        ...incarnation,
        groups: [group.map((pending) => unanswered(pending)), ...rest],
        phase: { at: "reading", answered: next.answered },
      },
    );
    emit(quiet, () => `object ${at} gets no answer, and reads the journal`, FAULT);
  };

  const unanswered = (pending: Pending): Pending => ({
    ...pending,
    standing: product.leftUnanswered(pending.standing),
  });

  const hear = (state: State, at: number, incarnation: Incarnation, emit: Emit): void => {
    if (incarnation.phase.at !== "answered") return;
    const { answer } = incarnation.phase;
    const [group = [], ...rest] = incarnation.groups;
    const failure = answer === "aborted" ? UNDONE : undefined;
    const next = product.afterBatch(group.length, failure, group.some(refusing));
    const idle = { ...incarnation, phase: { at: "idle" } } as const;
    const said: Said[] = [];
    switch (next.do) {
      case "halve": {
        const groups = [...product.halves(group), ...rest];
        return emit(
          withIncarnation(state, at, { ...idle, groups }),
          () => `object ${at} hears that the batch was undone, and halves it`,
        );
      }
      case "refuse": {
        const groups = [group.map((pending) => ({ ...pending, refuses: true })), ...rest];
        return emit(
          withIncarnation(state, at, { ...idle, groups }),
          () => `object ${at} hears that the batch was undone, and forces a refusal`,
        );
      }
      case "give-up": {
        const over = withIncarnation(state, at, { ...idle, groups: rest });
        const fates = group.map(
          (pending) => [pending, product.givenUp(pending.standing, next.reason)] as const,
        );
        return emit(settle(over, at, fates, said), () => `object ${at} gives up`, { said });
      }
      case "look-up": {
        const fates: (readonly [Pending, Fate])[] = [];
        const unclaimed: Pending[] = [];
        group.forEach((pending, i) => {
          const claimed = answer === "aborted" ? undefined : answer[i];
          if (claimed === undefined) return unclaimed.push(pending);
          const entry = papers.entryOfClaim(pending, claimed);
          return fates.push([pending, { kind: "recorded", entry, own: true }]);
        });
        const after =
          unclaimed.length === 0
            ? { ...idle, groups: rest }
            : ({
                ...incarnation,
                groups: [unclaimed, ...rest],
                phase: { at: "reading", answered: next.answered },
              } as const);
        const heard = withIncarnation(state, at, after);
        return emit(
          settle(heard, at, fates, said),
          () =>
            `object ${at} hears of ${fates.length} claims${unclaimed.length > 0 ? ", and reads the journal for the others" : ""}`,
          { said },
        );
      }
    }
  };

  const read = (state: State, at: number, answered: boolean, emit: Emit): void => {
    const incarnation = incarnationOf(state, at);
    const [group = [], ...rest] = incarnation.groups;
    const found = group.map(({ client }) => {
      const row = state.rows[keyOf(client)];
      return row === undefined ? undefined : papers.entryOfRow(row);
    });
    const standings = group.map(({ standing }) => standing);
    const fates: (readonly [Pending, Fate])[] = [];
    const again: Pending[] = [];
    product.afterRead(standings, found, answered).forEach((after, i) => {
      const pending = group[i];
      if (pending === undefined) return;
      if (after.kind === "send-again") again.push(pending);
      else fates.push([pending, after]);
    });
    const groups = again.length === 0 ? rest : [again, ...rest];
    const idle = withIncarnation(state, at, { ...incarnation, groups, phase: { at: "idle" } });
    const said: Said[] = [];
    emit(
      settle(idle, at, fates, said),
      () =>
        `object ${at} reads the journal: ${found.filter((row) => row !== undefined).length} of ${group.length} found${again.length > 0 ? `, ${again.length} to be sent again` : ""}`,
      { said },
    );
  };

  const failToRead = (state: State, at: number, emit: Emit): void => {
    const incarnation = incarnationOf(state, at);
    const [group = [], ...rest] = incarnation.groups;
    const { open, late } = inTime(
      state,
      group.map((pending) => unanswered(pending)),
    );
    const after =
      open.length === 0
        ? ({ ...incarnation, groups: rest, phase: { at: "idle" } } as const)
        : { ...incarnation, groups: [open, ...rest] };
    const said: Said[] = [];
    const unread = withIncarnation(withFault(state, "unread"), at, after);
    emit(settle(unread, at, late, said), () => `object ${at} cannot read the journal`, {
      ...FAULT,
      said,
    });
  };

  // --- The database, and time -----------------------------------------------------------------------------------

  const isAlive = (state: State, { sentAt }: Batch): boolean =>
    nowMs(state) < papers.msOf(sentAt) + batchLifeMs;

  const deliverOne: Rule = (state, emit) => {
    state.batches.forEach((batch, b) => {
      if (!isAlive(state, batch)) return;
      const delivered = deliver(state, batch.sends, requestOf, rules);
      const committed: State =
        delivered === "aborted"
          ? state
          : {
              ...state,
              rows: delivered.rows,
              effects: delivered.effects,
              stock: delivered.stock,
            };
      const at = batch.awaitedBy;
      const answer = delivered === "aborted" ? delivered : delivered.claims;
      const answered =
        at === -1
          ? committed
          : withIncarnation(committed, at, {
              ...incarnationOf(committed, at),
              phase: { at: "answered", answer },
            });
      const what = delivered === "aborted" ? "is undone" : "commits";
      emit(
        { ...answered, batches: state.batches.toSpliced(b, 1) },
        () => `the database: ${describe(batch)} ${what}`,
      );
      if (state.faults.again > 0) {
        const left = { ...batch, awaitedBy: -1 };
        emit(
          { ...withFault(answered, "again"), batches: state.batches.with(b, left) },
          () => `the database: ${describe(batch)} ${what}, and will be delivered again`,
          FAULT,
        );
      }
    });
  };

  /**
   * Nothing is awaited from one instant to the next: a time-out is shorter. (A lookup is, where the two instants lie
   * close enough.)
   */
  const tick: Rule = (state, emit) => {
    const now = state.now + 1;
    if (now >= instants.length) return;
    if (state.incarnations.some(({ phase }) => phase.at !== "idle")) return;
    const isLong = papers.msOf(now) - nowMs(state) >= SEND_TIMEOUT_MS;
    const later: State = {
      ...state,
      now,
      lookup: isLong && state.lookup.at === "absent" ? { at: "over" } : state.lookup,
    };
    const batches = state.batches.filter((batch) => isAlive(later, batch));
    emit({ ...later, batches }, () => `it is ${papers.msOf(now)} ms`);
  };

  /** Expires and forgets a row that is due; it may come late, or never. */
  const sweep: Rule = (state, emit) => {
    state.rows.forEach((row, key) => {
      if (row === undefined) return;
      const nowS = nowMs(state) / 1000;
      if (nowS >= papers.forgetAtS(row.startedAt)) {
        const clients = state.clients.map((client, c) =>
          client.at === "told" && client.told.kind === "outcome" && keyOf(c) === key
            ? ({ at: "told", told: { kind: "earlier-life" } } as const)
            : client,
        );
        emit(
          {
            ...state,
            clients,
            rows: state.rows.with(key, undefined),
            effects: state.effects.with(key, 0),
            // The objects' alarms sweep with it: their copies are due at the same second.
            incarnations: state.incarnations.map((incarnation) => ({
              ...incarnation,
              copies: incarnation.copies.with(key, undefined),
            })),
          },
          () => `the sweep forgets key ${key}`,
        );
      } else if (!row.tombstone && nowS >= papers.expiresAtS(row.startedAt)) {
        emit(
          { ...state, rows: state.rows.with(key, { ...row, tombstone: true }) },
          () => `the sweep leaves a tombstone of key ${key}`,
        );
      }
    });
  };

  // --- Crashes, and replacement ---------------------------------------------------------------------------------

  const crash: Rule = (state, emit) => {
    if (state.faults.crash === 0) return;
    for (const at of BOTH) {
      const incarnation = incarnationOf(state, at);
      const isUp = incarnation.reachable || incarnation.phase.at !== "idle" || hasWork(incarnation);
      if (!isUp) continue;
      const hasCopies = incarnation.copies.some((copy) => copy !== undefined);
      for (const isKept of hasCopies ? [true, false] : [false]) {
        emit(
          restarted(withFault(state, "crash"), at, isKept),
          () =>
            `object ${at} crashes${hasCopies ? `; its copies are ${isKept ? "on the disk" : "lost"}` : ""}`,
          FAULT,
        );
      }
    }
  };

  const restarted = (state: State, at: number, isKept: boolean): State => {
    const { copies, reachable, unansweredAt } = incarnationOf(state, at);
    return withIncarnation(
      {
        ...state,
        clients: state.clients.map((client) =>
          client.at === "waiting" && client.incarnation === at ? { at: "idle" } : client,
        ),
        batches: state.batches.map((batch) =>
          batch.awaitedBy === at ? { ...batch, awaitedBy: -1 } : batch,
        ),
        lookup:
          state.lookup.at === "absent" && state.lookup.incarnation === at
            ? { at: "over" }
            : state.lookup,
      },
      at,
      {
        ...WITHOUT_WORK,
        reachable,
        startedAt: looksUp ? state.now : 0,
        copies: isKept ? copies : copies.map(() => undefined),
        unansweredAt: unansweredAt.map(() => -1),
      },
    );
  };

  /** The object starts anew elsewhere; the one before does not know it, and goes on with what it has. */
  const replace: Rule = (state, emit) => {
    const [first, second] = [incarnationOf(state, 0), incarnationOf(state, 1)];
    if (reach !== "latest" || second.reachable) return;
    const started = withIncarnation(withIncarnation(state, 0, { ...first, reachable: false }), 1, {
      ...second,
      reachable: true,
      startedAt: state.now,
    });
    emit(started, () => "object 1 replaces object 0, which goes on unknowing");
  };

  // --- A lookup of the first key --------------------------------------------------------------------------------

  const lookUp: Rule = (state, emit) => {
    if (!looksUp) return;
    const { lookup } = state;
    if (lookup.at === "not-yet") {
      const at = BOTH.find((one) => incarnationOf(state, one).reachable) ?? 0;
      const isRunning = runOf(incarnationOf(state, at), 0) !== undefined;
      if (isRunning || state.rows[0] !== undefined) return;
      emit(
        { ...state, lookup: { at: "absent", incarnation: at, askedAt: state.now } },
        () => `a lookup at object ${at} does not find key 0 in the journal`,
      );
    } else if (lookup.at === "absent") {
      const { startedAt, unansweredAt } = incarnationOf(state, lookup.incarnation);
      const silentAt = unansweredAt[0] ?? -1;
      const fromMs = product.freeFromMs(
        papers.msOf(startedAt),
        silentAt === -1 ? undefined : papers.msOf(silentAt) + batchLifeMs,
      );
      const isFree = papers.msOf(lookup.askedAt) >= fromMs;
      emit(
        { ...state, lookup: { at: "over" } },
        () => `the lookup says ${isFree ? "free" : "unknown yet"}`,
        isFree ? { said: [{ kind: "free" }] } : {},
      );
    }
  };

  // --- Words for traces -----------------------------------------------------------------------------------------

  const nameOf = (c: number): string => requestOf(c).name;

  const describe = ({ sends }: Batch): string =>
    `{${sends
      .map(
        ({ client, run, nonce, refuses }) =>
          `key ${keyOf(client)} of ${nameOf(client)}, run ${run}, nonce ${nonce}${refuses ? ", a refusal" : ""}`,
      )
      .join("; ")}}`;

  const wordsOf = (told: Told): string =>
    told.kind === "outcome"
      ? `the ${told.outcome.refused ? "refusal" : "answer"} of run ${told.outcome.run}`
      : told.kind;

  const rulesOfMotion: readonly Rule[] = [
    submit,
    leave,
    commit,
    deliverOne,
    tick,
    sweep,
    crash,
    replace,
    lookUp,
  ];

  const perKey = <Value>(value: Value): Value[] => Array<Value>(scenario.keys).fill(value);
  const fresh = (at: number): Incarnation => ({
    ...WITHOUT_WORK,
    reachable: reach === "both" || at === 0,
    startedAt: 0,
    copies: perKey(undefined),
    unansweredAt: perKey(-1),
  });

  return {
    scenario,
    codec: new Codec((startedAt) => papers.deadlineMs(startedAt)),
    initial: {
      now: scenario.from,
      faults: scenario.faults,
      stock: scenario.stock,
      rows: perKey(undefined),
      effects: perKey(0),
      batches: [],
      incarnations: BOTH.map(fresh),
      clients: requests.map(() => ({ at: "idle" })),
      lookup: { at: "not-yet" },
      names: { nonces: 0, runs: 0 },
    },
    steps: (state, emit) => {
      const emitStep: Emit = (next, label, { isFault = false, said = NOTHING } = {}) =>
        emit({ next, label, isFault, said });
      for (const rule of rulesOfMotion) rule(state, emitStep);
    },
  };
};

type Emit = (
  next: State,
  label: () => string,
  more?: { readonly isFault?: boolean; readonly said?: readonly Said[] },
) => void;

type Rule = (state: State, emit: Emit) => void;

const FAULT = { isFault: true } as const;
const NOTHING: readonly Said[] = [];

const refusing = ({ refuses }: Pending): boolean => refuses;

const hasWork = ({ queue, groups }: Incarnation): boolean => queue.length > 0 || groups.length > 0;

const incarnationOf = (state: State, at: number): Incarnation => {
  const incarnation = state.incarnations[at];
  if (incarnation === undefined) throw new Error(`There is no incarnation ${at}.`);
  return incarnation;
};

const withIncarnation = (state: State, at: number, incarnation: Incarnation): State => ({
  ...state,
  incarnations: state.incarnations.with(at, incarnation),
});

const withClient = (state: State, c: number, client: State["clients"][number]): State => ({
  ...state,
  clients: state.clients.with(c, client),
});

const withTold = (state: State, c: number, told: Told): State =>
  withClient(state, c, { at: "told", told });

const withFault = (state: State, fault: keyof Faults): State => ({
  ...state,
  faults: { ...state.faults, [fault]: state.faults[fault] - 1 },
});
