/** What operators see of the audit log, the reconciliation and the issues; and what they do leaves a row. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { CRONS } from "../../src/kernel/crons.ts";
import { keyHash } from "../../src/kernel/hash.ts";
import { useServers } from "../support/suite.ts";
import { type Answer, answerOf, newKey, newTenant, openTenant } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const run = promisify(execFile);

const serverFor = useServers({ one: {}, bare: {}, sealed: {} });
const server = () => serverFor("one");

const operator = (scope: string) => tokenFor("operators", { scope, subject: "ada" });

const get = async (path: string, token: string): Promise<Answer> => {
  const response = await fetch(server().origin + path, {
    headers: { Authorization: `Bearer ${token}` },
  });
  return answerOf(response.status, response.headers, await response.text());
};

const put = async (path: string, body: unknown, token: string): Promise<Answer> => {
  const response = await fetch(server().origin + path, {
    method: "PUT",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return answerOf(response.status, response.headers, await response.text());
};

const linesOf = ({ text }: Answer): Record<string, unknown>[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const PATHS = [
  "/v1/ops/audit",
  "/v1/ops/audit/verification",
  "/v1/ops/reconciliation",
  "/v1/ops/issues",
  "/v1/ops/boundaries",
];

/** Of all databases. */
const UNCERTAIN = "/v1/ops/uncertain-keys";

