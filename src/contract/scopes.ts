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

export type Scope = (typeof SCOPES)[number];

export const isScope = (text: string): text is Scope =>
  (SCOPES as readonly string[]).includes(text);
