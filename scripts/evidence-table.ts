/** What the long commands have shown, as Markdown for docs/evidence.md: read from what they recorded. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { EvidenceRecord, recordsFolder } from "./record.ts";
import { root } from "./tool.ts";

/** In the order of the page: the record's name, and what its command does. */
const SHOWN = [
  [
    "crash-1",
    "SIGKILL of the whole server, Node and workerd, at the labelled points and at any moment, one object for each tenant",
  ],
  ["crash-per-key", "the same with one object for each key"],
  ["crash-changing", "the same, with another `KEY_OBJECTS` in every life"],
  [
    "crash-gateway-1",
    "SIGKILL of the whole server between clients and upstreams that drop, reset, fail, delay and accept late, by seed: one that runs keys once, one that can be asked, one that does neither, and payouts by a processor of one of these kinds",
  ],
  ["crash-gateway-per-key", "the same with one object for each key"],
  ["crash-gateway-changing", "the same, with another `KEY_OBJECTS` in every life"],
  [
    "storage-faults",
    "batches and reads that are lost, late, repeated, turned away or stalled, object storage that fails, two incarnations of every object, over HTTP",
  ],
  ["model", "the product's own decisions in every order of events of a small world"],
  ["fuzz", "requests from the served OpenAPI document, good, broken and badly framed"],
  ["soak", "steady load with kills while keys expire, are swept and are forgotten"],
] as const;

/** A section for each record that is there. */
export const evidenceSections = (): string =>
  SHOWN.flatMap(([name, says]) => {
    const file = join(recordsFolder, `${name}.json`);
    if (!existsSync(file)) return [];
    const { command, recordedOn, versions, figures } = EvidenceRecord.parse(
      JSON.parse(readFileSync(file, "utf8")),
    );
    const named = Object.entries(versions).map(([part, version]) => `${part} ${version}`);
    return [
      `### ${name}`,
      `${capitalised(says)}.`,
      `\`\`\`sh\n${command}\n\`\`\``,
      linesOf(figures),
      `Recorded on ${recordedOn} with ${named.join(", ")}.`,
    ];
  }).join("\n\n");

/** What of the changes to the pure core the unit tests have noticed, from mutants/latest.json. */
export const mutantsTable = (): string => {
  const { files: _, ...figures } = Mutants.parse(
    JSON.parse(readFileSync(join(root, "mutants/latest.json"), "utf8")),
  );
  return linesOf(figures);
};

const Mutants = z.looseObject({ files: z.unknown() });

/** The benchmark's figures, as they stand in bench/latest.json. */
export const benchmarkTable = (): string => {
  const figures = JSON.parse(readFileSync(join(root, "bench/latest.json"), "utf8")) as Readonly<
    Record<string, number>
  >;
  return linesOf(figures);
};

type Figures = Readonly<Record<string, unknown>>;

const linesOf = (figures: Figures): string =>
  Object.entries(figures)
    .map(([name, value]) => `- \`${name}\`: ${valueOf(value)}`)
    .join("\n");

/** A list of samples becomes one line each, a record one line in all. */
const valueOf = (value: unknown): string => {
  if (Array.isArray(value)) return value.map((item) => `\n  - ${valueOf(item)}`).join("");
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .map(([name, part]) => `${name} ${valueOf(part)}`)
    .join(" · ");
};

const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
