/** What the benchmark's Worker counts and notes, as it crosses the wire. */

export type Counters = {
  d1Queries: number;
  d1RowsWritten: number;
  objectRowsWritten: number;
  objectAlarmsSet: number;
};

/** From when to when, milliseconds since the epoch, by the Worker's clock. */
export type Span = readonly [fromMs: number, untilMs: number];

/** What an object did. */
export type Timeline = {
  /** Each payment, from its arrival in the object to its answer. */
  readonly payments: Span[];
  /** Each batch on its way to D1. */
  readonly groups: { readonly span: Span; readonly orders: number; readonly operations: number }[];
};
