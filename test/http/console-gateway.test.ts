/** The console in front of somebody else's API: at its own place, and with what only a gateway has, which is doubt. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Fault, startUpstream } from "../../examples/upstream/upstream.ts";
import { CRONS } from "../../src/kernel/crons.ts";
import { keyHash } from "../../src/kernel/hash.ts";
import { type Console, openConsole } from "../support/console.ts";
import { useServers } from "../support/suite.ts";
import { type Answer, answerOf, newKey } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const HOME = "/_latchkey";
const ALL = "ops:read ops:support ops:act";

/** What goes wrong with the next calls, in order. */
const nextFaults: Fault[] = [];
/** Whether every call is turned away. */
let isBusy = false;
const nextFault = () => (isBusy ? "too-many" : nextFaults.shift());
const upstream = await startUpstream({ nextFault, lateMs: 300 });
const honouring = await startUpstream({ honoursKey: true, nextFault });
// Of their own, for what fails often is not called for a while.
const asked = await startUpstream({ nextFault, lateMs: 300 });
const neverTold = await startUpstream({ nextFault });
afterAll(async () => Promise.all([upstream, honouring, asked, neverTold].map((one) => one.stop())));

const ROUTES = [
  { path: "/honoured/**", upstream: honouring.origin, honoursKey: true, tenant: "shop" },
  ...[
    { path: "/asked/**", upstream: asked.origin },
    { path: "/never-told/**", upstream: neverTold.origin },
  ].map((route) => ({
    ...route,
    tenant: "shop",
    timeoutMs: 2_000,
    status: { path: "/keys/{key}", quietMs: 0 },
    heal: { attemptsMax: 1, elapsedSecondsMax: 1 },
  })),
  { path: "/**", tenant: "shop" },
];
const serverFor = useServers({
  one: { vars: { UPSTREAM_ORIGIN: upstream.origin, GATEWAY_ROUTES: JSON.stringify(ROUTES) } },
});
const server = () => serverFor("one");

let operator: Console;
beforeAll(async () => {
  operator = await openConsole(server(), { scope: ALL, home: HOME });
});

const send = async (path: string, key: string): Promise<Answer> => {
  const response = await fetch(server().origin + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
    body: '{"amount":1}',
  });
  return answerOf(response.status, response.headers, await response.text());
};

const callsOf = (key: string): number =>
  [upstream, honouring, asked, neverTold]
    .flatMap(({ effects }) => effects)
    .filter((effect) => effect.key === key).length;

const get = (path: string): Promise<Answer> => operator.get(HOME + path);

const post = (path: string, fields: Readonly<Record<string, string>>): Promise<Answer> =>
  operator.post(HOME + path, fields, { Origin: server().origin });

/** Every address that a page leads to, or sends to. */
const addressesOn = (html: string): string[] =>
  [...html.matchAll(/ (?:href|action|formaction|src)="([^"]*)"/g)].map(([, to = ""]) => to);

const stateOf = async (key: string): Promise<unknown> => {
  const [row] = await server().sql("SELECT state FROM journal WHERE key = ?", key);
  return row?.["state"];
};

const untilState = async (key: string, state: string | undefined): Promise<void> => {
  await expect.poll(async () => stateOf(key)).toBe(state);
};

/** A key that nobody can tell of, and its row in the audit log. */
const uncertain = async (): Promise<{ readonly key: string; readonly seq: number }> => {
  const key = newKey();
  nextFaults.push("reset-after");
  expect((await send("/charges", key)).status).toBe(409);
  await untilState(key, "uncertain");
  return { key, seq: await seqOf(key) };
};

const seqOf = async (key: string): Promise<number> => {
  const [row] = await server().sql(
    "SELECT seq FROM audit WHERE key_hash = ? AND kind = 'started'",
    keyHash("shop", key),
  );
  return Number(row?.["seq"]);
};

/** As the reconciliation raises it. */
const raise = async (id: string, kind: string, key: string): Promise<void> => {
  const [row] = await server().sql("SELECT object FROM journal WHERE key = ?", key);
  await server().sql(
    "INSERT INTO issues (id, kind, tenant, subject, what, key, object, first_seen_ms, last_seen_ms) VALUES (?, ?, 'shop', ?, 'w', ?, ?, 1, 2)",
    id,
    kind,
    keyHash("shop", key),
    key,
    row?.["object"] ?? "",
  );
};

