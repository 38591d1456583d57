/** SQL as data: text with `?` for every value. Values never become text. */

export type SqlValue = string | number | null;

export type Sql = { readonly text: string; readonly params: readonly SqlValue[] };

/** sql`balance >= ${amount} AND ${condition}`: values become parameters, fragments are spliced in. */
export const sql = (strings: TemplateStringsArray, ...values: readonly (SqlValue | Sql)[]): Sql => {
  let text = strings[0] ?? "";
  const params: SqlValue[] = [];
  values.forEach((value, i) => {
    if (isSql(value)) {
      text += value.text;
      params.push(...value.params);
    } else {
      text += "?";
      params.push(value);
    }
    text += strings[i + 1] ?? "";
  });
  return { text, params };
};

export const isSql = (value: SqlValue | Sql): value is Sql =>
  typeof value === "object" && value !== null;

/** Text of our own source: a table, a column, a list of fragments' texts. Never anything from a request. */
export const trusted = (text: string): Sql => ({ text, params: [] });

export const joinSql = (parts: readonly Sql[], separator: string): Sql => ({
  text: parts.map((part) => part.text).join(separator),
  params: parts.flatMap((part) => part.params),
});
