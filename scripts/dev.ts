/**
 * `npm run dev`: a working Latchkey on this machine, from nothing.
 *
 * Writes local secrets once, applies the migrations to a local D1, starts the Worker on 127.0.0.1
 * (port 8787, or another where that is taken; PORT asks for one), makes a demo tenant over the API
 * and prints requests to paste. State stays in .wrangler/. Ctrl-C ends all of it.
 *
 * `npm run dev -- --upstream http://127.0.0.1:8788` puts the gateway in front of that API instead; `--routes FILE` takes
 * its routes from a JSON file.
 */
import type { ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { gatewayWalkthrough, seed, walkthrough } from "./demo.ts";
import { databases } from "./databases.ts";
import { ensureDevVars, tokenSecret } from "./secrets.ts";
import { collect, Complaint, ended, main, runQuietly, start, stopGroup } from "./tool.ts";

const HOST = "127.0.0.1";
const PORT_DEFAULT = 8787;
/** workerd starts in a second; a cold, busy machine bundles for much longer. */
const READY_TIMEOUT_MS = 60_000;
/** How long wrangler may take to leave before it is made to. */
const STOP_TIMEOUT_MS = 5_000;

await main(async () => {
  const { values: options } = parseArgs({
    options: { upstream: { type: "string" }, routes: { type: "string" } },
  });
  const isGateway = options.upstream !== undefined || options.routes !== undefined;
  const vars = [
    ...(options.upstream === undefined ? [] : ["--var", `UPSTREAM_ORIGIN:${options.upstream}`]),
    ...(options.routes === undefined
      ? []
      : ["--var", `GATEWAY_ROUTES:${readFileSync(options.routes, "utf8")}`]),
  ];
  if (ensureDevVars()) console.log("Wrote random local secrets to .dev.vars.");

  console.log("Applying migrations to the local database …");
  // By binding name: a database has no id until the first deployment, and needs none here.
  for (const name of databases()) {
    const migrated = await runQuietly("wrangler", ["d1", "migrations", "apply", name, "--local"]);
    if (migrated.code !== 0) throw new Complaint(`The migrations failed:\n${migrated.output}`);
  }

  const port = await choosePort();
  const url = `http://${HOST}:${port}`;
  console.log(`Starting the Worker on ${url} …`);
  const server = startServer(port, vars);
  const stopped = ended(server.process);
  const interrupted = stopOnSignal(server.process);
  try {
    await Promise.race([
      ready(isGateway ? `${url}/_latchkey` : url, server.output),
      stopped.then(() => {
        if (interrupted()) return;
        throw new Complaint(`wrangler ended before the Worker answered:\n${server.output()}`);
      }),
    ]);
    if (interrupted()) return;
    // Checked late: a Worker that refuses its secrets says so better than we would.
    const secret = tokenSecret();
    if (!isGateway) await seed(url, secret);

    console.log(`\nLatchkey is ready on ${url} — Ctrl-C stops it.\n`);
    console.log(isGateway ? gatewayWalkthrough(url) : await walkthrough(url, secret));
    console.log();
    server.show();
    await stopped;
  } finally {
    await stop(server.process, stopped);
  }
});

/** The Worker, with only warnings and errors of wrangler's, held back until `show`. */
function startServer(port: number, vars: readonly string[]) {
  const child = start(
    "wrangler",
    [
      "dev",
      "--ip",
      HOST,
      "--port",
      `${port}`,
      "--log-level",
      "warn",
      "--show-interactive-dev-session=false",
      ...vars,
    ],
    { stdio: ["ignore", "pipe", "pipe"], ownGroup: true },
  );
  const output = collect(child);
  return {
    process: child,
    output,
    show: () => {
      process.stderr.write(output());
      child.stdout?.pipe(process.stdout);
      child.stderr?.pipe(process.stderr);
    },
  };
}

/** Resolves when the Worker is up and its schema is whole, which is what /healthz tells. */
async function ready(url: string, output: () => string): Promise<void> {
  const giveUpAtMs = Date.now() + READY_TIMEOUT_MS;
  let last = "no answer";
  while (Date.now() < giveUpAtMs) {
    try {
      const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(5_000) });
      const body = await response.text();
      if (response.status === 200) return;
      last = `${response.status} ${body.slice(0, 2000)}`;
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    await sleep(200);
  }
  throw new Complaint(
    `GET ${url}/healthz was not 200 within ${READY_TIMEOUT_MS / 1000} s; the last answer: ${last}\n${output()}`,
  );
}

/** Passes Ctrl-C on. What it returns tells whether it has. */
function stopOnSignal(child: ChildProcess): () => boolean {
  let interrupted = false;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      interrupted = true;
      stopGroup(child, "SIGTERM");
    });
  }
  // Whatever ends this script, an exception included, leaves no server behind.
  process.once("exit", () => stopGroup(child, "SIGKILL"));
  return () => interrupted;
}

async function stop(child: ChildProcess, stopped: Promise<unknown>): Promise<void> {
  stopGroup(child, "SIGTERM");
  await Promise.race([stopped, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })]);
  stopGroup(child, "SIGKILL");
}

async function choosePort(): Promise<number> {
  const asked = process.env["PORT"];
  if (asked !== undefined) {
    const port = Number(asked);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new Complaint(`PORT is "${asked}", which is no port.`);
    }
    if ((await listen(port)) === undefined) throw new Complaint(`Port ${port} is taken.`);
    return port;
  }
  const port = (await listen(PORT_DEFAULT)) ?? (await listen(0));
  if (port === undefined) throw new Complaint(`No free port on ${HOST}.`);
  return port;
}

/** The port, if it could be listened on for a moment; 0 asks the system for any. */
async function listen(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(undefined));
    probe.listen(port, HOST, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" ? address?.port : undefined));
    });
  });
}