const issueOf = async (id: string) => {
  const [row] = await server().sql("SELECT state, key, changed_by FROM issues WHERE id = ?", id);
  return row;
};

/** Rows of the audit log about taking a key up again. */
const redrivesOf = (key: string) =>
  server().sql(
    "SELECT actor FROM audit WHERE operation = 'ops.redrive' AND key_hash = ?",
    keyHash("shop", key),
  );

describe("under the gateway", () => {
  it("every page is under its home, and leads nowhere else; what is elsewhere is the upstream's", async () => {
    const { key, seq } = await uncertain();
    await raise("p1", "outcome-uncertain", key);
    expect(operator.setCookie).toContain(`Path=${HOME}/console;`);
    for (const path of [
      "/console",
      "/console/requests",
      "/console/requests?state=uncertain",
      `/console/requests/DB/${seq}`,
      "/console/search?q=nothing",
      "/console/issues",
      "/console/issues/confirm?state=resolved&id=p1",
      "/console/redrive?issue=p1",
      "/console/resolution?issue=p1",
      "/console/ledger",
      "/console/orders",
      "/console/stock",
    ]) {
      const page = await get(path);
      expect([path, page.status]).toEqual([path, 200]);
      const elsewhere = addressesOn(page.text).filter(
        (to) => !to.startsWith(`${HOME}/`) && !to.startsWith("data:") && to !== "#main",
      );
      expect([path, elsewhere]).toEqual([path, []]);
    }
    for (const to of new Set(addressesOn((await get("/console")).text))) {
      if (!/\.(css|js)\?/.test(to)) continue;
      expect([to, (await fetch(server().origin + to)).status]).toEqual([to, 200]);
    }
    expect((await operator.get("/console")).body).toMatchObject({ url: "/console" });
  });

  it("whoever is not signed in is led to sign in and back, within its home", async () => {
    const turned = await fetch(`${server().origin}${HOME}/console/issues?state=all`, {
      redirect: "manual",
    });
    const to = turned.headers.get("Location") ?? "";
    expect(to).toBe(`${HOME}/console/sign-in?then=%2Fconsole%2Fissues%3Fstate%3Dall`);
    const signedIn = await fetch(`${server().origin}${HOME}/console/sign-in`, {
      method: "POST",
      redirect: "manual",
      headers: { Origin: server().origin },
      body: new URLSearchParams([
        ["token", await tokenFor("operators", { scope: ALL })],
        ["then", "/console/issues?state=all"],
      ]),
    });
    expect(signedIn.headers.get("Location")).toBe(`${HOME}/console/issues?state=all`);
  });

  it("a key of any length that the gateway takes is found by the search", async () => {
    await send("/charges", "k1");
    const found = await get("/console/search?q=k1");
    expect(found.headers.get("Location")).toMatch(/^\/_latchkey\/console\/requests\/DB\/\d+$/);
  });
});

