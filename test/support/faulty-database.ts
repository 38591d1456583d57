/**
 * A D1 database whose connection fails on purpose: a wrapper around a real binding. It loses, delays and repeats
 * whole batches, and fails reads; what a batch does when it arrives is always D1's own doing.
 *
 * Faults come from a script (`next`, `nextReads`, `always`, `hold`) or, where the script is silent, from the
 * functions given at construction: `seededFaults` draws them from a seed, which belongs into the test's name.
 */
import type { Database } from "../../src/journal/database.ts";

/** What becomes of one batch. */
export type BatchFault =
  | "none"
  /** The connection is lost on the way there: it never arrives. */
  | "lost-before"
  /** The connection is lost on the way back: it commits, and nobody is told. */
  | "lost-after"
  /** The connection is lost, and the batch arrives later: see `deliverLate`. */
  | "late"
  /** The same, and then it arrives twice. */
  | "late-twice"
  /** It arrives twice, and the second arrival is answered. */
  | "twice"
  /** It arrives twice, and nobody is told. */
  | "twice-lost"
  /** It arrives and is answered, and arrives again later. */
  | "twice-late"
  /** Turned away by an overloaded database. */
  | "overloaded"
  /** It may not grow any more. */
  | "full"
  /** D1's own time-out. Its text is the same whether or not the batch commits. */
  | "timed-out-before"
  | "timed-out-after"
  /** No answer at all, until `endStalls`. */
  | "stalled-before"
  | "stalled-after"
  /** It commits, and the answer is not what D1 would say: a broken client, or a bug of ours. */
  | "mangled";

/** What becomes of one read outside a batch. */
export type ReadFault = "none" | "lost" | "overloaded" | "stalled";

export type SentBatch = {
  readonly statements: readonly { readonly text: string; readonly params: readonly unknown[] }[];
  readonly fault: BatchFault;
};

/** A batch that waits in front of the database. */
export type HeldBatch = {
  /** Resolves once a batch has come. */
  readonly arrived: () => Promise<void>;
  /** Lets it go on, to this fate. */
  readonly release: (fault?: BatchFault) => void;
};

export type FaultyDatabaseSetup = {
  readonly batchFault?: () => BatchFault;
  readonly readFault?: () => ReadFault;
  /** After how many other batches a late one arrives; without it, only when `deliverLate` is called. */
  readonly lateness?: () => number;
  readonly onBatch?: (batch: SentBatch) => void;
};

export class FaultyDatabase implements Database {
  readonly #real: Database;
  readonly #setup: FaultyDatabaseSetup;
  readonly #inner = new WeakMap<D1PreparedStatement, Prepared>();
  #batchFaults: BatchFault[] = [];
  #readFaults: ReadFault[] = [];
  #lasting: { readonly batches: BatchFault; readonly reads: ReadFault } | undefined;
  readonly #holds: Hold[] = [];
  #late: Late[] = [];
  #stalls = 0;
  #stallsEnded = 0;
  /** Batches that were committed, repeated arrivals included. */
  delivered = 0;
  /** Reads outside batches, begun. */
  reads = 0;
  /** Of these, not ended and not stalled. */
  readsUnderWay = 0;

  constructor(real: Database, setup: FaultyDatabaseSetup = {}) {
    this.#real = real;
    this.#setup = setup;
  }

  /** The fates of the next batches, in order. */
  next(...faults: BatchFault[]): void {
    this.#batchFaults.push(...faults);
  }

  /** The fates of the next reads, in order. */
  nextReads(...faults: ReadFault[]): void {
    this.#readFaults.push(...faults);
  }

  /** Whatever comes, until `heal`. */
  always(batches: BatchFault, reads: ReadFault): void {
    this.#lasting = { batches, reads };
  }

  /** Ends the script and what lasts; late batches stay late. */
  heal(): void {
    this.#batchFaults = [];
    this.#readFaults = [];
    this.#lasting = undefined;
  }

