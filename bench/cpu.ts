import { readFileSync, readdirSync } from "node:fs";
import { SignJWT } from "jose";
import { startBenchServer, bundleBenchWorker, TOKEN_SECRET } from "./server.ts";
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
for (let r = 0; r < 3; r++) {
  await run("naive ", 2000, 32, () => post("/bench/naive/payments", key(), pay()));
  await run("fresh ", 2000, 32, () => {
    const k = key(),
      b = pay();
    keys.push([k, b]);
    return post("/v1/payments", k, b);
  });
  await run("replay", 2000, 32, () => {
    const [k, b] = keys[Math.floor(Math.random() * keys.length)]!;
    return post("/v1/payments", k, b);
  });
  await run("empty ", 2000, 32, () => post("/bench/empty/payments", key(), pay()));
}
await s.stop();
process.exit(0);
