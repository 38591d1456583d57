/** Stuck work taken up again on somebody's word: what the alarm would do, now, and never more than the policy allows. */
import { describe, expect, it } from "vitest";
import { ANSWER_CHUNK_BYTES } from "../../src/kernel/limits.ts";
import type { Resolution } from "../../src/objects/exchange-call.ts";
import type { UpstreamRequest } from "../../src/objects/exchange-upstream.ts";
import type { RedriveBy } from "../../src/objects/key-call.ts";
import { until } from "../support/faulty-database.ts";
import {
  ASKABLE,
  exchangeCall,
  type ExchangeCallOptions,
  type ExchangeIncarnation,
  rowOf,
  tenantOf,
  useExchanges,
  verdict,
} from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

const redrive = (object: ExchangeIncarnation, key: string, by: RedriveBy = "operator") =>
  object.run((engine) => engine.redrive(key, by));

/** An exchange whose first call was answered as said, and where it stands then. */
const begun = async (
  policy: NonNullable<ExchangeCallOptions["policy"]>,
  fault: Upstream["faults"][number],
  stands: string,
) => {
  const upstream = new Upstream();
  upstream.honoursKeys = policy.honoursKey === true;
  upstream.faults.push(fault);
  const signals: AbortSignal[] = [];
  const send = (_: unknown, [url, init]: UpstreamRequest): Promise<Response> => {
    const request = new Request(url, init);
    signals.push(request.signal);
    return upstream.handle(request);
  };
  const object = incarnation({ upstream, parts: { send } });
  const call = exchangeCall(tenantOf(), { policy });
  expect(verdict(await object.exchange(call))).toBe(stands);
  await object.settled();
  return { upstream, object, call, signals };
};

/** Could be asked, and knew of nothing for as long as it was asked by itself. */
const givenUp = async (absenceIsFinal = true) => {
  const made = await begun(
    {
      status: { path: "/status/{key}", absenceIsFinal, quietMs: 0 },
      heal: { attemptsMax: 1, elapsedMsMax: -1 },
    },
    "reset-after",
    "outcome-uncertain",
  );
  expect(made.upstream.questions).toBe(0);
  made.upstream.answer = (key) => Response.json({ made: key });
  return made;
};

const say: Resolution = {
  outcome: {
    kind: "executed",
    status: 201,
    headers: [],
    body: new TextEncoder().encode("said"),
    link: null,
  },
  record: {
    outcome: "executed",
    status: 201,
    digest: "d1",
    reason: "r",
    by: "latchkey/ada",
    atMs: 1,
  },
};

describe("an exchange that is stuck", () => {
  it("is sent again now where the upstream runs a key once, with its original key, and is done", async () => {
    const { upstream, object, call } = await begun(
      { honoursKey: true },
      "reset-after",
      "request-in-flight",
    );
    expect(await redrive(object, call.key)).toBe("taken-up");
    expect(upstream.calls).toBe(2);
    expect(upstream.effectsOf(call.key)).toBe(1);
    await object.settled();
    expect(await rowOf(call)).toMatchObject({ state: "final", status: 201 });
    expect(await redrive(object, call.key)).toBe("nothing-open");
    expect(upstream.calls).toBe(2);
  });

  it("76: is never sent again by anybody where that could be a second effect", async () => {
    const { upstream, object, call } = await begun({}, "reset-after", "outcome-uncertain");
    for (const by of ["operator", "reconciliation", "operator"] as const) {
      expect(await redrive(object, call.key, by)).toBe("uncertain");
    }
    expect(upstream.calls).toBe(1);
    expect(await rowOf(call)).toMatchObject({ state: "uncertain" });
  });

  it("two clicks and the alarm at once are one call", async () => {
    const { upstream, object, call } = await begun({ honoursKey: true }, 500, "request-in-flight");
    upstream.faults.push("hang");
    const first = redrive(object, call.key);
    await until(() => upstream.calls === 2);
    expect(await redrive(object, call.key)).toBe("running");
    object.time.advance(60_000);
    await object.alarm();
    expect(upstream.calls).toBe(2);
    upstream.release();
    expect(await first).toBe("taken-up");
    expect(upstream.effectsOf(call.key)).toBe(1);
  });

  it("whose outcome the journal has not been told yet is settled", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    upstream.release();
    object.db.always("lost-before", "lost");
    expect(await first).toMatchObject({ status: 201 });
    await object.settled();
    object.db.heal();
    expect(await rowOf(call)).toMatchObject({ state: "in-flight" });
    expect(await redrive(object, call.key)).toBe("taken-up");
    expect(await rowOf(call)).toMatchObject({ state: "final", status: 201 });
    expect(upstream.calls).toBe(1);
  });

  it("is left to its own time by the reconciliation if it is to be sent, and asked for if it can be", async () => {
    const toSend = await begun({ honoursKey: true }, 500, "request-in-flight");
    expect(await redrive(toSend.object, toSend.call.key, "reconciliation")).toBe("running");
    expect(toSend.upstream.calls).toBe(1);
    const toAsk = await begun({ status: ASKABLE }, 500, "request-in-flight");
    const before = toAsk.upstream.questions;
    expect(await redrive(toAsk.object, toAsk.call.key, "reconciliation")).toBe("taken-up");
    expect(toAsk.upstream.questions).toBe(before + 1);
    expect(toAsk.upstream.calls).toBe(1);
  });
});

