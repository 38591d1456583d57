import { readFileSync, readdirSync } from "node:fs";
import { SignJWT } from "jose";
import { startBenchServer, bundleBenchWorker, TOKEN_SECRET } from "./server-prof.ts";
import { Connection, requestText } from "./load.ts";
const s = await startBenchServer(bundleBenchWorker(), process.argv[2] ?? "1");
const pid = readdirSync("/proc")
  .filter((p) => /^\d+$/.test(p))
  .map(Number)
  .find((p) => {
    try {
      const st = readFileSync(`/proc/${p}/stat`, "utf8");
      const cmd = readFileSync(`/proc/${p}/cmdline`, "utf8");
      return st.split(") ")[1]!.split(" ")[1] === String(process.pid) && cmd.includes("workerd");
    } catch {
      return false;
    }
  })!;
const cpu = () => {
  const f = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(f[11]) + Number(f[12])) * 10;
};
const token = await new SignJWT({ tenant: "bench", scope: "payments:write ledger:fund read" })
  .setProtectedHeader({ alg: "HS256" })
  .setIssuer("latchkey")
  .setSubject("b")
  .setJti("x")
  .setExpirationTime("6h")
  .sign(new TextEncoder().encode(TOKEN_SECRET));
const post = (path: string, key: string, body: unknown) =>
  requestText(
    "POST",
    path,
    {
      Authorization: `Bearer ${token}`,
      "Content-Type": "application/json",
      "Idempotency-Key": key,
    },
    JSON.stringify(body),
  );
let n = 0;
const key = () => `key-${String(n++).padStart(16, "0")}`;
const c0 = await Connection.open(s.port);
for (let i = 0; i < 100; i++) {
  await c0.send(post("/v1/accounts", key(), { id: `acc-${i}`, currency: "EUR" }));
  await c0.send(
    post("/v1/payments", key(), {
      source: "system:EUR",
      destination: `acc-${i}`,
      amountMinor: 1e9,
      currency: "EUR",
    }),
  );
}
c0.close();
const pay = () => {
  const a = Math.floor(Math.random() * 100);
  return {
    source: `acc-${a}`,
    destination: `acc-${(a + 1) % 100}`,
    amountMinor: 1,
    currency: "EUR",
  };
};
const keys: [string, unknown][] = [];
const run = async (name: string, count: number, conns: number, next: () => string) => {
  const cs = await Promise.all(Array.from({ length: conns }, () => Connection.open(s.port)));
  let left = count;
  const t = performance.now();
  const b = cpu();
  await Promise.all(
    cs.map(async (c) => {
      while (left-- > 0) {
        const a = await c.send(next());
        if (a.status !== 201) throw new Error(a.status + a.body);
      }
    }),
  );
  const ms = performance.now() - t;
  console.log(
    name,
    "cpu ms/req",
    ((cpu() - b) / count).toFixed(3),
    "req/s",
    ((count * 1000) / ms).toFixed(0),
  );
  cs.forEach((c) => c.close());
};

const list = (await (await fetch("http://127.0.0.1:9339/json")).json()) as any[];
console.log(list.map((l) => l.title + " " + l.webSocketDebuggerUrl));
await run("fresh ", 1000, 32, () => post("/v1/payments", key(), pay()));
for (const target of ["core:user:bench", "d1:db"]) {
  const ws = new WebSocket(
    list.find((l) => l.webSocketDebuggerUrl.endsWith("/" + target)).webSocketDebuggerUrl,
  );
  await new Promise((r) => (ws.onopen = r));
  let id = 0;
  const cmd = (method: string, params = {}) =>
    new Promise<any>((res) => {
      const my = ++id;
      const l = (e: any) => {
        const m = JSON.parse(e.data);
        if (m.id === my) {
          ws.removeEventListener("message", l);
          res(m.result);
        }
      };
      ws.addEventListener("message", l);
      ws.send(JSON.stringify({ id: my, method, params }));
    });
  await cmd("Profiler.enable");
  await cmd("Profiler.setSamplingInterval", { interval: 200 });
  await cmd("Profiler.start");
  await run("fresh ", 3000, 32, () => post("/v1/payments", key(), pay()));
  const { profile } = await cmd("Profiler.stop");
  const self = new Map<string, number>();
  const byId = new Map(profile.nodes.map((n: any) => [n.id, n]));
  const dt = profile.timeDeltas;
  let total = 0;
  profile.samples.forEach((sid: number, i: number) => {
    const n: any = byId.get(sid);
    const name =
      n.callFrame.functionName +
      " " +
      n.callFrame.url.split("/").pop() +
      ":" +
      n.callFrame.lineNumber +
      ":" +
      n.callFrame.columnNumber;
    self.set(name, (self.get(name) ?? 0) + dt[i]);
    total += dt[i];
  });
  const parent = new Map<number, any>();
  for (const n of profile.nodes) for (const c of n.children ?? []) parent.set(c, n);
  const incl = new Map<string, number>();
  profile.samples.forEach((sid: number, i: number) => {
    const seen = new Set<string>();
    for (let n: any = byId.get(sid); n; n = parent.get(n.id)) {
      const name =
        n.callFrame.functionName +
        " " +
        n.callFrame.url.split("/").pop() +
        ":" +
        n.callFrame.lineNumber;
      if (!seen.has(name)) {
        seen.add(name);
        incl.set(name, (incl.get(name) ?? 0) + dt[i]);
      }
    }
  });
  console.log("total ms", total / 1000);
  console.log(
    [...self]
      .sort((a, b) => b[1] - a[1])
      .slice(0, 25)
      .map(([n, t]) => (t / 3000).toFixed(1) + " us/req " + n)
      .join("\n"),
  );
  console.log("INCL");
  console.log(
    [...incl]
      .sort((a, b) => b[1] - a[1])
      .slice(0, 60)
      .map(([n, t]) => (t / 3000).toFixed(1) + " us/req " + n)
      .join("\n"),
  );
}
await s.stop();
process.exit(0);
