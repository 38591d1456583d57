/** Fault 82, from inside: a tenant's object says once and for ever where its rows are, and the cron walks every database. */
import {
  abortAllDurableObjects,
  applyD1Migrations,
  createScheduledController,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { parseSettings } from "../../src/env.ts";
import { type TenantMethods, tenantObjectName } from "../../src/objects/tenant-call.ts";
import { databaseFor, DatabaseUnknown } from "../../src/objects/tenant-database.ts";
import worker from "../../src/worker.ts";
import { openBooks } from "./support/books.ts";

beforeAll(async () => {
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
  await applyD1Migrations(env.SECOND_DATABASE, env.TEST_MIGRATIONS);
});

const newTenant = (): string => `t-${crypto.randomUUID()}`;

const objectOf = (tenant: string): TenantMethods =>
  env.TENANTS.getByName(tenantObjectName(tenant)) as unknown as TenantMethods;

/** A journal row as it is left behind by an object that lost its copy, expired long ago. */
const leaveExpired = async (db: D1Database, tenant: string): Promise<void> => {
  await db
    .prepare(
      "INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, object, nonce, state, status, headers, body, created_at_ms, expires_at_s, forget_at_s) VALUES (?, 'key', 'payments.create', 1, 'print', 'lost', 'n', 'final', 201, '{}', 'private', 0, 1, 4000000000)",
    )
    .bind(tenant)
    .run();
};

const stateIn = async (db: D1Database, tenant: string): Promise<unknown> =>
  db.prepare("SELECT state FROM journal WHERE tenant = ?").bind(tenant).first("state");

describe("a tenant's object", () => {
  it("82: keeps the first answer, whatever is preferred later, also in its next life", async () => {
    const tenant = newTenant();
    expect(await objectOf(tenant).databaseOf(tenant, "DB_1")).toBe("DB_1");
    expect(await objectOf(tenant).databaseOf(tenant, "DB")).toBe("DB_1");
    await abortAllDurableObjects();
    expect(await objectOf(tenant).databaseOf(tenant, "DB_2")).toBe("DB_1");
  });

  it("82: two versions with different preferences, at once, hear the same", async () => {
    for (let round = 0; round < 20; round++) {
      const tenant = newTenant();
      const answers = await Promise.all(
        ["DB_1", "DB", "DB_2", "DB", "DB_1"].map((preferred) =>
          objectOf(tenant).databaseOf(tenant, preferred),
        ),
      );
      expect(new Set(answers).size).toBe(1);
    }
  });

  it("82: a tenant that has rows in DB from before anything was remembered stays there", async () => {
    const tenant = newTenant();
    await leaveExpired(env.DB, tenant);
    expect(await objectOf(tenant).databaseOf(tenant, "DB_1")).toBe("DB");
  });

  it("82: so does a tenant whose keys are all forgotten, and whose money is there", async () => {
    const tenant = await openBooks({ accounts: { alice: 5 } });
    expect(await objectOf(tenant).databaseOf(tenant, "DB_1")).toBe("DB");
    expect(await objectOf(newTenant()).databaseOf("nobody", "DB_1")).toBe("DB_1");
  });
});

describe("the database of a tenant", () => {
  const two = { ...env, DB_1: env.SECOND_DATABASE, DEFAULT_DATABASE: "DB_1" };

  it("82: is the assigned one or none: a binding that is gone is not replaced by another", async () => {
    const tenant = newTenant();
    expect(await databaseFor(two, parseSettings(two), tenant)).toBe(env.SECOND_DATABASE);
    await expect(databaseFor(env, parseSettings(env), tenant)).rejects.toThrow(DatabaseUnknown);
  });

  it("is asked of its object once, and remembered", async () => {
    const tenant = newTenant();
    let calls = 0;
    const counting = {
      ...two,
      TENANTS: {
        getByName: (name: string) => {
          calls += 1;
          return env.TENANTS.getByName(name);
        },
      } as DurableObjectNamespace,
    };
    const settings = parseSettings(two);
    for (let i = 0; i < 3; i++) await databaseFor(counting, settings, tenant);
    expect(calls).toBe(1);
  });

  it("is unknown while its object does not answer, and asked for again", async () => {
    const tenant = newTenant();
    let isAway = true;
    const failing = {
      ...two,
      TENANTS: {
        getByName: (name: string) => {
          if (isAway) throw new Error("Network connection lost.");
          return env.TENANTS.getByName(name);
        },
      } as DurableObjectNamespace,
    };
    const settings = parseSettings(two);
    await expect(databaseFor(failing, settings, tenant)).rejects.toThrow(DatabaseUnknown);
    isAway = false;
    expect(await databaseFor(failing, settings, tenant)).toBe(env.SECOND_DATABASE);
  });

  it("is DB where nothing is remembered, which only one database allows", async () => {
    const { TENANTS: _, ...one } = env;
    expect(await databaseFor(one, parseSettings(one), newTenant())).toBe(env.DB);
    expect(() => parseSettings({ ...one, DB_1: env.SECOND_DATABASE })).toThrow("needs TENANTS");
  });
});

describe("the hourly pass", () => {
  const run = (bindings: Cloudflare.Env): Promise<void> =>
    Promise.resolve(worker.scheduled(createScheduledController(), bindings));

  it("walks every database", async () => {
    const tenant = newTenant();
    await leaveExpired(env.DB, tenant);
    await leaveExpired(env.SECOND_DATABASE, tenant);
    await run({ ...env, DB_1: env.SECOND_DATABASE } as Cloudflare.Env);
    expect(await stateIn(env.DB, tenant)).toBe("expired");
    expect(await stateIn(env.SECOND_DATABASE, tenant)).toBe("expired");
  });

  it("goes on past one that fails, and is seen to have failed", async () => {
    const tenant = newTenant();
    await leaveExpired(env.SECOND_DATABASE, tenant);
    const broken = {
      prepare: () => {
        throw new Error("D1_ERROR: Network connection lost.");
      },
    } as unknown as D1Database;
    const bindings = { ...env, DB: broken, DB_1: env.SECOND_DATABASE } as Cloudflare.Env;
    await expect(run(bindings)).rejects.toThrow("Network connection lost");
    expect(await stateIn(env.SECOND_DATABASE, tenant)).toBe("expired");
  });
});
