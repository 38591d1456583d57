/** A load of HTTP/1.1 requests over keep-alive sockets, one at a time on each: cheap enough not to be what is measured. */
import { connect, type Socket } from "node:net";

export type Answer = { readonly status: number; readonly body: string };

/** What to send next on a connection: the whole request as text. */
export type NextRequest = () => string;

export const requestText = (
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: string,
): string => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${lines.join("")}\r\n${body}`;
};

/** One keep-alive connection. */
export class Connection {
  readonly #socket: Socket;
  #received = "";
  #waiting: ((answer: Answer) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      this.#received += text;
      this.#deliver();
    });
    socket.on("close", () => this.#failed?.(new Error("The connection was closed.")));
    socket.on("error", (error) => this.#failed?.(error));
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => resolve(new Connection(socket)));
      socket.once("error", reject);
    });
  }

  send(request: string): Promise<Answer> {
    if (this.#socket.destroyed) return Promise.reject(new Error("The connection was closed."));
    return new Promise((resolve, reject) => {
      this.#waiting = resolve;
      this.#failed = reject;
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#failed = undefined;
    this.#socket.destroy();
  }

  /** Every answer that is measured has a Content-Length, or is chunked and ends with the empty chunk. */
  #deliver(): void {
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const head = this.#received.slice(0, headEnd);
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    const start = headEnd + 4;
    let end: number;
    if (length === undefined) {
      const last = this.#received.indexOf("0\r\n\r\n", start);
      if (last < 0) return;
      end = last + 5;
    } else {
      end = start + Number(length);
      if (this.#received.length < end) return;
    }
    const answer = { status: Number(head.slice(9, 12)), body: this.#received.slice(start, end) };
    this.#received = this.#received.slice(end);
    this.#waiting?.(answer);
  }
}

export type Measurement = {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly statuses: Readonly<Record<number, number>>;
};

/**
 * Sends as fast as answers come, on every connection, for a while.
 * @param uncountedMs before that, the same without being counted: callers that all begin at once are in step at first
 */
export const measure = (
  port: number,
  count: number,
  next: NextRequest,
  durationMs: number,
  uncountedMs = 0,
): Promise<Measurement> => {
  const until = performance.now() + uncountedMs + durationMs;
  return measureUntil(port, count, next, () => performance.now() >= until, uncountedMs);
};

/** The same until something is over. */
export const measureUntil = async (
  port: number,
  count: number,
  next: NextRequest,
  isOver: () => boolean,
  uncountedMs = 0,
): Promise<Measurement> => {
  // New ones each time: the server closes a connection that was idle for some seconds.
  const connections = await Promise.all(Array.from({ length: count }, () => Connection.open(port)));
  const times: number[] = [];
  const statuses: Record<number, number> = {};
  const startedAt = performance.now() + uncountedMs;
  await Promise.all(
    connections.map(async (connection) => {
      for (let now = performance.now(); !isOver();) {
        // Requests of one connection follow each other: that is what a connection is.
        const { status } = await connection.send(next());
        const answeredAt = performance.now();
        if (answeredAt >= startedAt) times.push(answeredAt - now);
        statuses[status] = (statuses[status] ?? 0) + 1;
        now = answeredAt;
      }
    }),
  );
  const elapsedMs = performance.now() - startedAt;
  for (const connection of connections) connection.close();
  return {
    requestsPerSecond: (times.length * 1000) / elapsedMs,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    maxMs: times.reduce((longest, ms) => Math.max(longest, ms), 0),
    statuses,
  };
};

/** The value below which that share of all lies; 0 of none. */
export const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? 0;

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
