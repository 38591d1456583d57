/** The endpoint with an external step of the guide on payouts, as a team would add it. */
import { env } from "cloudflare:workers";
import { beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { createApp } from "../../src/app.ts";
import { openApiDocument } from "../../src/http/openapi.ts";
import { exists, insert, update } from "../../src/kernel/plan.ts";
import { sql } from "../../src/kernel/sql.ts";
import { ExternalSteps } from "../../src/objects/external-steps.ts";
import { operationCallOf } from "../../src/objects/operation-exchange.ts";
import { noParams } from "../../src/operations/define-operation.ts";
import { declined, defineExternalOperation } from "../../src/operations/external-step.ts";
import { until } from "../support/faulty-database.ts";
import { openBooks } from "./support/books.ts";
import { callOf } from "./support/calls.ts";
import { POLICY, rowOf, useExchanges, verdict } from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

const sendParcel = defineExternalOperation({
  name: "parcels.send",
  method: "POST",
  path: "/v1/parcels",
  summary: "Send a parcel",
  scope: "orders:write",
  params: noParams,
  input: z.strictObject({ address: z.string().min(1).max(200) }),
  output: z.object({ id: z.string(), label: z.string() }),
  refusals: {
    "parcel-declined": {
      status: 409,
      title: "The carrier does not deliver there",
      cause: "The carrier has refused the address.",
      cure: "Correct the address, and send it with a new key.",
    },
  },
  held: z.object({ id: z.string(), address: z.string() }),
  plan: (input, _facts, { ids }) => {
    const held = { id: ids.next("par"), address: input.address };
    return { guards: [], effects: [insert("parcels", { ...held, state: "held" })], held };
  },
  external: {
    processor: "CARRIER",
    call: ({ address }) => ({ method: "POST", path: "/labels", body: { address } }),
    settle: ({ id }, { status, body }) => {
      const label = z.object({ label: z.string() }).safeParse(body);
      if (status >= 400 || !label.success) {
        return declined("parcel-declined", "Not delivered there.");
      }
      return {
        effects: [update("parcels", { state: "sent" }, sql`id = ${id}`)],
        answer: { status: 201, link: `/v1/parcels/${id}`, body: { id, label: label.data.label } },
      };
    },
    release: ({ id }) => [update("parcels", { state: "released" }, sql`id = ${id}`)],
  },
});

beforeAll(() =>
  env.DB.prepare(
    "CREATE TABLE IF NOT EXISTS parcels (tenant TEXT NOT NULL, id TEXT NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL, moves INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (tenant, id)) STRICT",
  ).run(),
);

const statesOf = async (tenant: string): Promise<unknown[]> =>
  (
    await env.DB.prepare("SELECT state FROM parcels WHERE tenant = ?").bind(tenant).all()
  ).results.map(({ state }) => state);

it("an endpoint of one file holds, calls and settles once, and gives back what is declined", async () => {
  const upstream = new Upstream();
  const steps = new ExternalSteps({
    operations: [sendParcel],
    processorNamed: (name) => (name === "CARRIER" ? { terms: POLICY, token: null } : null),
  });
  const object = incarnation({ upstream, parts: { steps } });
  const send = (tenant: string) =>
    operationCallOf(callOf(tenant, sendParcel.name, { address: "Here 1" }), env.FINGERPRINT_SECRET);

  upstream.answer = () => Response.json({ label: "L-1" });
  const sent = send("shop");
  expect(await object.exchange(sent)).toMatchObject({
    status: 201,
    headers: { location: expect.stringMatching(/^\/v1\/parcels\/par_/) as unknown },
  });
  expect(await object.exchange(sent)).toMatchObject({ status: 201, replayed: true });
  expect(await statesOf("shop")).toEqual(["sent"]);

  upstream.answer = () => new Response("no", { status: 422 });
  const refused = send("other");
  expect(verdict(await object.exchange(refused))).toBe(409);
  expect(await statesOf("other")).toEqual(["released"]);
  expect(await rowOf(refused)).toMatchObject({ refusal: "parcel-declined" });
  expect(upstream.calls).toBe(2);
});

it("51b: a settlement that is delivered twice, or whose answer is lost and that is sent again, is applied once, also where nothing else would stop it", async () => {
  // A bare UPDATE: no inserted id, no trigger and no constraint stands in the way of a second application.
  const counting = {
    ...sendParcel,
    external: {
      processor: "CARRIER",
      call: () => ({ method: "POST" as const, path: "/labels", body: {} }),
      settle: () => ({
        effects: [update("parcels", { moves: sql`moves + 1` }, sql`state = 'held'`)],
        answer: { status: 201 as const, link: "/v1/parcels", body: {} },
      }),
      release: () => [],
    },
  };
  const steps = new ExternalSteps({
    operations: [counting],
    processorNamed: () => ({ terms: POLICY, token: null }),
  });
  for (const fault of ["none", "twice", "lost-after", "late-twice"] as const) {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream, parts: { steps } });
    const call = operationCallOf(
      callOf(`counting-${fault}`, sendParcel.name, { address: "Here 1" }),
      env.FINGERPRINT_SECRET,
    );
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    object.db.next(fault);
    upstream.release();
    expect(verdict(await object.time.passing(first))).toBe(201);
    object.time.advance(60_000);
    await object.alarm();
    await object.db.deliverLate();
    const moves = await env.DB.prepare("SELECT moves FROM parcels WHERE tenant = ?")
      .bind(call.tenant)
      .first("moves");
    expect({ fault, moves }).toEqual({ fault, moves: 1 });
    expect(await rowOf(call)).toMatchObject({ state: "final" });
  }
});

