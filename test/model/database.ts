/**
 * What D1 does with a batch, by rules. They are not believed: conformance.test.ts runs the product's own
 * statements on SQLite against them, in every small case.
 */
import type { Claimed, Row, Send } from "./state.ts";

/** What an operation asks of the data. Each takes one piece of a stock that never goes below nothing. */
export type Kind =
  /** A guard asks for a piece: without one it is refused. */
  | "guarded"
  /** Nothing asks: without a piece the constraint undoes the batch. */
  | "unguarded"
  /** It relies on the number of pieces that it read, and refuses itself if there is none. */
  | "planned";

export type Rules = {
  /**
   * The claim of a send whose facts hold.
   * @param found the row of its key
   * @param fresh the row that it would insert
   */
  readonly claim: (
    found: Row | undefined,
    fresh: Row,
  ) => { readonly row: Row; readonly returned: boolean };
  /** Whether the effects of a send apply. */
  readonly applies: (row: Row | undefined, nonce: string) => boolean;
};

export const RULES: Rules = {
  claim: (found, fresh) => {
    if (found === undefined) return { row: fresh, returned: true };
    if (found.nonce !== fresh.nonce) return { row: found, returned: false };
    return { row: { ...found, deliveries: 2 }, returned: true };
  },
  applies: (row, nonce) =>
    row !== undefined && row.nonce === nonce && row.deliveries === 1 && row.refusal === "none",
};

export type Data = {
  readonly rows: readonly (Row | undefined)[];
  readonly effects: readonly number[];
  readonly stock: number;
};

export type Delivered = Data & { readonly claims: readonly (Claimed | undefined)[] };

/** One delivery of a batch: all of it, or `aborted`. */
export const deliver = (
  data: Data,
  sends: readonly Send[],
  requestOf: (client: number) => { readonly key: number; readonly kind: Kind },
  { claim, applies }: Rules,
): Delivered | "aborted" => {
  const rows = [...data.rows];
  const effects = [...data.effects];
  const claims: (Claimed | undefined)[] = [];
  let { stock } = data;
  for (const { client, run, nonce, startedAt, refuses, seen } of sends) {
    const { key, kind } = requestOf(client);
    // A fact that does not hold: nothing is inserted. What is there of the same send is counted all the same.
    const isStale = kind === "planned" && stock !== seen && rows[key]?.nonce !== nonce;
    const isGuarded = kind !== "unguarded" && stock === 0;
    const { row, returned } = isStale
      ? { row: rows[key], returned: false }
      : claim(rows[key], {
          client,
          run,
          nonce,
          deliveries: 1,
          refusal: refuses ? "forced" : isGuarded ? "guard" : "none",
          startedAt,
          tombstone: false,
        });
    rows[key] = row;
    claims.push(
      returned && row !== undefined
        ? {
            refusal: row.refusal,
            client: row.client,
            run: row.run,
            first: row.deliveries === 1,
          }
        : undefined,
    );
    if (refuses || (kind === "planned" && seen === 0) || !applies(row, nonce)) continue;
    stock -= 1;
    effects[key] = (effects[key] ?? 0) + 1;
    if (stock < 0) return "aborted";
  }
  return { rows, effects, stock, claims };
};
