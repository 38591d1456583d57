/**
 * One moment of the modelled world, as data: what the database holds, what is on its way to it, what two
 * incarnations of a key object remember, and what each client has heard. `encode` gives the same bytes for states
 * that differ in nothing but the names of nonces and runs, which are only ever compared.
 */
import type { Standing } from "../../src/journal/commit-decision.ts";

/** An answer that is stored or told: of whose request, made by which run, and whether it is a refusal. */
export type Outcome = { readonly client: number; readonly run: number; readonly refused: boolean };

export const REFUSALS = ["none", "guard", "forced"] as const;
export type Refusal = (typeof REFUSALS)[number];

/** A row of the journal. */
export type Row = {
  /** Whose request it is. */
  readonly client: number;
  readonly run: number;
  readonly nonce: string;
  /** 2 stands for every larger number. */
  readonly deliveries: number;
  readonly refusal: Refusal;
  /** Index of the instant at which its run began. */
  readonly startedAt: number;
  readonly tombstone: boolean;
};

/** An object's copy of an outcome. */
export type Copy = Outcome & { readonly startedAt: number; readonly tombstone: boolean };

/** One operation in a batch. */
export type Send = {
  readonly client: number;
  readonly run: number;
  readonly nonce: string;
  readonly startedAt: number;
  /** It carries a forced refusal, and no effects. */
  readonly refuses: boolean;
  /** Pieces in stock that the plan relies on, if it relies on that. */
  readonly seen: number;
};

/** On its way to the database; one whose answer nobody awaits any more may still arrive. */
export type Batch = {
  readonly sends: readonly Send[];
  readonly sentAt: number;
  /** The incarnation that waits for its answer; -1: none. */
  readonly awaitedBy: number;
};

/** What a claim gave back: the row's verdict, and whether this was its first delivery. */
export type Claimed = {
  readonly refusal: Refusal;
  readonly client: number;
  readonly run: number;
  readonly first: boolean;
};

export type Answer = "aborted" | readonly (Claimed | undefined)[];

/** Where the group commit of an incarnation stands. */
export type Phase =
  | { readonly at: "idle" }
  | { readonly at: "sent" }
  | { readonly at: "answered"; readonly answer: Answer }
  | { readonly at: "reading"; readonly answered: boolean };

/** A run under way: its client's request, from the queue to its fate. */
export type Pending = {
  readonly client: number;
  readonly run: number;
  readonly startedAt: number;
  readonly standing: Standing;
  readonly refuses: boolean;
  readonly seen: number;
  /** Of earlier plans of this run. */
  readonly mayYetCommit: boolean;
  readonly round: number;
};

export type Incarnation = {
  /** Whether new requests reach it. One that does not know that it was replaced goes on with what it has. */
  readonly reachable: boolean;
  readonly startedAt: number;
  /** By key. */
  readonly copies: readonly (Copy | undefined)[];
  /** By key: the instant at which a run ended without an answer; -1: none did. */
  readonly unansweredAt: readonly number[];
  readonly queue: readonly Pending[];
  /** Still to be committed, in this order; the first is under way. */
  readonly groups: readonly (readonly Pending[])[];
  readonly phase: Phase;
};

export type Told =
  | { readonly kind: "outcome"; readonly outcome: Outcome }
  | { readonly kind: "mismatch" }
  | { readonly kind: "expired" }
  /** An outcome of a life of the key that is forgotten by now. */
  | { readonly kind: "earlier-life" };

export type Client =
  | { readonly at: "idle" }
  | { readonly at: "waiting"; readonly incarnation: number }
  | { readonly at: "told"; readonly told: Told };

/** How often each fault may still happen. */
export type Faults = {
  readonly crash: number;
  /** A batch's answer does not come. */
  readonly silence: number;
  /** A batch is delivered, and will be delivered again. */
  readonly again: number;
  /** A recovery read fails. */
  readonly unread: number;
  /** A client goes away and comes back. */
  readonly leave: number;
};

/** A lookup of the first key's state, between its read and its answer. */
export type Lookup =
  | { readonly at: "not-yet" }
  | { readonly at: "absent"; readonly incarnation: number; readonly askedAt: number }
  | { readonly at: "over" };

