/** SQL as data: text with a parameter for every value. Values never become text. */

export type SqlValue = string | number | null;

/** A piece of SQL, with values or further pieces between its strings. */
export type Sql = {
  readonly strings: readonly string[];
  readonly values: readonly (SqlValue | Sql)[];
};

/** What a database takes: text with `?1`, `?2`…, and their values. */
export type RenderedSql = { readonly text: string; readonly params: readonly SqlValue[] };

/** sql`balance >= ${amount} AND ${condition}`: values become parameters, pieces are spliced in. */
export const sql = (
  strings: TemplateStringsArray,
  ...values: readonly (SqlValue | Sql)[]
): Sql => ({
  strings,
  values,
});

/** Text of our own source: a table, a column, a list of pieces' texts. Never anything from a request. */
export const trusted = (text: string): Sql => ({ strings: [text], values: [] });

export const joinSql = (parts: readonly Sql[], separator: string): Sql =>
  parts.length === 0
    ? trusted("")
    : {
        strings: ["", ...Array<string>(parts.length - 1).fill(separator), ""],
        values: parts,
      };

/**
 * One pass over all pieces. A text that stands in a statement several times (the tenant, a key) is bound once: D1
 * counts parameters, and every one of them crosses the wire.
 */
export const renderSql = (piece: Sql): RenderedSql => {
  const params: SqlValue[] = [];
  const numberOf = new Map<string, number>();
  const number = (value: SqlValue): number => {
    if (typeof value !== "string") return params.push(value);
    const known = numberOf.get(value);
    if (known !== undefined) return known;
    numberOf.set(value, params.push(value));
    return params.length;
  };
  const textOf = ({ strings, values }: Sql): string => {
    let text = strings[0] ?? "";
    for (let i = 0; i < values.length; i++) {
      const value = values[i] ?? null;
      text += isSql(value) ? textOf(value) : `?${number(value)}`;
      text += strings[i + 1] ?? "";
    }
    return text;
  };
  return { text: textOf(piece), params };
};

const isSql = (value: SqlValue | Sql): value is Sql => typeof value === "object" && value !== null;
