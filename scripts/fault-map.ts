/**
 * `npm run faults`: writes test/README.md from vitest's report: which test shows what each numbered fault must get.
 * `--check` writes nothing, and fails if a number has no passed test or no row on the page.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { Complaint, main, root } from "./tool.ts";

/** What the numbers stand for. Each must have a test. */
const FAULTS = [
  ["1", "key missing"],
  ["2", "key empty or blank"],
  ["3", "key too short"],
  ["4", "key of 255 and of 256 characters"],
  ["5", "two key headers"],
  ["6", "key with other than printable ASCII"],
  ["7", "quoted and bare form"],
  ["8", "key or id that looks like SQL, a path or __proto__"],
  ["9", "tenant and key that would run together"],
  ["10", "key on GET"],
  ["11", "member order, white space"],
  ["12", "another amount"],
  ["13", "another order of an array"],
  ["14", "duplicate members"],
  ["15", "numbers that a double cannot hold, or that mean the same"],
  ["16", "another query"],
  ["17", "another method, path or id"],
  ["18", "not JSON"],
  ["19", "another charset, a byte order mark"],
  ["20", "invalid UTF-8"],
  ["21", "Content-Encoding"],
  ["22", "deep nesting"],
  ["23", "unknown members, __proto__"],
  ["24", "another tenant with the same key"],
  ["25", "no credentials"],
  ["26", "token revoked"],
  ["27", "a scope removed"],
  ["28", "token rotated"],
  ["29", "forged tenant"],
  ["30", "tokens that prove nothing"],
  ["31", "truncated body"],
  ["32", "oversize body"],
  ["33", "path tricks"],
  ["34", "client resets after sending"],
  ["35", "many at once"],
  ["36", "SIGKILL before the claim"],
  ["37", "SIGKILL while the batch is on its way"],
  ["38", "SIGKILL after the commit"],
  ["39", "SIGKILL at any moment"],
  ["40", "SIGKILL in alarm and sweep"],
  ["41", "a crash during recovery"],
  ["42", "two live incarnations"],
  ["43", "failure after the effect"],
  ["44", "object reset in flight"],
  ["45", "alarm twice, late, failing"],
  ["46", "the last unit, the last cent"],
  ["47", "refunds over the payment"],
  ["48", "the first request finishes after its retry"],
  ["49", "KEY_OBJECTS changed"],
  ["50", "connection lost after the commit"],
  ["51", "connection lost before the commit"],
  ["51a", "a batch delivered after its re-send"],
  ["51b", "a batch delivered twice"],
  ["51c", "the recovery read fails too"],
  ["51d", "one key of a group found, the others not"],
  ["52", "a constraint that no guard foresaw"],
  ["53", "object storage failing"],
  ["54", "D1 stalled or overloaded"],
  ["55", "answer over the limit"],
  ["56", "expiry to the millisecond"],
  ["57", "sweep meets in-flight"],
  ["58", "clock jumps"],
  ["59", "replayed headers"],
  ["60", "5xx before the effect"],
  ["61", "validation failure"],
  ["62", "business refusal"],
  ["63", "rate limited"],
  ["64", "binary and empty bodies and answers of an upstream"],
  ["65", "a flood of new keys"],
  ["66", "a flood without credentials"],
  ["67", "one hot key"],
  ["68", "what the log holds"],
  ["69", "erasure of an answer"],
  ["70", "stored text in the console"],
  ["71", "cells that are formulas"],
  ["72", "a double click on an action"],
  ["73", "a form from another site"],
  ["74", "an upstream that is not configured, a redirect"],
  ["75", "headers of one connection"],
  ["76", "the upstream does not answer in time"],
  ["77", "the upstream resets before or after its effect"],
  ["78", "an answer too large to store"],
  ["79", "D1 restored to an earlier time"],
  ["80", "two versions at once"],
  ["81", "a fingerprint of another version"],
  ["82", "a database is added"],
  ["83", "crash points in what is deployed"],
] as const;

