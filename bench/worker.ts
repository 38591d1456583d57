/**
 * The Worker that is measured: the product, and beside it, in the same workerd, what it is compared with.
 *
 * - `POST /bench/naive/payments`: the same authentication, reading, validation and SQL effects in one D1 batch,
 *   with no idempotency at all;
 * - `POST /bench/empty/payments`: the same route up to the key object, which then returns a constant;
 * - `GET /bench/counters`: what D1 and the objects' SQL cursors say they wrote.
 */
import { createApp } from "../src/app.ts";
import type { Bindings } from "../src/env.ts";
import { admit } from "../src/http/access.ts";
import type { HttpContext } from "../src/http/context.ts";
import { checkMediaType, decodeText, readBytes } from "../src/http/json-body.ts";
import { keyedOperation } from "../src/http/keyed-operation.ts";
import { classifyFailure } from "../src/journal/database.ts";
import { IdSource, systemRandomness, timeOrderedId } from "../src/kernel/ids.ts";
import { parseJson } from "../src/kernel/json.ts";
import type { KeyReply } from "../src/objects/key-call.ts";
import { keyObjectFor } from "../src/objects/key-object.ts";
import { RevocationObject } from "../src/objects/revocation-object.ts";
import { createPayment } from "../src/operations/create-payment.ts";
import { operations, queries } from "../src/operations/registry.ts";

const counters = {
  d1Queries: 0,
  d1RowsWritten: 0,
  objectRowsWritten: 0,
  objectAlarmsSet: 0,
};

/** A D1 binding that counts what its results report. */
const countingDatabase = (db: D1Database): D1Database => {
  const count = (result: D1Result): void => {
    counters.d1Queries += 1;
    counters.d1RowsWritten += result.meta.rows_written;
  };
  const batch = async <Row>(statements: D1PreparedStatement[]): Promise<D1Result<Row>[]> => {
    const results = await db.batch<Row>(statements);
    results.forEach(count);
    return results;
  };
  // Reads go to the real binding: only their number would count, and they are none on the paths measured.
  const prepare = (text: string): D1PreparedStatement => {
    if (text.startsWith("SELECT")) counters.d1Queries += 1;
    return db.prepare(text);
  };
  return Object.assign(Object.create(db) as D1Database, { batch, prepare });
};

/** The key object, counting, and with a method that does nothing. */
export class KeyObject extends keyObjectFor(operations) {
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

  empty(): KeyReply {
    return EMPTY;
  }
}

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

type EmptyStub = { readonly empty: () => Promise<KeyReply> };

const app = createApp({ operations, queries });
app.post("/bench/naive/payments", naivePayment);
app.post(
  "/bench/empty/payments",
  keyedOperation(createPayment, (stub) => (stub as unknown as EmptyStub).empty()),
);
app.get("/bench/counters", (c) => c.json(counters));

export { RevocationObject };

export default app;