  /** Holds the next batch that nobody holds yet in front of the database. */
  hold(): HeldBatch {
    const hold: Hold = { arrived: false, fault: undefined };
    this.#holds.push(hold);
    return {
      arrived: () => until(() => hold.arrived),
      release: (fault = "none") => {
        hold.fault = fault;
      },
    };
  }

  /** Waits until this many calls have stalled, counted from the beginning. */
  async stalled(calls: number): Promise<void> {
    await until(() => this.#stalls >= calls);
  }

  /** Everything that is stalled now loses its connection. */
  endStalls(): void {
    this.#stallsEnded = this.#stalls;
  }

  /** Delivers every late batch, in the order sent. Returns how many there were. */
  async deliverLate(): Promise<number> {
    const late = this.#late;
    this.#late = [];
    for (const { statements } of late) {
      // Nobody listens any more: an abort is nobody's news.
      await this.#deliver(statements).catch(() => undefined);
    }
    return late.length;
  }

  prepare(text: string): D1PreparedStatement {
    return this.#wrap({ statement: this.#real.prepare(text), text, params: [] });
  }

  async batch<Row = unknown>(statements: D1PreparedStatement[]): Promise<D1Result<Row>[]> {
    const prepared = statements.map((one): Prepared => {
      const inner = this.#inner.get(one);
      if (inner === undefined) throw new Error("This statement was not prepared here.");
      return inner;
    });
    const fault = await this.#heldFault();
    this.#setup.onBatch?.({
      statements: prepared.map(({ text, params }) => ({ text, params })),
      fault,
    });
    const real = prepared.map(({ statement }) => statement);
    try {
      return await this.#suffer<Row>(real, fault);
    } finally {
      await this.#deliverDue();
    }
  }

  async #suffer<Row>(
    statements: D1PreparedStatement[],
    fault: BatchFault,
  ): Promise<D1Result<Row>[]> {
    const deliver = () => this.#deliver<Row>(statements);
    switch (fault) {
      case "none":
        return deliver();
      case "lost-before":
        throw new Error(LOST);
      case "lost-after":
        await deliver();
        throw new Error(LOST);
      case "late":
        this.#deliverLater(statements);
        throw new Error(LOST);
      case "late-twice":
        this.#deliverLater(statements);
        this.#deliverLater(statements);
        throw new Error(LOST);
      case "twice":
        await deliver();
        return deliver();
      case "twice-lost":
        await deliver();
        await deliver();
        throw new Error(LOST);
      case "twice-late": {
        const answer = await deliver();
        this.#deliverLater(statements);
        return answer;
      }
      case "overloaded":
        throw new Error(OVERLOADED);
      case "full":
        throw new Error(FULL);
      case "timed-out-before":
        throw new Error(TIMED_OUT);
      case "timed-out-after":
        await deliver();
        throw new Error(TIMED_OUT);
      case "stalled-before":
        return this.#stall();
      case "stalled-after":
        await deliver();
        return this.#stall();
      case "mangled":
        return (await deliver()).map((result) => ({
          ...result,
          // The type of a row is the caller's belief; that it is wrong is the point.
          results: [{ broken: true }] as Row[],
        }));
    }
  }

  async #deliver<Row>(statements: D1PreparedStatement[]): Promise<D1Result<Row>[]> {
    const results = await this.#real.batch<Row>(statements);
    this.delivered += 1;
    return results;
  }

  #deliverLater(statements: D1PreparedStatement[]): void {
    // One more, because the batch that is late is counted too.
    const after = (this.#setup.lateness?.() ?? Number.POSITIVE_INFINITY) + 1;
    this.#late.push({ statements, after });
  }

  async #deliverDue(): Promise<void> {
    for (const late of this.#late) late.after -= 1;
    const due = this.#late.filter(({ after }) => after <= 0);
    this.#late = this.#late.filter(({ after }) => after > 0);
    for (const { statements } of due) await this.#deliver(statements).catch(() => undefined);
  }

  async #stall(): Promise<never> {
    this.#stalls += 1;
    const mine = this.#stalls;
    await until(() => this.#stallsEnded >= mine);
    throw new Error(LOST);
  }

  async #heldFault(): Promise<BatchFault> {
    const hold = this.#holds.shift();
    if (hold === undefined) return this.#nextFault();
    hold.arrived = true;
    await until(() => hold.fault !== undefined);
    return hold.fault ?? "none";
  }

  #nextFault(): BatchFault {
    return (
      this.#batchFaults.shift() ?? this.#lasting?.batches ?? this.#setup.batchFault?.() ?? "none"
    );
  }

  async #read<Value>(run: () => Promise<Value>): Promise<Value> {
    const fault =
      this.#readFaults.shift() ?? this.#lasting?.reads ?? this.#setup.readFault?.() ?? "none";
    this.reads += 1;
    this.readsUnderWay += 1;
    try {
      switch (fault) {
        case "none":
          return await run();
        case "lost":
          throw new Error(LOST);
        case "overloaded":
          throw new Error(OVERLOADED);
        case "stalled":
          break;
      }
    } finally {
      this.readsUnderWay -= 1;
    }
    return this.#stall();
  }

  /** A statement that fails by itself as told, and that `batch` takes for the real one. */
  #wrap(inner: Prepared): D1PreparedStatement {
    const { statement, text } = inner;
    // The overloads of `first` and `raw` cannot be written as members of a literal.
    const wrapped = {
      bind: (...params: unknown[]) =>
        this.#wrap({ statement: statement.bind(...params), text, params }),
      first: (column?: string) =>
        this.#read(() => (column === undefined ? statement.first() : statement.first(column))),
      run: () => this.#read(() => statement.run()),
      all: () => this.#read(() => statement.all()),
      raw: () => this.#read(() => statement.raw()),
    } as D1PreparedStatement;
    this.#inner.set(wrapped, inner);
    return wrapped;
  }
}

