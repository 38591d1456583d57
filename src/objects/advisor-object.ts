/**
 * The object that keeps what was learned of retries for one tenant: what its isolates have counted adds up here, and
 * survives them. Nobody waits for it: while it is away, isolates go by what they know.
 */
import { DurableObject } from "cloudflare:workers";
import { mergeGroups } from "../advisor/merge.ts";
import { newGroup } from "../advisor/group.ts";
import { restore, snapshotOf } from "../advisor/snapshot.ts";
import type { Bindings } from "../env.ts";
import { systemClock } from "../kernel/clock.ts";
import { ADVISOR_GROUP_LENGTH_MAX, ADVISOR_GROUPS_MAX } from "../kernel/limits.ts";
import type { AdvisorMethods, GroupNews } from "./advisor-call.ts";

export class AdvisorObject extends DurableObject<Bindings> implements AdvisorMethods {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
  }

  exchange(news: readonly GroupNews[]): Promise<readonly GroupNews[]> {
    this.#createTable();
    const nowMs = systemClock();
    const told: GroupNews[] = [];
    for (const { group: name, snapshot } of news.slice(0, ADVISOR_GROUPS_MAX)) {
      const learned = restore(snapshot);
      if (learned === undefined || name.length > ADVISOR_GROUP_LENGTH_MAX) continue;
      const kept = this.#find(name);
      // What was written by another version is not read: then it begins with this.
      const group = (kept === undefined ? undefined : restore(kept)) ?? newGroup(0);
      mergeGroups(group, learned, nowMs);
      const merged = snapshotOf(group);
      this.#sql.exec(
        "INSERT INTO groups (name, snapshot, used_at_ms) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET snapshot = excluded.snapshot, used_at_ms = excluded.used_at_ms",
        name,
        merged,
        nowMs,
      );
      told.push({ group: name, snapshot: merged });
    }
    // The least recently used give way.
    this.#sql.exec(
      "DELETE FROM groups WHERE name IN (SELECT name FROM groups ORDER BY used_at_ms DESC, name LIMIT -1 OFFSET ?)",
      ADVISOR_GROUPS_MAX,
    );
    return Promise.resolve(told);
  }

  known(): Promise<readonly GroupNews[]> {
    // To ask about a tenant that has nothing makes nothing.
    const { there } = this.#sql
      .exec<{ there: number }>("SELECT COUNT(*) AS there FROM sqlite_schema WHERE name = 'groups'")
      .one();
    if (there === 0) return Promise.resolve([]);
    const rows = this.#sql
      .exec<{ name: string; snapshot: string }>("SELECT name, snapshot FROM groups ORDER BY name")
      .toArray();
    return Promise.resolve(rows.map(({ name, snapshot }) => ({ group: name, snapshot })));
  }

  #createTable(): void {
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, snapshot TEXT NOT NULL, used_at_ms INTEGER NOT NULL) WITHOUT ROWID",
    );
  }

  #find(name: string): string | undefined {
    const [row] = this.#sql
      .exec<{ snapshot: string }>("SELECT snapshot FROM groups WHERE name = ?", name)
      .toArray();
    return row?.snapshot;
  }
}
