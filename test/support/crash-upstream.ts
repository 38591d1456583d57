/**
 * The APIs behind the gateway in a crash run: demo upstreams in a process of their own, which no kill of the server
 * touches. What it writes down of calls, and what it says of effects, is all that the checker believes about them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { faultsBySeed, startUpstream } from "../../examples/upstream/upstream.ts";

/**
 * How an upstream helps: it runs a key once; it can be asked about a key, and its "not found" is final after a while; or
 * it does neither. `processor` is whichever of them sends the payouts.
 */
export const UPSTREAM_KINDS = ["honours", "asks", "neither"] as const;
export type UpstreamKind = (typeof UPSTREAM_KINDS)[number];
export const UPSTREAMS = [...UPSTREAM_KINDS, "processor"] as const;
export type UpstreamName = (typeof UPSTREAMS)[number];

type Start = {
  readonly seed: number;
  /** Of each call to go wrong. */
  readonly faults: number;
  readonly lateMs: number;
  readonly processor: UpstreamKind;
  readonly file: string;
};

const callLine = z.object({
  upstream: z.enum(UPSTREAMS),
  key: z.string().nullable(),
  fault: z.string().nullable(),
});
/** A call that arrived, whatever became of it; in order. */
export type UpstreamCall = z.output<typeof callLine>;

const effectsPage = z.object({
  effects: z.array(z.object({ id: z.string(), key: z.string().nullable(), body: z.string() })),
});
export type UpstreamEffect = z.output<typeof effectsPage>["effects"][number] & {
  readonly upstream: UpstreamName;
};

const origins = z.record(z.enum(UPSTREAMS), z.string());

/** The process, seen from the rig. */
export class CrashUpstream {
  readonly origins: Readonly<Record<UpstreamName, string>>;
  readonly #child: ChildProcess;
  readonly #file: string;

  private constructor(child: ChildProcess, at: z.output<typeof origins>, file: string) {
    this.#child = child;
    this.origins = at;
    this.#file = file;
  }

  static async start(start: Start): Promise<CrashUpstream> {
    const child = spawn(
      process.execPath,
      [fileURLToPath(import.meta.url), JSON.stringify(start)],
      // Its standard error is the rig's: a process that does not start says why.
      { stdio: ["ignore", "ignore", "inherit", "ipc"] },
    );
    const at = await new Promise<unknown>((resolve, reject) => {
      child.once("message", resolve);
      child.once("exit", () => reject(new Error("The upstream process has ended.")));
      child.once("error", reject);
    });
    return new CrashUpstream(child, origins.parse(at), start.file);
  }

  calls(): UpstreamCall[] {
    return readFileSync(this.#file, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => callLine.parse(JSON.parse(line)));
  }

  async effects(): Promise<UpstreamEffect[]> {
    const pages = await Promise.all(
      UPSTREAMS.map(async (upstream) => {
        const response = await fetch(`${this.origins[upstream]}/effects`);
        const page = effectsPage.parse(await response.json());
        return page.effects.map((effect) => ({ ...effect, upstream }));
      }),
    );
    return pages.flat();
  }

  /** From here on nothing goes wrong any more. */
  heal(): void {
    this.#child.send("heal");
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}

/** The process itself. */
const run = async (start: Start): Promise<void> => {
  const descriptor = openSync(start.file, "w");
  let isHealed = false;
  process.on("message", () => {
    isHealed = true;
  });
  const started = await Promise.all(
    UPSTREAMS.map(async (upstream, i) => {
      const kind = upstream === "processor" ? start.processor : upstream;
      const nextFault = faultsBySeed(start.seed + i, start.faults);
      const running = await startUpstream({
        nextFault: () => (isHealed ? undefined : nextFault()),
        honoursKey: kind === "honours",
        lateMs: start.lateMs,
        onCall: (call) => {
          writeSync(descriptor, `${JSON.stringify({ upstream, ...call })}\n`);
        },
      });
      return [upstream, running.origin] as const;
    }),
  );
  // Whoever started it is gone, however that came.
  process.on("disconnect", () => {
    closeSync(descriptor);
    process.exit(0);
  });
  process.send?.(Object.fromEntries(started));
};

const [, script, argument] = process.argv;
if (script === fileURLToPath(import.meta.url) && argument !== undefined) {
  await run(JSON.parse(argument) as Start);
}