type Prepared = {
  readonly statement: D1PreparedStatement;
  readonly text: string;
  readonly params: readonly unknown[];
};

type Hold = { arrived: boolean; fault: BatchFault | undefined };

type Late = { readonly statements: D1PreparedStatement[]; after: number };

/** D1's and the runtime's own texts. None of them says whether a batch commits. */
const LOST = "D1_ERROR: Network connection lost.";
const FULL = "D1_ERROR: database or disk is full: SQLITE_FULL";
const OVERLOADED = "D1_ERROR: D1 DB is overloaded. Requests queued for too long.";
const TIMED_OUT =
  "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.";

/** Probabilities; what is left of 1 goes well. */
export type FaultRates = {
  readonly batches: Partial<Readonly<Record<BatchFault, number>>>;
  readonly reads: Partial<Readonly<Record<ReadFault, number>>>;
};

/** Faults drawn from a seed: the same calls in the same order suffer the same. */
export const seededFaults = (seed: number, rates: FaultRates): FaultyDatabaseSetup => {
  const random = seededRandom(seed);
  return {
    batchFault: () => draw(random(), rates.batches) ?? "none",
    readFault: () => draw(random(), rates.reads) ?? "none",
    lateness: () => 1 + Math.floor(random() * 3),
  };
};

const draw = <Fault extends string>(
  drawn: number,
  rates: Partial<Readonly<Record<Fault, number>>>,
): Fault | undefined => {
  let left = drawn;
  for (const [fault, rate] of Object.entries<number | undefined>(rates)) {
    left -= rate ?? 0;
    // A key of a record of faults is a fault.
    if (left < 0) return fault as Fault;
  }
  return undefined;
};

/** Numbers from 0 to below 1 (mulberry32). */
export const seededRandom = (seed: number): (() => number) => {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
};

/**
 * Waits for something that happens in another Durable Object or in the test. A promise resolved over there would
 * continue over there, where this object's storage may not be touched; a look every millisecond continues here.
 */
export const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await scheduler.wait(1);
};