const Report = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      assertionResults: z.array(
        z.object({ ancestorTitles: z.array(z.string()), title: z.string(), status: z.string() }),
      ),
    }),
  ),
});

type Shown = { readonly title: string; readonly file: string };

/** "36–41", "3, 4", "51a" at the start of a title, or of a group's. */
const numbersOf = (title: string): string[] => {
  const head =
    /^(\d+[a-d]?(?:\s*[,–-]\s*\d+[a-d]?)*)(?::| (?=SIGKILL|KEY_OBJECTS|with one object))/.exec(
      title,
    )?.[1];
  if (head === undefined) return [];
  return head.split(/\s*,\s*/).flatMap((part) => {
    const [from = "", to] = part.split(/\s*[–-]\s*/);
    if (to === undefined) return [from];
    return Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) =>
      String(Number(from) + i),
    );
  });
};

/** Seeds differ from run to run, and every value of a table of cases would be a line of its own. */
const withoutSeed = (title: string): string => title.replace(/ \(seed \d+\)$/, "");

const collect = (): Map<string, Shown[]> => {
  const path = join(root, ".reports/vitest.json");
  if (!existsSync(path)) throw new Complaint("Run the tests first: vitest left no report.");
  const report = Report.parse(JSON.parse(readFileSync(path, "utf8")));
  const shown = new Map<string, Shown[]>();
  for (const { name, assertionResults } of report.testResults) {
    const file = relative(join(root, "test"), name);
    for (const { ancestorTitles, title, status } of assertionResults) {
      if (status !== "passed") continue;
      const numbered = [title, ...ancestorTitles.toReversed()].find(
        (one) => numbersOf(one).length > 0,
      );
      if (numbered === undefined) continue;
      for (const number of numbersOf(numbered)) {
        const tests = shown.get(number) ?? [];
        tests.push({ title: withoutSeed(numbered), file });
        shown.set(number, tests);
      }
    }
  }
  return shown;
};

const LINES_PER_FAULT = 6;

const page = (shown: ReadonlyMap<string, readonly Shown[]>): string => {
  const lines = [
    "# Tests",
    "",
    "`npm test` runs all of them: `unit` (pure code, Node), `worker` (inside workerd, with real D1 and real object",
    "storage), `http` (the built Worker over sockets), `crash` (the server is killed with SIGKILL). Only clock, pauses and",
    "D1 faults are injected, by wrappers around the real binding. Random tests print their seed.",
    "",
    "Which test shows what each fault must get; written by `npm run faults` from the tests' own names, and checked by",
    "`npm test`. Of a fault with many tests the first few are listed, and how many there are.",
    "",
    "| | fault | tests | named |",
    "| --- | --- | --- | --- |",
  ];
  for (const [number, fault] of FAULTS) {
    const tests = shown.get(number) ?? [];
    const distinct = [
      ...new Map(tests.map((test) => [`${test.file} ${test.title}`, test])).values(),
    ].toSorted((a, b) => (`${a.file} ${a.title}` < `${b.file} ${b.title}` ? -1 : 1));
    const named = distinct
      .slice(0, LINES_PER_FAULT)
      .map(
        ({ title, file }) =>
          `${title.replaceAll("|", "\\|").replaceAll("<", "&lt;")} (\`${file}\`)`,
      );
    lines.push(`| ${number} | ${fault} | ${distinct.length} | ${named.join("<br>")} |`);
  }
  return `${lines.join("\n")}\n`;
};

await main(async () => {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  const shown = collect();
  const missing = FAULTS.filter(([number]) => (shown.get(number)?.length ?? 0) === 0);
  if (missing.length > 0) {
    throw new Complaint(`No passed test for: ${missing.map(([number]) => number).join(", ")}.`);
  }
  const path = join(root, "test/README.md");
  if (!values.check) {
    writeFileSync(path, page(shown));
    return;
  }
  const written = existsSync(path) ? readFileSync(path, "utf8") : "";
  const absent = FAULTS.filter(([number]) => !written.includes(`\n| ${number} | `));
  if (absent.length > 0)
    throw new Complaint("test/README.md is not up to date: run npm run faults.");
});