describe("the audit log over HTTP", () => {
  it.each(PATHS)("%s is for operators who may read, and for nobody else", async (path) => {
    const tenant = await newTenant(server());
    expect((await fetch(server().origin + path)).status).toBe(401);
    expect((await tenant.get(path)).status).toBe(403);
    expect((await get(path, await operator("ops:act ops:support read"))).status).toBe(403);
    expect((await get(path, await operator("ops:read"))).status).toBe(200);
    expect((await get(`${path}?database=DB_7`, await operator("ops:read"))).status).toBe(404);
    expect((await get(`${path}?databases=DB`, await operator("ops:read"))).status).toBe(400);
  });

  it.each([...PATHS, UNCERTAIN])(
    "%s is itself a row: who has read, under which request",
    async (path) => {
      const token = await operator("ops:read");
      const read = await get(path, token);
      const [row] = await server().sql("SELECT * FROM audit ORDER BY seq DESC LIMIT 1");
      expect(row).toMatchObject({
        kind: "read",
        tenant: "",
        actor: "latchkey/ada",
        request_id: read.headers.get("X-Request-Id"),
      });
    },
  );

  it("exports rows in the order of commits, from any of them on, with hashes for keys and callers and without any value", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({ description: "a private note" }, { key });
    await tenant.pay({ amountMinor: 90_000_000 });
    const token = await operator("ops:read");
    const all = linesOf(await get("/v1/ops/audit", token));
    expect(all.map(({ seq }) => seq)).toEqual(all.map((_, i) => i + 1));
    const mine = all.filter((row) => row["tenant"] === tenant.name);
    expect(mine).toMatchObject([
      {
        kind: "effect",
        operation: "payments.create",
        keyHash: keyHash(tenant.name, key),
        status: 201,
      },
      { kind: "refusal", operation: "payments.create", code: "insufficient-funds", status: 402 },
    ]);
    expect(mine[0]?.["actor"]).toMatch(/^[0-9a-f]{32}$/);
    expect(JSON.stringify(mine)).not.toMatch(/private|90000000|alice/);
    expect(JSON.stringify(mine)).not.toContain(key);

    const first = Number(mine[0]?.["seq"]);
    const two = linesOf(await get(`/v1/ops/audit?after=${first - 1}&limit=2`, token));
    expect(two.map(({ seq }) => seq)).toEqual([first, first + 1]);
  });

  it("71: as CSV no cell is a formula, whatever an operator's name or a reason is", async () => {
    const token = await tokenFor("operators", {
      scope: "ops:read",
      subject: "=1+1",
      issuer: "latchkey",
    });
    await server().sql(
      "INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, detail) VALUES (1, 't', 'action', '=cmd', '+1', '@x', '-2')",
    );
    const answer = await get("/v1/ops/audit?format=csv", token);
    expect(answer.headers.get("Content-Type")).toBe("text/csv");
    const cells = answer.text
      .trim()
      .split("\r\n")
      .flatMap((line) => line.split(","));
    expect(cells).toContain("'=cmd");
    for (const cell of cells) expect(cell).not.toMatch(/^[=+@]/);
  });

  it("is verified over HTTP, and says what was changed behind its back", async () => {
    const bare = serverFor("bare");
    const tenant = await openTenant(bare);
    for (let i = 0; i < 3; i++) await tenant.pay();
    const token = await operator("ops:read");
    const verify = async () => {
      const response = await fetch(`${bare.origin}/v1/ops/audit/verification`, {
        headers: { Authorization: `Bearer ${token}` },
      });
      return (await response.json()) as Record<string, unknown>;
    };
    // Nothing is sealed yet.
    expect(await verify()).toMatchObject({ intact: true, seals: 0, head: null, next: null });
    // The command asks the same, to the last page, and says it by its exit code.
    const command = async () => {
      const args = ["scripts/audit-verify.ts", "--url", bare.origin, "--token", token];
      const { stdout } = await run(process.execPath, args);
      return stdout;
    };
    expect(await command()).toContain("Intact.");
    await bare.sql("DROP TRIGGER audit_stays");
    await bare.sql("DELETE FROM audit WHERE seq = 2");
    expect(await verify()).toMatchObject({
      intact: false,
      findings: [{ kind: "row-missing", seq: 2 }],
    });
    await expect(command()).rejects.toThrow("1 faults");
  });

  it("is verified from its export alone, with no server, and says what was changed in the file", async () => {
    const bare = serverFor("sealed");
    const tenant = await openTenant(bare);
    const token = await operator("ops:read");
    const rowsAndSeals = async (after: number) => {
      const response = await fetch(
        `${bare.origin}/v1/ops/audit?format=jsonl-sealed&after=${after}`,
        { headers: { Authorization: `Bearer ${token}` } },
      );
      return (await response.text()).trim().split("\n");
    };
    for (let seals = 0; seals < 2; seals++) {
      for (let i = 0; i < 3; i++) await tenant.pay();
      // The cron goes on to watch for the rest of its minute.
      bare.scheduled(CRONS.minutely).catch(() => undefined);
      const isSealed = async () =>
        (await bare.sql("SELECT 1 FROM audit_seals")).length === seals + 1;
      while (!(await isSealed())) await sleep(50);
    }
    const lines = await rowsAndSeals(0);
    const seals = lines.filter((line) => line.startsWith('{"seal"'));
    expect(seals).toHaveLength(2);
    const folder = mkdtempSync(join(tmpdir(), "latchkey-audit-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const verified = async (changed: readonly string[], ...more: string[]) => {
      const file = join(folder, "audit.jsonl");
      writeFileSync(file, `${changed.join("\n")}\n`);
      const args = ["scripts/audit-verify.ts", "--file", file, ...more];
      return run(process.execPath, args).then(
        ({ stdout }) => stdout,
        ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout + stderr,
      );
    };
    const whole = await verified(lines);
    expect(whole).toContain("Intact.");
    const head = /head (\d+:[0-9a-f]{64})/.exec(whole)?.[1] ?? "";
    // What the server says of itself is the same head.
    const asked = await fetch(`${bare.origin}/v1/ops/audit/verification`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    const { head: theirs } = (await asked.json()) as { head: { seq: number; hash: string } };
    expect(head).toBe(`${theirs.seq}:${theirs.hash}`);
    expect(await verified(lines, "--anchor", head)).toContain("Intact.");
    expect(await verified(lines, "--anchor", `${theirs.seq}:${"0".repeat(64)}`)).toContain(
      "rewritten",
    );
    const forged = lines.map((line) =>
      line.startsWith('{"seq":2,') ? line.replace('"tenant":"', '"tenant":"x') : line,
    );
    expect(forged).not.toEqual(lines);
    expect(await verified(forged)).toContain("row-changed 2");
    expect(await verified(lines.filter((line) => !line.startsWith('{"seq":3,')))).toContain(
      "row-missing 3",
    );
    expect(await verified([...lines.slice(0, 2), lines[0] ?? "", ...lines.slice(2)])).toContain(
      "row-inserted 1",
    );
    const [first = "", second = ""] = seals;
    expect(await verified(lines.filter((line) => line !== first))).toContain("seal-missing 1");
    expect(await verified(lines.filter((line) => !line.startsWith('{"seal"')))).toContain(
      "no seal",
    );
    // From behind a head that was kept, the rest is enough.
    const kept = JSON.parse(first) as { seal: { seqTo: number; hash: string } };
    const rest = await rowsAndSeals(kept.seal.seqTo);
    expect(rest).toContain(second);
    expect(await verified(rest)).toContain("seal-missing 1");
    const anchor = `${kept.seal.seqTo}:${kept.seal.hash}`;
    expect(await verified(rest, "--anchor", anchor)).toContain("Intact.");
    expect(await verified(rest, "--anchor", `${kept.seal.seqTo}:${"0".repeat(64)}`)).toContain(
      "seal-broken",
    );
  });

  it("names the operator who revokes a token, and which token, but never the token", async () => {
    const token = await operator("ops:act");
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    const done = await put(
      "/v1/ops/revoked-tokens/some-jti",
      { issuer: "latchkey", expiresAt },
      token,
    );
    expect(done.status).toBe(204);
    const [row] = await server().sql("SELECT * FROM audit ORDER BY seq DESC LIMIT 1");
    expect(row).toMatchObject({
      kind: "action",
      operation: "ops.revoke-token",
      actor: "latchkey/ada",
    });
    expect(row?.["detail"]).toBe('{"issuer":"latchkey","jti":"some-jti"}');
  });
});

describe("issues", () => {
  const raise = async (id: string): Promise<void> => {
    await server().sql(
      "INSERT INTO issues (id, kind, tenant, subject, what, first_seen_ms, last_seen_ms) VALUES (?, 'ledger-imbalance', 't', 'ledger', 'w', 1, 2)",
      id,
    );
  };
  const notes = (id: string) =>
    server().sql("SELECT kind, actor FROM audit WHERE detail LIKE ? ORDER BY seq", `%${id}%`);

  it("72: a double click on an action is one action and one row, also at once; the first reason stays", async () => {
    const id = "a".repeat(32);
    await raise(id);
    const token = await operator("ops:act");
    const change = (reason: string) =>
      put(`/v1/ops/issues/${id}`, { state: "resolved", reason }, token);
    const clicks = await Promise.all([change("fixed"), change("fixed")]);
    expect(clicks.map(({ status }) => status)).toEqual([200, 200]);
    expect((await change("another reason")).body).toMatchObject({
      state: "resolved",
      reason: "fixed",
      changedBy: "latchkey/ada",
    });
    expect(await notes(id)).toEqual([{ kind: "resolution", actor: "latchkey/ada" }]);
  });

  it("are listed by state, page by page, and changed only by who may act", async () => {
    for (const id of ["b1", "b2", "b3"]) await raise(id);
    const reader = await operator("ops:read");
    const change = { state: "acknowledged", reason: "looking" };
    expect((await put("/v1/ops/issues/b1", change, reader)).status).toBe(403);
    const actor = await operator("ops:act");
    expect((await put("/v1/ops/issues/b1", change, actor)).status).toBe(200);
    expect((await put("/v1/ops/issues/nothing", change, actor)).status).toBe(404);
    expect((await put("/v1/ops/issues/b2", { state: "resolved" }, actor)).status).toBe(400);
    const page = await get("/v1/ops/issues?state=open&limit=1&after=b", reader);
    expect(page.body).toMatchObject({ data: [{ id: "b2", kind: "ledger-imbalance" }], next: "b2" });
  });
});

it("the crons of wrangler.toml are those that the code knows", () => {
  const toml = readFileSync(new URL("../../wrangler.toml", import.meta.url), "utf8");
  const crons = /^crons = (\[.+\])$/m.exec(toml)?.[1] ?? "[]";
  expect((JSON.parse(crons) as string[]).toSorted()).toEqual(Object.values(CRONS).toSorted());
});
