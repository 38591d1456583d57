/** What a token may do. Operators' scopes reach across tenants, and only under `/v1/ops` and `/console`. */
export const SCOPES = [
  "payments:write",
  "orders:write",
  "stock:write",
  "ledger:fund",
  "read",
  "ops:read",
  "ops:support",
  "ops:act",
] as const;

/** One of the list, or one that an operation of your own asks for: `seats:write`. */
export type Scope = (typeof SCOPES)[number] | `${string}:${string}`;

/** Operators' scopes are those of the list and no others: nobody makes up one more. */
export const isScope = (text: string): text is Scope =>
  (SCOPES as readonly string[]).includes(text) ||
  (/^[a-z][a-z-]*:[a-z][a-z-]*$/.test(text) && !isOperators(text));

/** It reaches beyond a tenant, so only our own issuer grants it, or a host by another name. */
export const isOperators = (text: string): boolean => text.startsWith("ops:");
