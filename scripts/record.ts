/**
 * What a long command has shown, kept in docs/evidence/ for the page that `npm run evidence` writes: the command that
 * anyone can repeat, the versions it ran with, and its figures.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { root } from "./tool.ts";

export const recordsFolder = join(root, "docs/evidence");

export const EvidenceRecord = z.object({
  command: z.string(),
  /** UTC, the day only: how long it takes is the machine's. */
  recordedOn: z.iso.date(),
  versions: z.record(z.string(), z.string()),
  figures: z.record(z.string(), z.json()),
});

type EvidenceRecord = z.output<typeof EvidenceRecord>;

/** @param command as it is typed, seed and all */
export const record = (
  name: string,
  command: string,
  figures: Readonly<Record<string, unknown>>,
): void => {
  const written = {
    command,
    recordedOn: new Date().toISOString().slice(0, 10),
    versions: versions(),
    figures,
  };
  mkdirSync(recordsFolder, { recursive: true });
  writeFileSync(join(recordsFolder, `${name}.json`), `${JSON.stringify(written, null, 2)}\n`);
};

/** What ran is what is installed. */
const versions = (): EvidenceRecord["versions"] => ({
  node: process.versions.node,
  ...Object.fromEntries(
    ["workerd", "miniflare", "wrangler", "hono", "zod"].map((name) => [name, versionOf(name)]),
  ),
});

const Manifest = z.object({ version: z.string() });

const versionOf = (name: string): string =>
  Manifest.parse(JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8")))
    .version;
