/**
 * One crash run of the gateway and of payouts: a server that is killed again and again in front of upstreams that fail by
 * seed, clients that carry on, and the verdict at the end.
 *
 * The policies' times are the production's in small, and in the same order: a call that is accepted late comes after the
 * call's time-out and after the first question, and before the quiet period has passed.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { mint } from "../../scripts/mint.ts";
import type { Build } from "./build.ts";
import { checkLedger, FINAL_WITHIN_MS } from "./crash-checker.ts";
import { Client, Clients, type Tenant } from "./crash-clients.ts";
import { checkGatewayRun, type GatewayVerdict } from "./crash-gateway-checker.ts";
import { History, type Operation, readHistory } from "./crash-history.ts";
import { Random } from "./crash-random.ts";
import { armingOf, type CrashPlan, isReached, withImbalances } from "./crash-run.ts";
import { type Arming, CrashServer, TOKEN_SECRET } from "./crash-server.ts";
import { CrashUpstream, UPSTREAM_KINDS, type UpstreamKind } from "./crash-upstream.ts";

export type GatewayPlan = Omit<CrashPlan, "expiry"> & {
  /** How the processor of payouts helps. */
  readonly processor: UpstreamKind;
};

/** Of all calls, so many go wrong at the upstream, in seven ways. */
const FAULTS = 0.25;
const TIMEOUT_MS = 400;
const LATE_MS = 1_000;
/** With the time-out, half a second more than the latest acceptance: a busy machine is late, too. */
const QUIET_MS = 1_500;
const PAUSE_MS = 150;
const HEAL = { attemptsMax: 20, elapsedSecondsMax: 300 };
/** There is business after the last restart, too, whatever the kills have left. */
const BEGUN_MIN = 100;
const BEGIN_WITHIN_MS = 3_000;
/** The journal follows what was told; what failed to reach it is due again after five seconds. */
const SETTLED_WITHIN_MS = 20_000;

const policyOf = (kind: UpstreamKind) => ({
  timeoutMs: TIMEOUT_MS,
  heal: HEAL,
  honoursKey: kind === "honours",
  ...(kind === "asks"
    ? { status: { path: "/keys/{key}", absenceIsFinal: true, quietMs: QUIET_MS } }
    : {}),
});

/** Runs to its end, whatever breaks; the folder is kept only if something did. */
export const runGatewayCrashes = async (
  build: Build,
  plan: GatewayPlan,
  afterKill: (kills: number) => void = () => undefined,
): Promise<GatewayVerdict> => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-crash-"));
  const random = new Random(plan.seed);
  const history = new History(join(folder, "history.jsonl"));
  const upstream = await CrashUpstream.start({
    seed: plan.seed,
    faults: FAULTS,
    lateMs: LATE_MS,
    processor: plan.processor,
    file: join(folder, "calls.jsonl"),
  });
  const server = new CrashServer(build, folder);
  const clients = new Clients({
    target: server,
    history,
    random: random.fork("clients"),
    home: HOME,
    moreScopes: "gateway:call",
    clientOf: (own, tenant, name) => new GatewayClient(own, tenant, name),
  });
  const imbalances: string[] = [];
  const vars = {
    CRASH_PAUSE_MS: String(PAUSE_MS),
    GATEWAY_ROUTES: JSON.stringify(
      UPSTREAM_KINDS.map((kind) => ({
        name: kind,
        path: `/${kind}/**`,
        upstream: upstream.origins[kind],
        auth: "jwt",
        ...policyOf(kind),
      })),
    ),
    PAYOUT_PROCESSOR_ORIGIN: upstream.origins.processor,
    PAYOUT_PROCESSOR_POLICY: JSON.stringify(policyOf(plan.processor)),
  };
  const start = async (arming?: Arming, last = false): Promise<void> => {
    const keyObjects =
      plan.mode === "changing" ? random.pick(["1", "3", "16", "per-key"]) : plan.mode;
    await server.start({ keyObjects, last, vars, ...(arming === undefined ? {} : { arming }) });
    history.write({ kind: "start", keyObjects });
  };
  try {
    history.write({ kind: "run", seed: plan.seed, mode: plan.mode });
    clients.start();
    for (const [i, kill] of plan.kills.entries()) {
      const arming = armingOf(kill, random);
      await start(arming);
      const reached = await isReached(server, arming, plan.reachWithinMs, random);
      await server.kill();
      history.write({ kind: "kill", point: (reached && arming?.point) || "any-moment" });
      imbalances.push(...checkLedger(server.copyDatabase()));
      afterKill(i + 1);
    }
    await start(undefined, true);
    const restartedAtMs = Date.now();
    while (clients.begun < BEGUN_MIN && Date.now() < restartedAtMs + BEGIN_WITHIN_MS) {
      await sleep(10);
    }
    upstream.heal();
    const lastFaultMs = Date.now();
    await clients.finish(lastFaultMs + FINAL_WITHIN_MS);
    await clients.askAgain();
    await settled(server);
    const listed = await uncertainKeys(server);
    await sleep(LATE_MS);
    await server.kill();
    const verdict = checkGatewayRun({
      history: readHistory(history.file),
      database: server.copyDatabase(),
      calls: upstream.calls(),
      effects: await upstream.effects(),
      listed,
      lastFaultMs,
      processor: plan.processor,
    });
    return withImbalances(verdict, imbalances, folder);
  } finally {
    await clients.stop();
    await server.close();
    upstream.stop();
    history.close();
  }
};