export type State = {
  /** Index of the instant. */
  readonly now: number;
  readonly faults: Faults;
  readonly stock: number;
  readonly rows: readonly (Row | undefined)[];
  /** By key, in this life of the key. */
  readonly effects: readonly number[];
  readonly batches: readonly Batch[];
  readonly incarnations: readonly Incarnation[];
  readonly clients: readonly Client[];
  readonly lookup: Lookup;
  /** Names that are taken: the next nonce, the next run. Not part of the state's identity. */
  readonly names: { readonly nonces: number; readonly runs: number };
};

/** Nonces are compared and never read: a letter names one. */
export const nonceName = (index: number): string => String.fromCharCode(FIRST_NONCE + index);

const FIRST_NONCE = 65;
const PHASES = ["idle", "sent", "answered", "reading"] as const;
const TOLD = ["outcome", "mismatch", "expired", "earlier-life"] as const;
const UNNAMED = 255;

/** Larger than any state of the scenarios; a larger one throws. */
const STATE_BYTES_MAX = 512;

/** Turns states into bytes and back. Not to be shared by two searches at once. */
export class Codec {
  readonly bytes = new Uint8Array(STATE_BYTES_MAX);
  readonly #nonces = new Uint8Array(256);
  readonly #runs = new Uint8Array(256);
  /** A run's deadline follows from its beginning, and is not written. */
  readonly #deadlineMs: (startedAt: number) => number;
  #source: Uint8Array = this.bytes;
  #at = 0;
  #nonceCount = 0;
  #runCount = 0;

  constructor(deadlineMs: (startedAt: number) => number) {
    this.#deadlineMs = deadlineMs;
  }

  /** Writes the state into `bytes` and returns its length. */
  encode(state: State): number {
    this.#at = 0;
    this.#nonceCount = 0;
    this.#runCount = 0;
    this.#nonces.fill(UNNAMED);
    this.#runs.fill(UNNAMED);
    const { faults } = state;
    this.#put(state.now);
    this.#put(faults.crash | (faults.silence << 2) | (faults.again << 4) | (faults.unread << 6));
    this.#put(faults.leave);
    this.#put(state.stock);
    state.rows.forEach((row, key) => {
      this.#put(state.effects[key] ?? 0);
      this.#putRow(row);
    });
    for (const client of state.clients) this.#putClient(client);
    for (const incarnation of state.incarnations) this.#putIncarnation(incarnation);
    this.#put(state.batches.length);
    for (const batch of state.batches) this.#putBatch(batch);
    const { lookup } = state;
    this.#put(lookup.at === "not-yet" ? 0 : lookup.at === "over" ? 1 : 2 + lookup.incarnation);
    if (lookup.at === "absent") this.#put(lookup.askedAt);
    return this.#at;
  }