describe("an uncertain key in the console", () => {
  it("76: is resolved by a person's word, once, with a reason and a name; retries get just what was said", async () => {
    const { key } = await uncertain();
    await raise("u1", "outcome-uncertain", key);
    const fields = await operator.fieldsOf(`${HOME}/console/resolution?issue=u1`);
    const word = {
      ...fields,
      outcome: "executed",
      status: "201",
      contentType: "application/json",
      body: '{"id":"ch_7"}',
      link: "/charges/ch_7",
      reason: "Seen in the bank's list.",
    };
    for (const wrong of [
      { reason: " " },
      { outcome: "perhaps" },
      { status: "500" },
      { status: "" },
    ]) {
      expect((await post("/console/resolution", { ...word, ...wrong })).status).toBe(400);
    }
    expect((await send("/charges", key)).status).toBe(409);
    const words = await Promise.all([
      post("/console/resolution", word),
      post("/console/resolution", word),
    ]);
    expect(words.map(({ status }) => [200, 303].includes(status))).toEqual([true, true]);
    const told = words.find(({ status }) => status === 303)?.headers.get("Location") ?? "";
    expect((await operator.get(told)).text).toContain("retries get the answer that you gave");
    const replay = await send("/charges", key);
    expect([replay.status, replay.text, replay.replayed]).toEqual([201, '{"id":"ch_7"}', true]);
    expect(await issueOf("u1")).toEqual({
      state: "resolved",
      key: null,
      changed_by: "latchkey/ada",
    });
    expect(
      await server().sql("SELECT decided_by, reason FROM resolutions WHERE key = ?", key),
    ).toEqual([{ decided_by: "latchkey/ada", reason: "Seen in the bank's list." }]);
    expect(
      await server().sql(
        "SELECT actor FROM audit WHERE kind = 'resolution' AND key_hash = ?",
        keyHash("shop", key),
      ),
    ).toEqual([{ actor: "latchkey/ada" }]);
    expect(callsOf(key)).toBe(1);
  });

  it("is found from its request, and free to run if it was not carried out", async () => {
    const { key, seq } = await uncertain();
    const page = await get(`/console/requests/DB/${seq}`);
    expect(page.text).toContain("It may have been carried out, and nobody can tell");
    expect(page.text).toContain("Say what happened…");
    const fields = await operator.fieldsOf(`${HOME}/console/resolution?request=${seq}`);
    const answer = await post("/console/resolution", {
      ...fields,
      outcome: "not-executed",
      reason: "Not there.",
    });
    expect(answer.headers.get("Location")).toBe(
      `${HOME}/console/requests/DB/${seq}?told=not-executed`,
    );
    expect(await stateOf(key)).toBeUndefined();
    expect((await get(`/console/requests/DB/${seq}`)).text).toContain("Not carried out:");
  });

  it("76: is never sent again by a re-drive, from the console or by the API", async () => {
    const { key, seq } = await uncertain();
    await raise("n1", "outcome-uncertain", key);
    const fields = await operator.fieldsOf(`${HOME}/console/redrive?request=${seq}`);
    const driven = await post("/console/redrive", { ...fields, reason: "Try." });
    expect((await operator.get(driven.headers.get("Location") ?? "")).text).toContain(
      "1 uncertain: say what happened",
    );
    const byApi = await redriveByApi("n1", newKey());
    expect(byApi.body).toEqual({ issue: "n1", result: "uncertain", state: "uncertain" });
    expect(callsOf(key)).toBe(1);
    expect(await stateOf(key)).toBe("uncertain");
  });
});