/** Where the gateway's own routes are. */
const HOME = "/_latchkey";

/** Until every outcome is in the journal, or the time is up: the checker finds what is not. */
const settled = async (server: CrashServer): Promise<void> => {
  const giveUpAtMs = Date.now() + SETTLED_WITHIN_MS;
  while (Date.now() < giveUpAtMs) {
    const [row] = await server.query(
      "SELECT COUNT(*) AS open FROM journal WHERE state = 'in-flight'",
    );
    if (row?.["open"] === 0) return;
    await sleep(100);
  }
};

const listPage = z.object({
  data: z.array(z.object({ tenant: z.string(), key: z.string() })),
  next: z.string().nullable(),
});

/** Every key on the operators' list, page by page. */
const uncertainKeys = async (server: CrashServer): Promise<Set<string>> => {
  const token = await mint({
    secret: TOKEN_SECRET,
    tenant: "operators",
    subject: "crash-operator",
    scope: "ops:read",
    ttlSeconds: 60 * 60,
  });
  const listed = new Set<string>();
  let after: string | null = "";
  while (after !== null) {
    const query = after === "" ? "" : `&after=${encodeURIComponent(after)}`;
    const url = new URL(`${HOME}/v1/ops/uncertain-keys?limit=50${query}`, server.url);
    const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
    const page: z.output<typeof listPage> = listPage.parse(await response.json());
    for (const { tenant, key } of page.data) listed.add(`${tenant} ${key}`);
    after = page.next;
  }
  return listed;
};

/** Calls of three upstreams, payouts, and payments beside them. */
class GatewayClient extends Client {
  readonly #draw: Random;
  readonly #whose: Tenant;
  #wishes = 0;
  readonly #tag: string;

  constructor(random: Random, tenant: Tenant, name: string) {
    super(random, tenant, name);
    this.#draw = random.fork("gateway");
    this.#whose = tenant;
    this.#tag = name;
  }

  override next(): Operation[] {
    this.#wishes += 1;
    const draw = this.#draw.next();
    if (draw < 0.6) return [this.#call(this.#draw.pick(UPSTREAM_KINDS))];
    return draw < 0.95 ? [this.#payout()] : this.funding().slice(0, 1);
  }

  #call(kind: UpstreamKind): Operation {
    const { tenant, key } = this.operation("call", "POST", "", {});
    const body = { reference: `${tenant}/${key}`, wish: this.#wishes, from: this.#tag };
    return { tenant, key, name: "call", method: "POST", path: `/${kind}/things`, body };
  }

  /** Now and then of more than there is. */
  #payout(): Operation {
    const { id: account, currency } = this.#draw.pick(this.#whose.accounts);
    const amountMinor = this.#draw.chance(0.03) ? 900_000_000 : this.#draw.int(1, 400);
    const { tenant, key } = this.operation("payout", "POST", "", {});
    const body = { account, amountMinor, currency, destination: `${tenant}/${key}` };
    return { tenant, key, name: "payout", method: "POST", path: "/v1/payouts", body };
  }
}
