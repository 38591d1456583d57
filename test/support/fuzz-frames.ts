/** One request in many frames: bodies in pieces, slow, cut off, with false lengths; and what is no HTTP at all. */
import type { Random } from "./crash-random.ts";
import { type Draft, rawOf } from "./fuzz-request.ts";
import { chunk, type RawRequest, requestBytes } from "./raw-http.ts";

export type Frame = {
  readonly is: string;
  /** Whether it is a request at all: what is not runs nothing. */
  readonly runs: boolean;
  readonly parts: readonly Uint8Array[];
  readonly pauseMs?: number;
};

export const framesOf = (origin: string, draft: Draft, random: Random): Frame[] => {
  const raw = rawOf(draft);
  const whole = requestBytes(origin, raw);
  const body = Buffer.from(draft.body ?? "");
  const chunked = (payload: Uint8Array, more: RawRequest["headers"] = []): Buffer =>
    requestBytes(origin, {
      ...raw,
      headers: [...draft.headers, ...more, ["Transfer-Encoding", "chunked"]],
      body: payload,
    });
  const sized = (length: string): Buffer =>
    requestBytes(origin, {
      ...raw,
      headers: [...draft.headers, ["Content-Length", length]],
    });
  const halves = [whole.subarray(0, -3), whole.subarray(-3)];
  return [
    { is: "chunked", runs: true, parts: [chunked(Buffer.concat([chunk(body), chunk("")]))] },
    {
      is: "in chunks of a byte",
      runs: true,
      parts: [chunked(Buffer.concat([...bytesOf(body).map(chunk), chunk("")]))],
    },
    {
      is: "chunked, with an extension and a trailer",
      runs: true,
      parts: [chunked(Buffer.concat([chunk(body), Buffer.from("0\r\nX-Trailer: 1\r\n\r\n")]))],
    },
    { is: "slow", runs: true, parts: halves, pauseMs: random.int(1, 300) },
    {
      is: "slow head",
      runs: true,
      parts: [whole.subarray(0, 30), whole.subarray(30)],
      pauseMs: 50,
    },
    { is: "cut off", runs: false, parts: [whole.subarray(0, -random.int(1, body.byteLength))] },
    { is: "cut off in the head", runs: false, parts: [whole.subarray(0, random.int(1, 60))] },
    { is: "chunked without an end", runs: false, parts: [chunked(chunk(body))] },
    {
      is: "chunks of no size",
      runs: false,
      parts: [chunked(Buffer.from(`zz\r\n${body.toString()}\r\n0\r\n\r\n`))],
    },
    {
      is: "chunks of a negative size",
      runs: false,
      parts: [chunked(Buffer.from("-1\r\n\r\n0\r\n\r\n"))],
    },
    {
      is: "chunks of a huge size",
      runs: false,
      parts: [chunked(Buffer.from("fffffffffffffffff\r\nx\r\n0\r\n\r\n"))],
    },
    {
      is: "too long a chunk size",
      runs: false,
      parts: [
        chunked(Buffer.from(`${body.byteLength.toString(16)}0\r\n${body.toString()}\r\n0\r\n\r\n`)),
      ],
    },
    { is: "a length too short", runs: false, parts: [sized(String(body.byteLength - 1))] },
    { is: "a length too long", runs: false, parts: [sized(String(body.byteLength + 10))] },
    ...[
      "-1",
      "abc",
      "1e2",
      "99999999999999999999",
      "",
      `${body.byteLength}, ${body.byteLength}`,
    ].map((length): Frame => ({
      is: `a length of ${length}`,
      runs: false,
      parts: [sized(length)],
    })),
    { is: "garbage", runs: false, parts: [Buffer.from([22, 3, 1, 0, 200, 1, 0, 0, 0])] },
    {
      is: "HTTP/9",
      runs: false,
      parts: [Buffer.from(whole.toString("latin1").replace("HTTP/1.1", "HTTP/9.1"), "latin1")],
    },
    {
      is: "a header with NUL",
      runs: false,
      parts: [
        requestBytes(origin, {
          ...raw,
          headers: [["X-A", "a\0b"], ...draft.headers],
        }),
      ],
    },
    {
      is: "a header name with a space",
      runs: false,
      parts: [requestBytes(origin, { ...raw, headers: [["X A", "b"], ...draft.headers] })],
    },
    {
      is: "a transfer coding that nobody has",
      runs: false,
      parts: [
        requestBytes(origin, {
          ...raw,
          headers: [...draft.headers, ["Transfer-Encoding", "gzip"]],
        }),
      ],
    },
  ];
};

const bytesOf = (bytes: Buffer): Buffer[] => Array.from(bytes, (byte) => Buffer.of(byte));
