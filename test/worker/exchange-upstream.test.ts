/** What goes to an upstream, and for how long it is listened to. */
import { describe, expect, it } from "vitest";
import { UPSTREAM_RETRY_AFTER_MS_MAX } from "../../src/kernel/limits.ts";
import type { UpstreamRequest } from "../../src/objects/exchange-upstream.ts";
import {
  ASKABLE,
  exchangeCall,
  PAUSE_MS,
  tenantOf,
  useExchanges,
  verdict,
} from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

describe("an upstream that says when to come back", () => {
  it.each([
    ["seconds, longer than the pause", () => "30", 30_000],
    ["seconds, shorter than the pause: ours stands", () => "0", PAUSE_MS],
    ["a date", (nowMs: number) => new Date(nowMs + 60_000).toUTCString(), 60_000],
    ["more than a client's patience", () => "86400", UPSTREAM_RETRY_AFTER_MS_MAX],
    ["nonsense", () => "soon", PAUSE_MS],
  ])("is heard, and so is its caller told: %s", async (_how, header, pauseMs) => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    // Dates have whole seconds.
    object.time.setTo(Math.ceil(object.time.nowMs / 1000) * 1000);
    const call = exchangeCall(tenantOf(), {
      policy: { heal: { attemptsMax: 3, elapsedMsMax: 3_600_000 } },
    });
    upstream.answer = () =>
      new Response(null, {
        status: 429,
        headers: { "retry-after": header(object.time.nowMs) },
      });
    expect(await object.exchange(call)).toMatchObject({
      code: "request-in-flight",
      afterMs: pauseMs,
    });
    upstream.answer = () => Response.json({});
    object.time.advance(pauseMs - 1);
    expect(verdict(await object.exchange(call))).toBe("request-in-flight");
    expect(upstream.calls).toBe(1);
    object.time.advance(1);
    expect(verdict(await object.exchange(call))).toBe(200);
    expect(upstream.calls).toBe(2);
  });
});

describe("the time of a call", () => {
  it("76: is over though the answer has begun: its last byte counts", async () => {
    const upstream = new Upstream();
    const signals: AbortSignal[] = [];
    const send = (_: unknown, [url, init]: UpstreamRequest): Promise<Response> => {
      const request = new Request(url, init);
      signals.push(request.signal);
      return upstream.handle(request);
    };
    upstream.answer = () =>
      new Response(
        new ReadableStream<Uint8Array>({
          start: (controller) => {
            controller.enqueue(new Uint8Array(10));
            signals.at(-1)?.addEventListener("abort", () => controller.error(new Error("aborted")));
          },
        }),
      );
    const object = incarnation({ upstream, parts: { send } });
    const call = exchangeCall(tenantOf());
    expect(verdict(await object.timedOut(call))).toBe("outcome-uncertain");
    expect(upstream.effectsOf(call.key)).toBe(1);
  });
});

describe("the question what became of a key", () => {
  it("74, 77: names the key as the upstream was told it, as one segment; follows no redirect, and sends no content", async () => {
    const upstream = new Upstream();
    upstream.faults.push("reset-before");
    const sent: UpstreamRequest[] = [];
    const send = (_: unknown, request: UpstreamRequest): Promise<Response> => {
      sent.push(request);
      return upstream.handle(new Request(...request));
    };
    const object = incarnation({ upstream, parts: { send } });
    const call = exchangeCall(tenantOf(), { policy: { status: ASKABLE } });
    const told = "../effects?x=1";
    const headers = call.request.headers.map(([name, value]): [string, string] => [
      name,
      name === "idempotency-key" ? told : value,
    ]);
    await object.exchange({ ...call, request: { ...call.request, headers } });
    await object.alarm();

    const [, question] = sent;
    expect(question?.[0]).toBe(`https://upstream.invalid/status/${encodeURIComponent(told)}`);
    expect(question?.[1]).toMatchObject({ redirect: "manual" });
    expect(question?.[1].method ?? "GET").toBe("GET");
    const names = [...new Headers(question?.[1].headers).keys()];
    expect(names).toEqual(["authorization"]);
    expect(sent[0]?.[1]).toMatchObject({ method: "POST", redirect: "manual" });
  });
});