const redriveByApi = async (
  issue: string,
  key: string,
  scope = "ops:act",
  body = '{"reason":"Fixed."}',
): Promise<Answer> => {
  const response = await fetch(`${server().origin}${HOME}/v1/ops/issues/${issue}/redrive`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${await tokenFor("operators", { scope, subject: "ada" })}`,
      "Content-Type": "application/json",
      "Idempotency-Key": key,
    },
    body,
  });
  return answerOf(response.status, response.headers, await response.text());
};

/** A key that its upstream has turned away until now. */
const stuck = async (id: string): Promise<string> => {
  const key = newKey();
  isBusy = true;
  expect((await send("/honoured/charges", key)).status).toBe(423);
  await raise(id, "in-flight-too-long", key);
  return key;
};

describe("a re-drive", () => {
  it("72: says what and how many; two clicks at once are one action, one row and one call; then its issue is resolved", async () => {
    const key = await stuck("r1");
    const page = await get("/console/redrive?issue=r1&issue=none");
    expect(page.text).toContain("Re-drive 1 key?");
    expect(page.text).toContain(key);
    expect(await redrivesOf(key)).toEqual([]);
    const fields = await operator.fieldsOf(`${HOME}/console/redrive?issue=r1`);
    isBusy = false;
    const click = () => post("/console/redrive", { ...fields, reason: "Their API is back." });
    const clicks = await Promise.all([click(), click()]);
    expect(clicks.map(({ status }) => status)).toEqual([303, 303]);
    const third = await click();
    for (const { headers } of [...clicks, third]) {
      const told = await operator.get(headers.get("Location") ?? "");
      expect(told.text).toContain("1 key taken up again: 1 completed.");
    }
    expect(await redrivesOf(key)).toEqual([{ actor: "latchkey/ada" }]);
    expect(callsOf(key)).toBe(1);
    expect(await issueOf("r1")).toMatchObject({ state: "resolved", key: null });
    expect((await send("/honoured/charges", key)).replayed).toBe(true);
  });

  it("by the API: the same key gets the same answer, another issue with it 422, and a key that has just ended nothing", async () => {
    const key = await stuck("r2");
    await raise("r3", "in-flight-too-long", key);
    isBusy = false;
    const action = newKey();
    const first = await redriveByApi("r2", action);
    expect([first.status, first.body]).toEqual([
      200,
      { issue: "r2", result: "taken-up", state: "completed" },
    ]);
    const again = await redriveByApi("r2", action);
    expect([again.text, again.replayed]).toEqual([first.text, true]);
    expect((await redriveByApi("r3", action)).body).toMatchObject({
      code: "idempotency-key-reused",
    });
    // Until the journal is told, there is something to do.
    await untilState(key, "final");
    expect((await redriveByApi("r3", newKey())).body).toEqual({
      issue: "r3",
      result: "nothing-open",
      state: "completed",
    });
    expect((await redriveByApi("r3", newKey())).body).toMatchObject({ code: "nothing-to-redrive" });
    expect(callsOf(key)).toBe(1);
    expect(await redrivesOf(key)).toHaveLength(2);
  });

  it("needs the scope to act, a key, a reason, a form of this session, and an issue", async () => {
    const key = await stuck("r4");
    isBusy = false;
    expect((await redriveByApi("r4", newKey(), "ops:read ops:support")).status).toBe(403);
    expect((await redriveByApi("r4", "short")).status).toBe(400);
    expect((await redriveByApi("r4", newKey(), "ops:act", "{}")).status).toBe(400);
    expect((await redriveByApi("none", newKey())).status).toBe(404);
    const fields = await operator.fieldsOf(`${HOME}/console/redrive?issue=r4`);
    const form = { ...fields, reason: "r" };
    const foreign = { Origin: "https://evil.example" };
    for (const path of ["/console/redrive", "/console/resolution"]) {
      expect((await operator.post(HOME + path, form, foreign)).status).toBe(403);
      expect((await post(path, { ...form, form: "x" })).status).toBe(403);
      const reader = await openConsole(server(), { scope: "ops:read ops:support", home: HOME });
      const answer = await reader.post(HOME + path, form, { Origin: server().origin });
      expect(answer.status).toBe(403);
      expect((await reader.get(`${HOME}${path}?issue=r4`)).status).toBe(403);
    }
    for (const wrong of [
      { reason: "" },
      { action: "act_1" },
      { action: `act_${"0".repeat(26)}` },
    ]) {
      expect((await post("/console/redrive", { ...form, ...wrong })).status).toBe(400);
    }
    expect(await redrivesOf(key)).toEqual([]);
    expect((await get("/console/redrive")).text).toContain("Choose one or more issues first.");
  });
});

describe("the reconciliation", () => {
  it("77: asks an upstream that can be asked what became of an uncertain key, takes its word, and raises an issue where it has none", async () => {
    const told = newKey();
    nextFaults.push("reset-then-accept");
    expect((await send("/asked/charges", told)).status).toBe(423);
    const never = newKey();
    nextFaults.push("drop-before");
    expect((await send("/never-told/charges", never)).status).toBe(423);
    await untilState(told, "uncertain");
    await untilState(never, "uncertain");
    await expect.poll(() => callsOf(told)).toBe(1);
    await server().scheduled(CRONS.reconciliation);
    await untilState(told, "final");
    expect(await stateOf(never)).toBe("uncertain");
    const replay = await send("/asked/charges", told);
    expect([replay.status, replay.replayed]).toEqual([200, true]);
    expect(callsOf(told)).toBe(1);
    expect(callsOf(never)).toBe(0);
    const open = await server().sql(
      "SELECT kind, object IS NOT NULL AS placed FROM issues WHERE state = 'open' AND key IN (?, ?)",
      told,
      never,
    );
    expect(open).toEqual([{ kind: "outcome-uncertain", placed: 1 }]);
    const [result] = await server().sql(
      "SELECT state FROM scheduled_state WHERE task = 'reconciliation'",
    );
    expect(JSON.parse(String(result?.["state"]))).toMatchObject({
      last: { healed: { "outcome-uncertain": 1 } },
    });
  });
});
