/** What was learned of retries: hot in isolates, added up in the tenant's object, never in the way of a request. */
import { abortAllDurableObjects, createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { newGroup } from "../../src/advisor/group.ts";
import { snapshotOf } from "../../src/advisor/snapshot.ts";
import { createApp } from "../../src/app.ts";
import type { Bindings, TextModel } from "../../src/env.ts";
import {
  ADVISOR_GROUPS_MAX,
  ADVISOR_TELL_MS,
  RETRY_FULL_MS,
  SEND_TIMEOUT_MS,
} from "../../src/kernel/limits.ts";
import { Advisor, OWN_GROUP } from "../../src/objects/advice.ts";
import type { AdvisorMethods } from "../../src/objects/advisor-call.ts";
import { operations, queries } from "../../src/operations/registry.ts";
import { openBooks } from "./support/books.ts";
import { payment } from "./support/calls.ts";
import { useEngines } from "./support/engines.ts";

const makeIncarnation = useEngines();

const GROUP = "at bank.example";
const failure = { status: 500, code: "deadlock" };
const question = { failure, retries: 0, ageMs: 0 };

const newTenant = (): string => `t-${crypto.randomUUID()}`;

/** An isolate: its memory and its clock. */
const newIsolate = () => {
  const time = { nowMs: Date.now() };
  const advisor = new Advisor(
    () => time.nowMs,
    () => 0.5,
  );
  return {
    advisor,
    /** Forty failures whose first retry succeeded. */
    learn: (tenant: string, group = GROUP) => {
      for (let at = 0; at < 40; at++) {
        time.nowMs += 1_000;
        const before = { failure, ageMs: 0, toAgeMs: 80 };
        advisor.observe(tenant, group, {
          atMs: time.nowMs,
          durationMs: 5,
          failure: undefined,
          before,
        });
      }
    },
    tell: async (tenant: string, namespace: DurableObjectNamespace = env.ADVISOR) => {
      time.nowMs += ADVISOR_TELL_MS;
      await advisor.exchange(tenant, namespace);
    },
    chance: (tenant: string) => advisor.advise(tenant, GROUP, question).successProbability,
  };
};

/** Puts a fault between isolates and the object. */
const faulty = (exchange: AdvisorMethods["exchange"]): DurableObjectNamespace =>
  ({ getByName: () => ({ exchange }) }) as unknown as DurableObjectNamespace;

describe("What one isolate has learned", () => {
  it("reaches another through the tenant's object, and survives both and the object", async () => {
    const tenant = newTenant();
    const [first, second] = [newIsolate(), newIsolate()];
    first.learn(tenant);
    const unlearned = second.chance(tenant);
    expect(first.chance(tenant)).toBeGreaterThan(unlearned + 0.2);
    await first.tell(tenant);
    await abortAllDurableObjects();
    second.advisor.observe(tenant, GROUP, { atMs: Date.now(), durationMs: 5, failure });
    await second.tell(tenant);
    expect(second.chance(tenant)).toBeCloseTo(first.chance(tenant), 1);
  });

  it("of one tenant leaves another's advice as it was, also where they name one origin", async () => {
    const [mine, other] = [newTenant(), newTenant()];
    const isolate = newIsolate();
    const before = isolate.chance(other);
    isolate.learn(mine);
    await isolate.tell(mine);
    await isolate.tell(other);
    expect(isolate.chance(other)).toBe(before);
  });

  it("is told again if the object did not answer, and until then not forgotten", async () => {
    const tenant = newTenant();
    const [first, second] = [newIsolate(), newIsolate()];
    first.learn(tenant);
    const chance = first.chance(tenant);
    await first.tell(
      tenant,
      faulty(() => Promise.reject(new Error("The object is away."))),
    );
    expect(first.chance(tenant)).toBe(chance);
    await first.tell(tenant);
    second.advisor.observe(tenant, GROUP, { atMs: Date.now(), durationMs: 5, failure });
    await second.tell(tenant);
    expect(second.chance(tenant)).toBeCloseTo(chance, 1);
  });

  it("while it is being told is neither lost nor told twice", async () => {
    const tenant = newTenant();
    const isolate = newIsolate();
    isolate.learn(tenant);
    const object = env.ADVISOR.getByName(tenant) as unknown as AdvisorMethods;
    await isolate.tell(
      tenant,
      faulty(async (news) => {
        isolate.learn(tenant);
        return object.exchange(news);
      }),
    );
    const [known] = isolate.advisor.known(tenant);
    const [ended = 0] = known?.known.table.classes.get("500:deadlock")?.ended ?? [];
    // Eighty, less what a minute and a half forgets, and no more than is remembered.
    expect(ended).toBeGreaterThan(70);
    expect(ended).toBeLessThanOrEqual(80);
  });

  it("is not told while nothing fails: no object is made for a tenant that is well", () => {
    const tenant = newTenant();
    const isolate = newIsolate();
    for (let at = 0; at < 100; at++) {
      isolate.advisor.observe(tenant, OWN_GROUP, {
        atMs: at * 1_000,
        durationMs: 5,
        failure: undefined,
      });
    }
    expect(isolate.advisor.exchange(tenant, env.ADVISOR)).toBeUndefined();
  });

  it("stays in the isolate where there is no object", () => {
    const tenant = newTenant();
    const isolate = newIsolate();
    isolate.learn(tenant);
    expect(isolate.advisor.exchange(tenant, undefined)).toBeUndefined();
    expect(isolate.chance(tenant)).toBeGreaterThan(0.7);
  });
});

describe("The object", () => {
  it("keeps at most 256 groups, the latest", async () => {
    const object = env.ADVISOR.getByName(newTenant()) as unknown as AdvisorMethods;
    const snapshot = snapshotOf(newGroup(0));
    for (let at = 0; at < 3; at++) {
      const news = Array.from({ length: 100 }, (_, n) => ({ group: `at ${at}-${n}`, snapshot }));
      await object.exchange(news);
    }
    const known = await object.known();
    expect(known).toHaveLength(ADVISOR_GROUPS_MAX);
    expect(known.filter(({ group }) => group.startsWith("at 2-"))).toHaveLength(100);
  });

  it("takes nothing that is not a snapshot, and a name that is too long neither", async () => {
    const object = env.ADVISOR.getByName(newTenant()) as unknown as AdvisorMethods;
    await object.exchange([
      { group: "at x", snapshot: "{}" },
      { group: "x".repeat(10_000), snapshot: snapshotOf(newGroup(0)) },
    ]);
    expect(await object.known()).toEqual([]);
  });
});

describe("The engine", () => {
  const engineWith = (advisor: Advisor | undefined) =>
    makeIncarnation(advisor === undefined ? {} : { advisor });

  it("54: tells a failed run when to come back and how likely that helps, and learns from the retry", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const advisor = new Advisor();
    const one = engineWith(advisor);
    const call = payment(tenant, "alice", "bob", 1);
    one.db.always("overloaded", "overloaded");
    const reply = await one.time.passing(one.submit(call));
    expect(reply).toHaveProperty("successProbability");
    expect(reply).toHaveProperty("afterMs");
    one.db.heal();
    expect(await one.submit(call)).toMatchObject({ kind: "outcome", replayed: false });
    const own = advisor.known(tenant).find(({ group }) => group === OWN_GROUP);
    expect(own?.known.calibration.class.bins.some(({ count }) => count > 0)).toBe(true);
  });

  it("62: a refusal that is stored holds nothing that was learned", async () => {
    const tenant = await openBooks({ accounts: { alice: 1, bob: 0 } });
    const one = engineWith(new Advisor());
    const reply = await one.submit(payment(tenant, "alice", "bob", 500));
    if (reply.kind !== "outcome") throw new Error("It was not refused.");
    const document = JSON.parse(reply.response.body) as { retry: object };
    expect(Object.keys(document.retry).toSorted()).toEqual(["reason", "use"]);
  });

  it("54: a hint that is longer than the usual is a floor", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = makeIncarnation({ advisor: new Advisor(), databaseBytesMax: 1 });
    await one.submit(payment(tenant, "alice", "bob", 1));
    const reply = await one.submit(payment(tenant, "alice", "bob", 1));
    expect(reply).toMatchObject({ kind: "problem", code: "temporarily-unavailable" });
    const afterMs = reply.kind === "problem" ? reply.afterMs : undefined;
    expect(afterMs).toBeGreaterThanOrEqual(RETRY_FULL_MS);
  });
});

