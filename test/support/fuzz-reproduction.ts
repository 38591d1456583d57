/** A violation as a person wants to see it: small, and without what differs from run to run. */
import { restsOnBody, type Draft } from "./fuzz-request.ts";

/** A token as what it grants: it is long, and another run has another. */
export const withoutTokens = (text: string): string =>
  text.replaceAll(/Bearer (\w[\w-]*\.[\w-]+\.[\w-]*)/g, (whole, token: string) => {
    const claims = /"scope":"([^"]*)"/.exec(
      Buffer.from(token.split(".")[1] ?? "", "base64url").toString(),
    );
    return claims === null ? whole : `Bearer (a token with the scopes ${claims[1]})`;
  });

/** The same request with another key. */
export const renamed = (draft: Draft, key: string): Draft => ({
  ...draft,
  key,
  headers: draft.headers.map((header) =>
    header[0] === "Idempotency-Key" ? (["Idempotency-Key", key] as const) : header,
  ),
});

/** Drafts with one thing less: a header, the query, a member of the body. */
export const smallerThan = (draft: Draft): Draft[] => {
  const { headers, json, query, body } = draft;
  const members = typeof json === "object" && json !== null ? Object.entries(json) : [];
  const isPlain = JSON.stringify(json) === body && !Array.isArray(json) && !restsOnBody(draft);
  return [
    ...headers.map((_, i) => ({ ...draft, headers: headers.toSpliced(i, 1) })),
    ...(query === "" ? [] : [{ ...draft, query: "" }]),
    ...(isPlain ? members : []).map((_, i) => {
      const fewer = Object.fromEntries(members.toSpliced(i, 1));
      return { ...draft, json: fewer, body: JSON.stringify(fewer) };
    }),
  ];
};
