/**
 * HTTP/1.1 as bytes on a socket, for requests that a client library would tidy up or refuse to send: two
 * header lines of one name, bytes outside ASCII, paths with dots, bodies that end early or never, resets.
 * Nothing is corrected on the way out, and nothing is hidden on the way in.
 */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export type RawRequest = {
  readonly method: string;
  /** The request target, as it is to stand in the request line. */
  readonly target: string;
  /**
   * In this order, names as written, repeated as given. `Host` and `Connection: close` are added, unless they are among
   * them.
   */
  readonly headers: readonly (readonly [name: string, value: string | Uint8Array])[];
  /** Sent as it is. `Content-Length` is added unless the headers have one, or `Transfer-Encoding`. */
  readonly body?: string | Uint8Array;
};

export type RawAnswer = {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
};

/** How long a server may take over one request. */
const TIMEOUT_MS = 10_000;

/** A request as bytes. Text becomes UTF-8; for other bytes give a `Uint8Array`. */
export const requestBytes = (origin: string, { method, target, headers, body }: RawRequest) => {
  const payload = Buffer.from(body ?? "");
  const has = (name: string) => headers.some(([other]) => other.toLowerCase() === name);
  const framing =
    body === undefined || has("content-length") || has("transfer-encoding")
      ? []
      : [["Content-Length", String(payload.byteLength)] as const];
  const lines = [
    ...(has("host") ? [] : [["Host", new URL(origin).host] as const]),
    ...(has("connection") ? [] : [["Connection", "close"] as const]),
    ...framing,
    ...headers,
  ].flatMap(([name, value]) => [Buffer.from(`${name}: `), Buffer.from(value), CRLF]);
  return Buffer.concat([Buffer.from(`${method} ${target} HTTP/1.1\r\n`), ...lines, CRLF, payload]);
};

const CRLF = Buffer.from("\r\n");

/** The value as bytes of ISO-8859-1, one byte a character, as old clients send it. */
export const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1");

/** One chunk of a `Transfer-Encoding: chunked` body. An empty one ends the body. */
export const chunk = (data: string | Uint8Array): Buffer => {
  const bytes = Buffer.from(data);
  return Buffer.concat([Buffer.from(`${bytes.byteLength.toString(16)}\r\n`), bytes, CRLF]);
};

/** Sends a request and reads the answer to its end. Rejects if the connection closes without one. */
export const exchange = async (origin: string, request: RawRequest): Promise<RawAnswer> => {
  const answer = await exchangeBytes(origin, requestBytes(origin, request));
  if (answer === undefined) throw new Error("The server closed the connection without an answer.");
  return answer;
};

/**
 * Sends bytes and closes our side (FIN), so that what is missing will never come. Undefined if the server
 * closed, or broke off, without an answer.
 */
export const exchangeBytes = async (
  origin: string,
  bytes: Uint8Array,
): Promise<RawAnswer | undefined> => (await exchangeParts(origin, [bytes]))[0];

/** Sends part after part, with a pause between them, then FIN; every answer that came, in order. */
export const exchangeParts = async (
  origin: string,
  parts: readonly Uint8Array[],
  pauseMs = 0,
): Promise<RawAnswer[]> => {
  const socket = await open(origin);
  const received: Buffer[] = [];
  socket.on("data", (data: Buffer) => received.push(data));
  const over = closed(socket);
  for (const [i, part] of parts.entries()) {
    if (i > 0) await sleep(pauseMs);
    if (socket.destroyed) break;
    if (i === parts.length - 1) socket.end(part);
    else socket.write(part);
  }
  await over;
  return parseAnswers(Buffer.concat(received));
};

/**
 * Sends the head of a request and then part after part for as long as the server listens; tells what it
 * answered, and how many parts it was given by then.
 */
export const exchangeEndlessly = async (
  origin: string,
  head: Uint8Array,
  part: Uint8Array,
  partsMax: number,
): Promise<{ readonly answer: RawAnswer | undefined; readonly parts: number }> => {
  const socket = await open(origin);
  const received: Buffer[] = [];
  socket.on("data", (data: Buffer) => received.push(data));
  const over = closed(socket);
  socket.write(head);
  let parts = 0;
  while (parts < partsMax && received.length === 0 && !socket.destroyed) {
    parts += 1;
    // Whoever does not listen any more does not take it either.
    if (!socket.write(part)) await firstOf(socket, ["drain", "data", "close"]);
  }
  socket.end();
  await over;
  return { answer: parseAnswers(Buffer.concat(received))[0], parts };
};

/** Sends bytes. What it returns breaks the connection off with a reset (RST), not with a polite FIN. */
export const sendThenReset = async (origin: string, bytes: Uint8Array): Promise<() => void> => {
  const socket = await open(origin);
  await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
  return () => socket.resetAndDestroy();
};

const open = async (origin: string): Promise<Socket> => {
  const { hostname, port } = new URL(origin);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  // What goes wrong later shows in `closed` and in what was received.
  socket.on("error", () => undefined);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return socket;
};

const closed = async (socket: Socket): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.setTimeout(TIMEOUT_MS, () => {
      socket.destroy();
      reject(new Error(`The server said nothing for ${TIMEOUT_MS / 1000} s.`));
    });
    socket.once("close", () => resolve());
  });

const firstOf = async (socket: Socket, events: readonly string[]): Promise<void> =>
  new Promise((resolve) => {
    const happened = (): void => {
      for (const event of events) socket.off(event, happened);
      resolve();
    };
    for (const event of events) socket.on(event, happened);
  });

/** Answers one after another; interim ones (1xx) are not among them. */
const parseAnswers = (bytes: Buffer): RawAnswer[] => {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return [];
  const [statusLine = "", ...lines] = bytes.subarray(0, headEnd).toString("latin1").split("\r\n");
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const status = Number(statusLine.split(" ")[1]);
  const rest = bytes.subarray(headEnd + 4);
  if (status < 200) return parseAnswers(rest);
  // RFC 9110 section 15.3.5: it ends with its head.
  if (status === 204) return [{ status, headers, text: "" }, ...parseAnswers(rest)];
  const { body, length } =
    headers.get("transfer-encoding") === "chunked"
      ? unchunk(rest)
      : sized(rest, Number(headers.get("content-length") ?? rest.byteLength));
  return [{ status, headers, text: body.toString("utf8") }, ...parseAnswers(rest.subarray(length))];
};

const sized = (bytes: Buffer, length: number) => ({ body: bytes.subarray(0, length), length });

const unchunk = (bytes: Buffer): { readonly body: Buffer; readonly length: number } => {
  const pieces: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf("\r\n", at);
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString("latin1"), 16);
    if (lineEnd < 0 || !(size > 0)) {
      return { body: Buffer.concat(pieces), length: lineEnd < 0 ? bytes.byteLength : lineEnd + 4 };
    }
    pieces.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
};
