/**
 * The Worker that is measured: the product, and beside it, in the same workerd, what it is compared with.
 *
 * - `POST /bench/naive/payments`: the same authentication, reading, validation and SQL effects in one D1 batch,
 *   with no idempotency at all;
 * - `POST /bench/empty/payments`: the same route up to the key object, which then returns a constant;
 * - `POST /bench/counters`: what D1 and the objects' SQL cursors say they wrote;
 * - `POST /bench/timeline`: from when to when each payment waited in its object, and each group was on its way to D1,
 *   since it was last asked;
 * - `POST /bench/fill`: makes copies of one answered key, in the journal and in the object's table;
 * - `POST /bench/hold/{ms}`: a keyed operation that stays in flight so long before it commits;
 * - `POST /bench/restart`: ends an object's life, and takes away its copies if asked.
 */
import type { DurableObject } from "cloudflare:workers";
import { createApp } from "../src/app.ts";
import type { Bindings } from "../src/env.ts";
import { admit } from "../src/http/access.ts";
import type { HttpContext } from "../src/http/context.ts";
import { checkMediaType, decodeText, readBytes } from "../src/http/json-body.ts";
import { keyedOperation } from "../src/http/keyed-operation.ts";
import { classifyFailure } from "../src/journal/database.ts";
import { IdSource, systemRandomness, timeOrderedId } from "../src/kernel/ids.ts";
import { parseJson } from "../src/kernel/json.ts";
import type { KeyCall, KeyReply } from "../src/objects/key-call.ts";
import { keyObjectFor } from "../src/objects/key-object.ts";
import { objectFor } from "../src/objects/routing.ts";
import { RevocationObject } from "../src/objects/revocation-object.ts";
import { AdvisorObject } from "../src/objects/advisor-object.ts";
import { TenantObject } from "../src/objects/tenant-object.ts";
import { z } from "zod";
import { createPayment } from "../src/operations/create-payment.ts";
import { defineOperation } from "../src/operations/define-operation.ts";
import { operations, queries } from "../src/operations/registry.ts";
import type { Timeline } from "./counters.ts";

/** In flight for as long as the path says; it changes nothing. */
const hold = defineOperation({
  name: "bench.hold",
  method: "POST",
  path: "/bench/hold/{ms}",
  summary: "Stay in flight",
  scope: "payments:write",
  params: z.strictObject({ ms: z.string().regex(/^\d{1,5}$/) }),
  input: z.strictObject({}),
  output: z.object({}),
  refusals: {},
  read: (_input, _reader, { params }) => scheduler.wait(Number(params.ms)),
  plan: () => ({
    guards: [],
    effects: [],
    answer: { status: 201, link: "/bench/hold", body: {} },
  }),
});
const measured = [...operations, hold];

const counters = {
  d1Queries: 0,
  d1RowsWritten: 0,
  objectRowsWritten: 0,
  objectAlarmsSet: 0,
};

let timeline: Timeline = { payments: [], groups: [] };

/** A D1 binding that counts what its results report. */
const countingDatabase = (db: D1Database): D1Database => {
  const count = (result: D1Result): void => {
    counters.d1Queries += 1;
    counters.d1RowsWritten += result.meta.rows_written;
  };
  /** What each statement is one of, by how its text begins. */
  const kinds = new WeakMap<D1PreparedStatement, "claim" | "order">();
  const batch = async <Row>(statements: D1PreparedStatement[]): Promise<D1Result<Row>[]> => {
    const fromMs = Date.now();
    const results = await db.batch<Row>(statements);
    const of = (kind: string): number => statements.filter((one) => kinds.get(one) === kind).length;
    timeline.groups.push({
      span: [fromMs, Date.now()],
      orders: of("order"),
      operations: of("claim"),
    });
    results.forEach(count);
    return results;
  };
  // Reads go to the real binding: only their number would count, and they are none on the paths measured.
  const prepare = (text: string): D1PreparedStatement => {
    if (text.startsWith("SELECT")) counters.d1Queries += 1;
    const prepared = db.prepare(text);
    const kind = text.includes("INSERT INTO journal")
      ? "claim"
      : text.startsWith("INSERT INTO orders")
        ? "order"
        : undefined;
    if (kind === undefined) return prepared;
    const bind = (...values: unknown[]): D1PreparedStatement => {
      const bound = prepared.bind(...values);
      kinds.set(bound, kind);
      return bound;
    };
    return Object.assign(Object.create(prepared) as D1PreparedStatement, { bind });
  };
  return Object.assign(Object.create(db) as D1Database, { batch, prepare });
};

/** What is overridden here, as the method that it is. */
type Submits = { submit(call: KeyCall): Promise<KeyReply> };
const ProductKeyObject: new (
  ctx: DurableObjectState,
  env: Bindings,
) => DurableObject<Bindings> & Submits = keyObjectFor(measured);