it("43: a step that breaks over an answer leaves the key uncertain, and what it holds held", async () => {
  const broken = {
    ...sendParcel,
    external: {
      processor: "CARRIER",
      call: () => ({ method: "POST" as const, path: "/labels", body: {} }),
      settle: () => {
        throw new Error("A case that nobody thought of.");
      },
      release: () => [],
    },
  };
  const upstream = new Upstream();
  const steps = new ExternalSteps({
    operations: [broken],
    processorNamed: () => ({ terms: POLICY, token: null }),
  });
  const object = incarnation({ upstream, parts: { steps } });
  const call = operationCallOf(
    callOf("unlucky", sendParcel.name, { address: "Here 1" }),
    env.FINGERPRINT_SECRET,
  );
  expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
  expect(await statesOf("unlucky")).toEqual(["held"]);
  expect(upstream.calls).toBe(1);
});

it("51b: that was told as a success is settled as one or not at all: a step that has changed its mind leaves it held, and is seen", async () => {
  let isSure = true;
  const fickle = {
    ...sendParcel,
    external: {
      processor: "CARRIER",
      settle: () =>
        isSure
          ? {
              effects: [update("parcels", { state: "sent" }, sql`true`)],
              answer: { status: 201 as const, link: "/v1/parcels", body: {} },
            }
          : declined("parcel-declined", "Not any more."),
      call: () => ({ method: "POST" as const, path: "/labels", body: {} }),
      release: () => [],
    },
  };
  const upstream = new Upstream();
  upstream.faults.push("hang");
  const steps = new ExternalSteps({
    operations: [fickle],
    processorNamed: () => ({ terms: POLICY, token: null }),
  });
  const object = incarnation({ upstream, parts: { steps } });
  const call = operationCallOf(
    callOf("fickle", sendParcel.name, { address: "Here 1" }),
    env.FINGERPRINT_SECRET,
  );
  const first = object.exchange(call);
  await until(() => upstream.calls === 1);
  object.db.next("lost-before");
  upstream.release();
  expect(verdict(await object.time.passing(first))).toBe(201);

  isSure = false;
  await object.nextAlarm();
  expect(await rowOf(call)).toMatchObject({ state: "in-flight" });
  expect(await statesOf("fickle")).toEqual(["held"]);
  expect(object.alerts).toContain("step-not-settled");

  isSure = true;
  await object.nextAlarm();
  expect(await rowOf(call)).toMatchObject({ state: "final", status: 201 });
  expect(await statesOf("fickle")).toEqual(["sent"]);
  expect(upstream.calls).toBe(1);
});

it.each(["read", "planned"] as const)(
  "51: whose facts change after a lost send, and that can be %s no more, denies nothing: its claim may yet commit, and is called once",
  async (part) => {
    let isBroken = false;
    const fromStock = defineExternalOperation({
      name: "parcels.from-stock",
      method: "POST",
      path: "/v1/stocked-parcels",
      summary: "Send what is in stock",
      scope: "orders:write",
      params: noParams,
      input: z.strictObject({ sku: z.string() }),
      output: z.object({}),
      refusals: {},
      held: z.object({ name: z.string() }),
      read: ({ sku }, reader) =>
        reader.first({ table: "products", columns: ["name"], where: sql`sku = ${sku}` }),
      plan: ({ sku }, product) => {
        if (isBroken) throw new Error("Its plan is broken.");
        const name = String(product?.["name"]);
        return {
          facts: [exists("products", sql`sku = ${sku} AND name = ${name}`)],
          guards: [],
          effects: [],
          held: { name },
        };
      },
      external: {
        processor: "CARRIER",
        call: ({ name }) => ({ method: "POST", path: "/labels", body: { name } }),
        settle: () => ({ effects: [], answer: { status: 201, link: "/v1/parcels", body: {} } }),
        release: () => [],
      },
    });
    const tenant = await openBooks({ products: { mug: 1 } });
    const rename = (name: string) =>
      env.DB.prepare("UPDATE products SET name = ? WHERE tenant = ?").bind(name, tenant).run();
    await rename("mug");
    const upstream = new Upstream();
    const steps = new ExternalSteps({
      operations: [fromStock],
      processorNamed: () => ({ terms: POLICY, token: null }),
    });
    const object = incarnation({ upstream, parts: { steps } });
    const call = operationCallOf(
      callOf(tenant, fromStock.name, { sku: "mug" }),
      env.FINGERPRINT_SECRET,
    );
    const held = [object.db.hold(), object.db.hold()] as const;
    const first = object.time.passing(object.exchange(call));
    await held[0].arrived();
    held[0].release("late");
    await held[1].arrived();
    await rename("cup");
    // The key is looked up; what to plan by is not.
    if (part === "read") object.db.nextReads("none", "lost");
    else isBroken = true;
    held[1].release();

    expect(verdict(await first)).toBe("outcome-unknown-yet");
    expect(upstream.calls).toBe(0);
    // The facts of the lost send hold again when it arrives.
    await rename("mug");
    await object.db.deliverLate();
    expect(await rowOf(call)).toMatchObject({ state: "in-flight" });
    isBroken = false;
    expect(verdict(await object.exchange(call))).toBe(201);
    expect(verdict(await object.exchange(call))).toBe(201);
    expect(upstream.calls).toBe(1);
  },
);

it("its route and its OpenAPI entry follow from the definition, the uncertain outcome included", () => {
  const app = createApp({ operations: [sendParcel], queries: [] });
  expect(app.routes.map(({ path }) => path)).toContain("/v1/parcels");
  const document = JSON.stringify(openApiDocument({ operations: [sendParcel], queries: [] }));
  expect(document).toContain("outcome-uncertain");
  expect(document).toContain("parcel-declined");
});
