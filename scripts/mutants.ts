/**
 * `npm run mutants`: changes the code that decides, one place at a time, and counts the changes that the unit tests
 * notice. What follows `--` goes to Stryker: `--mutate src/kernel/json.ts`, `--incremental`, `--concurrency 1`.
 *
 * Prints what survived, a table, and one line of JSON; a whole run from nothing writes it to mutants/latest.json as
 * well. Fails if fewer are killed than `break` in mutants/stryker.config.json asks for.
 */
import { type SpawnOptions, spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { Complaint, ended, main, root } from "./tool.ts";

const FOLDER = join(root, "mutants");
const REPORT = join(root, ".reports/mutants.json");
const STRYKER = join(FOLDER, "node_modules/@stryker-mutator/core");

/** Stryker's report, of the schema `mutation-testing-elements`; what is read of it. */
const Report = z.object({
  files: z.record(
    z.string(),
    z.object({
      source: z.string(),
      mutants: z.array(
        z.object({
          mutatorName: z.string(),
          replacement: z.string().optional(),
          status: z.enum([
            "Killed",
            "Timeout",
            "Survived",
            "NoCoverage",
            "RuntimeError",
            "CompileError",
            "Ignored",
            "Pending",
          ]),
          location: z.object({ start: z.object({ line: z.int(), column: z.int() }) }),
        }),
      ),
    }),
  ),
});
type Mutant = z.infer<typeof Report>["files"][string]["mutants"][number];

/** A change that the tests cannot even be started with says nothing of them, and is left out. */
type Count = {
  readonly mutants: number;
  readonly killed: number;
  readonly survived: number;
  /** Ran for ever, and was stopped: noticed as well. */
  readonly timeout: number;
  /** Per cent noticed, one decimal. */
  readonly score: number;
};

const count = (mutants: readonly Mutant[]): Count => {
  const having = (...statuses: readonly Mutant["status"][]): number =>
    mutants.filter(({ status }) => statuses.includes(status)).length;
  const killed = having("Killed");
  const timeout = having("Timeout");
  const survived = having("Survived", "NoCoverage");
  const all = killed + timeout + survived;
  return {
    mutants: all,
    killed,
    survived,
    timeout,
    score: all === 0 ? 100 : Math.floor(((killed + timeout) / all) * 1000) / 10,
  };
};

const node = async (args: readonly string[], options: SpawnOptions = {}): Promise<number> =>
  ended(spawn(process.execPath, args, { cwd: root, stdio: "inherit", ...options }));

/** The tester has a lock file of its own and is installed when it is first asked for. */
const install = async (): Promise<void> => {
  if (existsSync(join(STRYKER, "package.json"))) return;
  // npm names itself to the scripts that it runs.
  const npm = process.env["npm_execpath"];
  if (npm === undefined) throw new Complaint("Start it by npm: npm run mutants");
  const code = await node([npm, "ci", "--prefix", FOLDER, "--no-audit", "--no-fund"]);
  if (code !== 0) throw new Complaint("The packages of mutants/ could not be installed.");
};

const versionIn = (packageFolder: string): string =>
  z
    .object({ version: z.string() })
    .parse(JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"))).version;

const table = (rows: readonly (readonly [string, Count])[]): string => {
  const cells = [
    ["file", "mutants", "killed", "survived", "timeout", "score"],
    ...rows.map(([file, { mutants, killed, survived, timeout, score }]) => [
      file,
      ...[mutants, killed, survived, timeout].map(String),
      `${score.toFixed(1)} %`,
    ]),
  ];
  const widthOf = (column: number): number =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0));
  return cells
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widthOf(i)) : cell.padStart(widthOf(i) + 2)))
        .join(""),
    )
    .join("\n");
};

await main(async () => {
  const passedOn = process.argv.slice(2);
  await install();
  rmSync(REPORT, { force: true });
  const startedMs = Date.now();
  const code = await node([
    join(STRYKER, "bin/stryker.js"),
    "run",
    "mutants/stryker.config.json",
    ...passedOn,
  ]);
  if (!existsSync(REPORT)) throw new Complaint("Stryker left no report: see above.");

  const { files } = Report.parse(JSON.parse(readFileSync(REPORT, "utf8")));
  const byFile = Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const total = count(byFile.flatMap(([, { mutants }]) => mutants));

  for (const [file, { mutants, source }] of byFile) {
    const lines = source.split("\n");
    for (const { status, location, mutatorName, replacement = "" } of mutants) {
      if (status === "Killed" || status === "Timeout" || status === "Ignored") continue;
      const { line, column } = location.start;
      console.log(`${file}:${line}:${column} ${status} ${mutatorName}`);
      console.log(`  - ${lines[line - 1]?.slice(column - 1) ?? ""}`);
      console.log(`  + ${replacement}`);
    }
  }
  console.log();
  console.log(
    table([
      ...byFile.map(([file, { mutants }]) => [file, count(mutants)] as const),
      ["all", total],
    ]),
  );
  console.log(`\n${Math.round((Date.now() - startedMs) / 1000)} seconds`);

  if (!passedOn.some((option) => /^--(mutate|incremental|force)/.test(option))) {
    const latest = {
      date: new Date().toISOString().slice(0, 10),
      stryker: versionIn(STRYKER),
      vitest: versionIn(join(root, "node_modules/vitest")),
      seconds: Math.round((Date.now() - startedMs) / 1000),
      ...total,
      files: Object.fromEntries(byFile.map(([file, { mutants }]) => [file, count(mutants)])),
    };
    writeFileSync(join(FOLDER, "latest.json"), `${JSON.stringify(latest, null, 2)}\n`);
  }
  console.log(JSON.stringify(total));
  if (code !== 0) process.exitCode = 1;
});