describe("an uncertain key whose upstream can be asked", () => {
  it("77: has the outcome that the upstream tells later, and is not sent again", async () => {
    const { upstream, object, call } = await givenUp();
    // So late that the key's life would be over.
    object.time.advance(5 * 3_600_000);
    expect(await redrive(object, call.key, "reconciliation")).toBe("taken-up");
    await object.settled();
    expect(await rowOf(call)).toMatchObject({ state: "final", status: 200 });
    expect(await object.exchange(call)).toMatchObject({ kind: "answer", replayed: true });
    expect(upstream.calls).toBe(1);
    expect(upstream.requests.at(-1)?.headers.get("authorization")).toBe("Bearer upstream");
  });

  it("77: is free if the upstream's absence is final, and stays uncertain if it is not", async () => {
    for (const absenceIsFinal of [true, false]) {
      const { upstream, object, call } = await givenUp(absenceIsFinal);
      upstream.effects.clear();
      object.time.advance(60_000);
      await redrive(object, call.key, "reconciliation");
      await object.settled();
      expect((await rowOf(call))?.state).toBe(absenceIsFinal ? undefined : "uncertain");
      expect(upstream.calls).toBe(1);
    }
  });

  it("stays uncertain while the upstream says nothing of use, however often it is asked", async () => {
    const { upstream, object, call } = await givenUp();
    upstream.effects.clear();
    // It is well, so that nothing keeps the questions from it.
    upstream.statusOfUnknown = 403;
    for (let asked = 1; asked <= 3; asked++) {
      expect(await redrive(object, call.key)).toBe("uncertain");
      expect(upstream.questions).toBe(asked);
    }
    upstream.effects.set(call.key, 1);
    expect(await redrive(object, call.key)).toBe("taken-up");
  });

  it("76: a person's word ends a question that is under way, and no byte of that is in what retries get", async () => {
    const { upstream, object, call, signals } = await givenUp();
    let isSent = false;
    // More than is kept in one piece, and then nothing more, until it is given up.
    upstream.answer = () =>
      new Response(
        new ReadableStream<Uint8Array>({
          start: (controller) => {
            controller.enqueue(new Uint8Array(ANSWER_CHUNK_BYTES + 1));
            signals.at(-1)?.addEventListener("abort", () => controller.error(new Error("aborted")));
            isSent = true;
          },
        }),
        { status: 200 },
      );
    const asked = redrive(object, call.key);
    await until(() => isSent);
    await scheduler.wait(20);
    // Of one that says nothing more, every byte that is told would be of the other.
    const executed: Resolution["outcome"] = {
      kind: "executed",
      status: 201,
      headers: [],
      body: new Uint8Array(0),
      link: null,
    };
    const said = { ...say, outcome: executed };
    expect(await object.run((engine) => engine.resolve(call.tenant, call.key, said))).toEqual({
      kind: "resolved",
    });
    expect(signals.at(-1)?.aborted).toBe(true);
    await asked;
    expect(await object.exchange(call)).toMatchObject({ kind: "answer", status: 201, text: "" });
  });
});
