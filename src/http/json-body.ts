/**
 * The body, read strictly: JSON in UTF-8, bounded while it streams in, decoded without replacement characters.
 * A lenient reader would let two different bodies become one.
 */
import { JSON_TYPE } from "../contract/headers.ts";
import type { ProblemCode } from "../contract/problems.ts";
import { BODY_BYTES_MAX } from "../kernel/limits.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";

export type BodyFailure = { readonly code: ProblemCode; readonly detail: string };

/** 415 before 413: judged from the headers alone. */
export const checkMediaType = (headers: Headers): Result<undefined, BodyFailure> => {
  const encoding = headers.get("content-encoding");
  if (encoding !== null && encoding.trim().toLowerCase() !== "identity") {
    return unsupported(`Content-Encoding ${encoding} is not decoded here.`);
  }
  const [type = "", ...parameters] = (headers.get("content-type") ?? "").toLowerCase().split(";");
  if (type.trim() !== JSON_TYPE) return unsupported("Send Content-Type: application/json.");
  for (const parameter of parameters) {
    const [name = "", value = ""] = parameter.split("=").map((part) => part.trim());
    if (name === "charset" && value.replaceAll('"', "") !== "utf-8") {
      return unsupported("The charset must be utf-8.");
    }
  }
  return succeed(undefined);
};

/** The bytes of the body, at most so many, whatever Content-Length says. */
export const readBytes = async (
  request: Request,
  bytesMax: number = BODY_BYTES_MAX,
): Promise<Result<Uint8Array, BodyFailure>> => {
  if (request.bodyUsed) {
    throw new Error(
      "The body was read before Latchkey saw it: clone the request in your middleware.",
    );
  }
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > bytesMax) return tooLarge(bytesMax);
  try {
    // The runtime holds a body to its announced length, so one read suffices; a stream costs much more.
    if (announced > 0) return succeed(new Uint8Array(await request.arrayBuffer()));
  } catch {
    return invalid("The body ended early.");
  }
  const stream: ReadableStream<Uint8Array> | null = request.body;
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of stream === null ? [] : piecesOf(stream)) {
      size += chunk.byteLength;
      if (size > bytesMax) return tooLarge(bytesMax);
      chunks.push(chunk);
    }
  } catch {
    return invalid("The body ended early.");
  }
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return succeed(only);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return succeed(bytes);
};

/** What the stream standard has, and the runtime, but not its types. */
type FillingReader = {
  readonly read: (
    view: Uint8Array<ArrayBuffer>,
    options: { readonly min: number },
  ) => Promise<ReadableStreamReadResult<Uint8Array>>;
  readonly cancel: () => Promise<void>;
};

/**
 * The stream in as few pieces as can be, and one that is too large not to its end. Each read waits for its turn, and a
 * caller may send a byte in each of thousands of chunks: one after the other, on a busy machine they take seconds.
 */
async function* piecesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  let reader: FillingReader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    // A stream that the host has made itself knows its own chunks only.
    yield* body;
    return;
  }
  const atMost = BODY_BYTES_MAX + 1;
  try {
    for (let done = false; !done;) {
      const piece = await reader.read(new Uint8Array(atMost), { min: atMost });
      done = piece.done;
      if (piece.value !== undefined && piece.value.byteLength > 0) yield piece.value;
    }
  } finally {
    await reader.cancel();
  }
}

/** `ignoreBOM` keeps the mark in the text, so that it can be refused instead of silently dropped. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const decodeText = (bytes: Uint8Array): Result<string, BodyFailure> => {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return invalid("The body is not valid UTF-8.");
  }
  return text.startsWith("\uFEFF")
    ? invalid("The body starts with a byte order mark.")
    : succeed(text);
};

const tooLarge = (bytesMax: number) =>
  fail({ code: "body-too-large", detail: `The body exceeds ${bytesMax} bytes.` } as const);

const unsupported = (detail: string) => fail({ code: "unsupported-media-type", detail } as const);

const invalid = (detail: string) => fail({ code: "request-invalid", detail } as const);