/** The key object, counting, and with methods of the benchmark's own. */
export class KeyObject extends ProductKeyObject {
  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, { ...env, DB: countingDatabase(env.DB) });
    const { storage } = ctx;
    const exec = storage.sql.exec.bind(storage.sql);
    storage.sql.exec = <Row extends Record<string, SqlStorageValue>>(
      text: string,
      ...values: unknown[]
    ): SqlStorageCursor<Row> => {
      const cursor = exec<Row>(text, ...values);
      counters.objectRowsWritten += cursor.rowsWritten;
      return cursor;
    };
    const setAlarm = storage.setAlarm.bind(storage);
    storage.setAlarm = async (at, options) => {
      counters.objectAlarmsSet += 1;
      await setAlarm(at, options);
    };
  }

  override async submit(call: KeyCall): Promise<KeyReply> {
    const fromMs = Date.now();
    const reply = await super.submit(call);
    if (call.request.operation === createPayment.name) {
      timeline.payments.push([fromMs, Date.now()]);
    }
    return reply;
  }

  empty(): KeyReply {
    return EMPTY;
  }

  /** As many copies of the one under `template`, in one transaction. */
  fill(template: string, from: number, count: number): number {
    return this.ctx.storage.sql.exec(
      `INSERT INTO copies (key, tenant, epoch, due_at_s, copy) WITH RECURSIVE ${NUMBERS}
       SELECT ${FILL_KEY}, tenant, epoch, due_at_s, copy FROM numbers, copies WHERE key = ?3`,
      from,
      count,
      template,
    ).rowsWritten;
  }

  async restart(losingCopies: boolean): Promise<void> {
    if (losingCopies) {
      await this.ctx.storage.deleteAll();
      await this.ctx.storage.sync();
    }
    this.ctx.abort("The benchmark restarts this object.");
  }
}

const NUMBERS =
  "numbers(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?1 + ?2 - 1)";
const FILL_KEY = "printf('bench-fill-%012d', i)";

const EMPTY: KeyReply = {
  kind: "outcome",
  response: { status: 201, headers: { "content-type": "application/json" }, body: "{}" },
  expiresAtS: 4_000_000_000,
  replayed: false,
};

const naivePayment = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["payments:write"]);
  if (!admitted.ok) return admitted.failure;
  const media = checkMediaType(c.req.raw.headers);
  const bytes = await readBytes(c.req.raw);
  if (!media.ok || !bytes.ok) return c.json({ error: "body" }, 400);
  const text = decodeText(bytes.value);
  const body = text.ok ? parseJson(text.value) : text;
  if (!body.ok) return c.json({ error: "json" }, 400);
  const ready = createPayment.validate({}, body.value);
  if (!ready.ok) return c.json({ errors: ready.failure }, 400);
  const nowMs = Date.now();
  const plan = await ready.value.plan(noReads, {
    ids: new IdSource(() => timeOrderedId(nowMs, systemRandomness)),
    nowMs,
    key: "none",
  });
  const statements = plan.effects.map((effect) => {
    if (effect.kind !== "insert") throw new Error("A payment only inserts.");
    const row = { tenant: admitted.value.tenant, ...effect.row };
    const columns = Object.keys(row);
    return c.env.DB.prepare(
      `INSERT INTO ${effect.table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`,
    ).bind(...Object.values(row));
  });
  try {
    await c.env.DB.batch(statements);
  } catch (error) {
    if (classifyFailure(error).kind === "aborted") return c.json({ error: "refused" }, 402);
    throw error;
  }
  return c.json(plan.answer.body, 201, { Location: plan.answer.link });
};

const noReads = {
  rows: () => Promise.resolve([]),
  first: () => Promise.resolve(undefined),
};

type BenchStub = {
  readonly empty: () => Promise<KeyReply>;
  readonly fill: (template: string, from: number, count: number) => Promise<number>;
  readonly restart: (losingCopies: boolean) => Promise<void>;
};

/** The namespace is bound to our own class; the binding's type cannot say so. */
const stubOf = (c: HttpContext, tenant: string): BenchStub =>
  c.env.KEY_OBJECT.getByName(objectFor(tenant, "", 1)) as unknown as BenchStub;

const fill = async (c: HttpContext): Promise<Response> => {
  const { tenant, template, from, count } = await c.req.json<{
    tenant: string;
    template: string;
    from: number;
    count: number;
  }>();
  const written = await stubOf(c, tenant).fill(template, from, count);
  if (written !== count) return c.json({ error: `The object wrote ${written} rows.` }, 500);
  const [columns] = await c.env.DB.batch<{ name: string }>([
    c.env.DB.prepare("SELECT name FROM pragma_table_info('journal') WHERE name <> 'key'"),
  ]);
  const names = (columns?.results ?? []).map(({ name }) => name).join(", ");
  const { meta } = await c.env.DB.prepare(
    `INSERT INTO journal (key, ${names}) WITH RECURSIVE ${NUMBERS}
     SELECT ${FILL_KEY}, ${names} FROM numbers, journal WHERE tenant = ?4 AND key = ?3`,
  )
    .bind(from, count, template, tenant)
    .run();
  return c.json({ rowsWritten: meta.rows_written });
};

const restart = async (c: HttpContext): Promise<Response> => {
  const { tenant, losingCopies } = await c.req.json<{ tenant: string; losingCopies: boolean }>();
  // A call that ends the object it was made to is itself ended.
  await stubOf(c, tenant)
    .restart(losingCopies)
    .catch(() => undefined);
  return c.json({});
};

const app = createApp({ operations: measured, queries });
app.post("/bench/naive/payments", naivePayment);
app.post(
  "/bench/empty/payments",
  keyedOperation(createPayment, (stub) => (stub as unknown as BenchStub).empty()),
);
app.post("/bench/counters", (c) => c.json(counters));
app.post("/bench/timeline", (c) => {
  const noted = timeline;
  timeline = { payments: [], groups: [] };
  return c.json(noted);
});
app.post("/bench/fill", fill);
app.post("/bench/restart", restart);

export { AdvisorObject, RevocationObject, TenantObject };

export default app;
