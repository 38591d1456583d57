/**
 * An upstream's answer on its way into storage, chunk by chunk, so that no exchange holds more of it in memory than one
 * of them; and out again. One that fits a single chunk is kept in the exchange's own row.
 */
import { createHash } from "node:crypto";
import type { Upstream } from "../gateway/exchange.ts";
import { ANSWER_CHUNK_BYTES, GATEWAY_RESPONSE_BYTES_MAX } from "../kernel/limits.ts";
import type { Exchange } from "./exchange-record.ts";
import type { Exchanges } from "./exchanges.ts";

type ByteReader = {
  readonly read: () => Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  readonly cancel: () => Promise<void>;
};

/** What has come of an answer. */
export type Spooled =
  | { readonly kind: "whole"; readonly first: Uint8Array; readonly chunks: number }
  /** More than is kept: what is stored of it, what has just come, and the rest. */
  | {
      readonly kind: "oversize";
      readonly chunks: number;
      readonly pending: Uint8Array;
      readonly rest: ByteReader;
    };

const NOTHING: ByteReader = {
  read: () => Promise.resolve({ done: true }),
  cancel: () => Promise.resolve(),
};

/** Reads an answer to its end, or to the limit. Throws what the connection throws. */
export const spool = async (
  exchanges: Exchanges,
  key: string,
  response: Response,
  { kind }: Upstream,
): Promise<Spooled> => {
  // Empty, whatever coding it claims: there is nothing in it that the runtime could undo.
  if (kind === "origin" && response.headers.get("content-length") === "0") {
    await response.body?.cancel();
    return { kind: "whole", first: new Uint8Array(0), chunks: 0 };
  }
  // HTTP holds an origin to the length that it announces; another Worker may announce what it likes.
  if (kind === "origin" && isShort(response)) {
    return { kind: "whole", first: new Uint8Array(await response.arrayBuffer()), chunks: 0 };
  }
  const { body } = response;
  const reader: ByteReader = body === null ? NOTHING : body.getReader();
  let chunks = 0;
  let total = 0;
  let size = 0;
  let pieces: Uint8Array[] = [];
  for (;;) {
    const { value } = await reader.read();
    if (value === undefined) break;
    total += value.byteLength;
    size += value.byteLength;
    pieces.push(value);
    if (total > GATEWAY_RESPONSE_BYTES_MAX) {
      return { kind: "oversize", chunks, pending: joined(pieces, size), rest: reader };
    }
    if (size >= ANSWER_CHUNK_BYTES) {
      const bytes = joined(pieces, size);
      const whole = size - (size % ANSWER_CHUNK_BYTES);
      for (let at = 0; at < whole; at += ANSWER_CHUNK_BYTES) {
        exchanges.writeChunk(key, chunks, bytes.slice(at, at + ANSWER_CHUNK_BYTES));
        chunks += 1;
      }
      pieces = [bytes.slice(whole)];
      size -= whole;
    }
  }
  const last = joined(pieces, size);
  if (chunks === 0) return { kind: "whole", first: last, chunks: 0 };
  if (size > 0) {
    exchanges.writeChunk(key, chunks, last);
    chunks += 1;
  }
  return { kind: "whole", first: new Uint8Array(0), chunks };
};

/** Announced as one that fits a chunk, in bytes that the runtime does not unpack: then it is read at once. */
const isShort = ({ headers }: Response): boolean => {
  const length = headers.get("content-length");
  return (
    length !== null &&
    /^\d{1,6}$/.test(length) &&
    Number(length) <= ANSWER_CHUNK_BYTES &&
    headers.get("content-encoding") === null
  );
};

const joined = (pieces: readonly Uint8Array[], size: number): Uint8Array => {
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined) return only;
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes;
};

/** A stored answer: at once if it is small, else read from its rows as fast as the caller takes it. */
export const storedBody = (
  exchanges: Exchanges,
  exchange: Exchange,
): Uint8Array | ReadableStream<Uint8Array> => {
  const bytes = exchanges.answerOf(exchange);
  const { key } = exchange;
  // Beside chunks there are none, as there are of an answer without a body.
  if (bytes.byteLength > 0 || exchanges.chunk(key, 0) === undefined) return bytes;
  let place = 0;
  return new ReadableStream({
    type: "bytes",
    pull: (controller) => {
      const chunk = exchanges.chunk(key, place);
      place += 1;
      if (chunk !== undefined) controller.enqueue(chunk);
      else if (isWhole(exchanges, exchange)) controller.close();
      else controller.error(goneMeanwhile());
    },
  });
};

/** It may be erased, or expire, while somebody reads it: what they have had by then must not pass for all of it. */
const isWhole = (exchanges: Exchanges, { key, nonce }: Exchange): boolean => {
  const now = exchanges.find(key);
  return now?.nonce === nonce && now.left === "whole";
};

const goneMeanwhile = (): Error => new Error("The answer was erased while it was read.");

/** What is known of an answer that went through once, at its end. */
export type Passed = { readonly bytes: number; readonly sha256: string };

/**
 * The stream of an answer that is too large to keep, for its one caller: what is stored of it, then the rest as it
 * comes, counted and hashed on the way.
 * @param ended told once: of the whole answer, or null if it broke off or its caller went away
 */
export const passedBody = (
  exchanges: Exchanges,
  exchange: Exchange,
  { chunks, pending, rest }: Extract<Spooled, { kind: "oversize" }>,
  ended: (passed: Passed | null) => void,
): ReadableStream<Uint8Array> => {
  const hash = createHash("sha256");
  let bytes = 0;
  let place = 0;
  const next = async (): Promise<Uint8Array | undefined> => {
    if (place < chunks) {
      const chunk = exchanges.chunk(exchange.key, place);
      if (chunk === undefined || !isWhole(exchanges, exchange)) throw goneMeanwhile();
      return chunk;
    }
    return place === chunks ? pending : (await rest.read()).value;
  };
  return new ReadableStream({
    type: "bytes",
    pull: async (controller) => {
      let piece: Uint8Array | undefined;
      try {
        piece = await next();
      } catch (error) {
        ended(null);
        throw error;
      }
      place += 1;
      if (piece === undefined) {
        ended({ bytes, sha256: hash.digest("hex") });
        controller.close();
        return;
      }
      hash.update(piece);
      bytes += piece.byteLength;
      controller.enqueue(piece);
    },
    cancel: async () => {
      ended(null);
      await rest.cancel();
    },
  });
};
