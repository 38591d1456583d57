/** Issues: one row for each thing that is wrong, however often it is found, and whatever somebody has said of it. */
import { applyD1Migrations } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, expect, it } from "vitest";
import { BY_SERVICE } from "../../src/journal/audit-log.ts";
import {
  changeIssue,
  type IssueState,
  issueId,
  listIssues,
  raiseIssues,
} from "../../src/journal/issues.ts";

beforeAll(() => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));

it.each([
  ["acknowledged", "acknowledged"],
  ["resolved", "open"],
] as const)("an issue that is %s and found again is %s", async (said, then) => {
  const found = { kind: `found-again-${said}`, tenant: "t", subject: "s", what: "It is wrong." };
  const states = async (): Promise<IssueState[]> =>
    (await listIssues(env.DB, { state: undefined, after: "", limit: 100 })).data
      .filter(({ kind }) => kind === found.kind)
      .map(({ state }) => state);
  await raiseIssues(env.DB, [found], 1);
  await changeIssue(env.DB, issueId(found), { state: said, reason: "Seen." }, BY_SERVICE, 2);
  expect(await states()).toEqual([said]);

  await raiseIssues(env.DB, [found], 3);

  expect(await states()).toEqual([then]);
});

it("an issue that is said to be what it is keeps its first reason, and leaves one row in the audit log", async () => {
  const found = { kind: "said-twice", tenant: "t", subject: "s", what: "It is wrong." };
  const id = issueId(found);
  await raiseIssues(env.DB, [found], 1);
  const say = (reason: string) =>
    changeIssue(env.DB, id, { state: "acknowledged", reason }, BY_SERVICE, 2);

  expect(await Promise.all([say("first"), say("second")])).toMatchObject([
    { reason: "first" },
    { reason: "first" },
  ]);

  const notes = env.DB.prepare("SELECT COUNT(*) AS n FROM audit WHERE detail ->> 'issue' = ?");
  expect(await notes.bind(id).first("n")).toBe(1);
});