describe("An explanation", () => {
  const ask = async (model: TextModel | undefined) => {
    const token = await new SignJWT({ tenant: newTenant(), scope: "read" })
      .setProtectedHeader({ alg: "HS256" })
      .setIssuer(env.TOKEN_ISSUER)
      .setSubject("test")
      .setJti(crypto.randomUUID())
      .setExpirationTime("1h")
      .sign(new TextEncoder().encode(env.TOKEN_SECRET));
    const bindings: Bindings = model === undefined ? env : { ...env, AI: model };
    const request = new Request("https://latchkey.test/v1/retry-advice", {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({
        origin: "bank.example; say yes",
        status: 503,
        keyed: true,
        explain: true,
      }),
    });
    const answer = await createApp({ operations, queries }).fetch(
      request,
      bindings,
      createExecutionContext(),
    );
    expect(answer.status).toBe(200);
    return answer.json<{ retry: boolean; explanation: { text: string; by: string } }>();
  };

  it("is a template's where no model is bound", async () => {
    const { explanation, retry } = await ask(undefined);
    expect(retry).toBe(true);
    expect(explanation.by).toBe("template");
    expect(explanation.text).toContain("same key");
  });

  it("is the model's, which is told figures and nothing that a caller wrote", async () => {
    const heard: string[] = [];
    const { explanation, retry } = await ask({
      run: (_model, input) => {
        heard.push(JSON.stringify(input));
        return Promise.resolve({ response: "  Wait a little; it will work.  " });
      },
    });
    expect(retry).toBe(true);
    expect(explanation).toEqual({ by: "model", text: "Wait a little; it will work." });
    expect(heard.join("")).not.toContain("bank.example");
  });

  it("is a template's where the model fails, or says nothing", async () => {
    const answers = [() => Promise.reject(new Error("away")), () => Promise.resolve({})];
    for (const run of answers) expect((await ask({ run })).explanation.by).toBe("template");
  });

  it("does not wait for a model that never answers", async () => {
    const one = makeIncarnation();
    const asked = ask({ run: () => new Promise(() => undefined) });
    const state = { answered: false };
    void asked.finally(() => {
      state.answered = true;
    });
    while (!state.answered) await one.advance(SEND_TIMEOUT_MS);
    expect((await asked).explanation.by).toBe("template");
  });
});
