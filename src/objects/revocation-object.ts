/**
 * The object that keeps revoked tokens. There is one, apart from D1: a token can be revoked, and is known to be, also
 * while the database is away and replays go on.
 */
import { DurableObject } from "cloudflare:workers";
import type { Bindings } from "../env.ts";
import { systemClock, wholeSeconds } from "../kernel/clock.ts";
import { REVOCATIONS_MAX } from "../kernel/limits.ts";
import type { RevocationMethods, RevokedToken } from "./revocation-call.ts";

export class RevocationObject extends DurableObject<Bindings> implements RevocationMethods {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS revoked (issuer TEXT NOT NULL, jti TEXT NOT NULL, expires_at_s INTEGER NOT NULL, PRIMARY KEY (issuer, jti)) WITHOUT ROWID",
    );
  }

  revoke({ issuer, jti, expiresAtS }: RevokedToken): Promise<boolean> {
    this.#sql.exec("DELETE FROM revoked WHERE expires_at_s <= ?", wholeSeconds(systemClock()));
    // Itself not counted: what is on a full list already can be said again.
    const { count } = this.#sql
      .exec<{ count: number }>(
        "SELECT COUNT(*) AS count FROM revoked WHERE NOT (issuer = ? AND jti = ?)",
        issuer,
        jti,
      )
      .one();
    if (count >= REVOCATIONS_MAX) return Promise.resolve(false);
    this.#sql.exec(
      "INSERT INTO revoked (issuer, jti, expires_at_s) VALUES (?, ?, ?) ON CONFLICT (issuer, jti) DO UPDATE SET expires_at_s = MAX(expires_at_s, excluded.expires_at_s)",
      issuer,
      jti,
      expiresAtS,
    );
    return Promise.resolve(true);
  }

  list(): Promise<RevokedToken[]> {
    const rows = this.#sql
      .exec<{ issuer: string; jti: string; expires_at_s: number }>(
        "SELECT issuer, jti, expires_at_s FROM revoked WHERE expires_at_s > ?",
        wholeSeconds(systemClock()),
      )
      .toArray();
    return Promise.resolve(
      rows.map(({ issuer, jti, expires_at_s: expiresAtS }) => ({ issuer, jti, expiresAtS })),
    );
  }
}