  decode(source: Uint8Array, at: number, keys: number, clients: number): State {
    this.#source = source;
    this.#at = at;
    this.#nonceCount = 0;
    this.#runCount = 0;
    const now = this.#take();
    const bits = this.#take();
    const faults = {
      crash: bits & 3,
      silence: (bits >> 2) & 3,
      again: (bits >> 4) & 3,
      unread: bits >> 6,
      leave: this.#take(),
    };
    const stock = this.#take();
    const rows: (Row | undefined)[] = [];
    const effects: number[] = [];
    for (let key = 0; key < keys; key++) {
      effects.push(this.#take());
      rows.push(this.#takeRow());
    }
    const told: Client[] = [];
    for (let client = 0; client < clients; client++) told.push(this.#takeClient());
    const incarnations = [this.#takeIncarnation(keys), this.#takeIncarnation(keys)];
    const batches: Batch[] = [];
    for (let left = this.#take(); left > 0; left--) batches.push(this.#takeBatch());
    const lookup = this.#takeLookup();
    const names = { nonces: this.#nonceCount, runs: this.#runCount };
    return {
      now,
      faults,
      stock,
      rows,
      effects,
      batches,
      incarnations,
      clients: told,
      lookup,
      names,
    };
  }

  #put(byte: number): void {
    if (byte < 0 || byte > 255) throw new Error(`${byte} does not fit a byte of a state.`);
    if (this.#at === STATE_BYTES_MAX) throw new Error("A state is larger than it may be.");
    this.bytes[this.#at++] = byte;
  }

  #take(): number {
    return this.#source[this.#at++] ?? 0;
  }

  #putNonce(nonce: string): void {
    const index = nonce.charCodeAt(0) - FIRST_NONCE;
    if (this.#nonces[index] === UNNAMED) this.#nonces[index] = this.#nonceCount++;
    this.#put(this.#nonces[index] ?? 0);
  }

  #takeNonce(): string {
    const index = this.#take();
    if (index >= this.#nonceCount) this.#nonceCount = index + 1;
    return nonceName(index);
  }

  #putRun(run: number): void {
    if (this.#runs[run] === UNNAMED) this.#runs[run] = this.#runCount++;
    this.#put(this.#runs[run] ?? 0);
  }

  #takeRun(): number {
    const run = this.#take();
    if (run >= this.#runCount) this.#runCount = run + 1;
    return run;
  }

  #putRow(row: Row | undefined): void {
    if (row === undefined) return this.#put(0);
    this.#put(
      1 |
        (row.client << 1) |
        (REFUSALS.indexOf(row.refusal) << 3) |
        ((row.deliveries - 1) << 5) |
        (row.tombstone ? 64 : 0),
    );
    this.#putRun(row.run);
    this.#putNonce(row.nonce);
    this.#put(row.startedAt);
  }

  #takeRow(): Row | undefined {
    const bits = this.#take();
    if (bits === 0) return undefined;
    return {
      client: (bits >> 1) & 3,
      refusal: REFUSALS[(bits >> 3) & 3] ?? "none",
      deliveries: ((bits >> 5) & 1) + 1,
      tombstone: (bits & 64) !== 0,
      run: this.#takeRun(),
      nonce: this.#takeNonce(),
      startedAt: this.#take(),
    };
  }

  #putOutcome({ client, run, refused }: Outcome, more: number): void {
    this.#put(client | (refused ? 4 : 0) | (more << 3));
    this.#putRun(run);
  }

  #putClient(client: Client): void {
    switch (client.at) {
      case "idle":
        return this.#put(0);
      case "waiting":
        return this.#put(1 + client.incarnation);
      case "told":
        this.#put(3 + TOLD.indexOf(client.told.kind));
        if (client.told.kind === "outcome") this.#putOutcome(client.told.outcome, 0);
    }
  }

  #takeClient(): Client {
    const byte = this.#take();
    if (byte === 0) return { at: "idle" };
    if (byte < 3) return { at: "waiting", incarnation: byte - 1 };
    const kind = TOLD[byte - 3] ?? "outcome";
    if (kind !== "outcome") return { at: "told", told: { kind } };
    const bits = this.#take();
    const outcome = { client: bits & 3, refused: (bits & 4) !== 0, run: this.#takeRun() };
    return { at: "told", told: { kind, outcome } };
  }

  #putIncarnation({
    reachable,
    startedAt,
    copies,
    unansweredAt,
    queue,
    groups,
    phase,
  }: Incarnation) {
    this.#put((reachable ? 1 : 0) | (startedAt << 1));
    copies.forEach((copy, key) => {
      this.#put((unansweredAt[key] ?? -1) + 1);
      if (copy === undefined) return this.#put(UNNAMED);
      this.#putOutcome(copy, (copy.tombstone ? 1 : 0) | (copy.startedAt << 1));
    });
    this.#put(queue.length | (groups.length << 2));
    for (const pending of queue) this.#putPending(pending);
    for (const group of groups) {
      this.#put(group.length);
      for (const pending of group) this.#putPending(pending);
    }
    this.#put(PHASES.indexOf(phase.at));
    if (phase.at === "reading") this.#put(phase.answered ? 1 : 0);
    if (phase.at === "answered") this.#putAnswer(phase.answer);
  }

  #takeIncarnation(keys: number): Incarnation {
    const bits = this.#take();
    const copies: (Copy | undefined)[] = [];
    const unansweredAt: number[] = [];
    for (let key = 0; key < keys; key++) {
      unansweredAt.push(this.#take() - 1);
      copies.push(this.#takeCopy());
    }
    const sizes = this.#take();
    const queue: Pending[] = [];
    for (let left = sizes & 3; left > 0; left--) queue.push(this.#takePending());
    const groups: Pending[][] = [];
    for (let left = sizes >> 2; left > 0; left--) {
      const group: Pending[] = [];
      for (let members = this.#take(); members > 0; members--) group.push(this.#takePending());
      groups.push(group);
    }
    return {
      reachable: (bits & 1) !== 0,
      startedAt: bits >> 1,
      copies,
      unansweredAt,
      queue,
      groups,
      phase: this.#takePhase(),
    };
  }

  #takeCopy(): Copy | undefined {
    const bits = this.#take();
    if (bits === UNNAMED) return undefined;
    return {
      client: bits & 3,
      refused: (bits & 4) !== 0,
      tombstone: (bits & 8) !== 0,
      startedAt: bits >> 4,
      run: this.#takeRun(),
    };
  }

  #takePhase(): Phase {
    const at = PHASES[this.#take()] ?? "idle";
    switch (at) {
      case "idle":
      case "sent":
        return { at };
      case "reading":
        return { at, answered: this.#take() === 1 };
      case "answered":
        return { at, answer: this.#takeAnswer() };
    }
  }

  #putAnswer(answer: Answer): void {
    if (answer === "aborted") return this.#put(UNNAMED);
    this.#put(answer.length);
    for (const claimed of answer) {
      if (claimed === undefined) {
        this.#put(UNNAMED);
        continue;
      }
      const { refusal, client, run, first } = claimed;
      this.#put(client | (REFUSALS.indexOf(refusal) << 2) | (first ? 16 : 0));
      this.#putRun(run);
    }
  }

  #takeAnswer(): Answer {
    const length = this.#take();
    if (length === UNNAMED) return "aborted";
    const answer: (Claimed | undefined)[] = [];
    for (let left = length; left > 0; left--) {
      const bits = this.#take();
      answer.push(
        bits === UNNAMED
          ? undefined
          : {
              client: bits & 3,
              refusal: REFUSALS[(bits >> 2) & 3] ?? "none",
              first: (bits & 16) !== 0,
              run: this.#takeRun(),
            },
      );
    }
    return answer;
  }

  #putPending({ client, run, startedAt, standing, refuses, seen, mayYetCommit, round }: Pending) {
    this.#put(
      client |
        (refuses ? 4 : 0) |
        (mayYetCommit ? 8 : 0) |
        (standing.unanswered ? 16 : 0) |
        (startedAt << 5),
    );
    this.#put(seen | (round << 2) | (standing.nonces.length << 4));
    this.#putRun(run);
    for (const nonce of standing.nonces) this.#putNonce(nonce);
  }

  #takePending(): Pending {
    const bits = this.#take();
    const more = this.#take();
    const startedAt = bits >> 5;
    const run = this.#takeRun();
    const nonces: string[] = [];
    for (let left = more >> 4; left > 0; left--) nonces.push(this.#takeNonce());
    return {
      client: bits & 3,
      run,
      startedAt,
      standing: {
        deadlineMs: this.#deadlineMs(startedAt),
        nonces,
        unanswered: (bits & 16) !== 0,
      },
      refuses: (bits & 4) !== 0,
      seen: more & 3,
      mayYetCommit: (bits & 8) !== 0,
      round: (more >> 2) & 3,
    };
  }

  #putBatch({ sends, sentAt, awaitedBy }: Batch): void {
    this.#put(sends.length | ((awaitedBy + 1) << 2) | (sentAt << 4));
    for (const { client, run, nonce, startedAt, refuses, seen } of sends) {
      this.#put(client | (refuses ? 4 : 0) | (seen << 3) | (startedAt << 5));
      this.#putRun(run);
      this.#putNonce(nonce);
    }
  }

  #takeBatch(): Batch {
    const head = this.#take();
    const sends: Send[] = [];
    for (let left = head & 3; left > 0; left--) {
      const bits = this.#take();
      sends.push({
        client: bits & 3,
        refuses: (bits & 4) !== 0,
        seen: (bits >> 3) & 3,
        startedAt: bits >> 5,
        run: this.#takeRun(),
        nonce: this.#takeNonce(),
      });
    }
    return { sends, sentAt: head >> 4, awaitedBy: ((head >> 2) & 3) - 1 };
  }

  #takeLookup(): Lookup {
    const byte = this.#take();
    if (byte === 0) return { at: "not-yet" };
    if (byte === 1) return { at: "over" };
    return { at: "absent", incarnation: byte - 2, askedAt: this.#take() };
  }
}
