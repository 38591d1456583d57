/**
 * A network that fails, between a client and a server: it loses requests, loses answers, cuts them off, resets
 * connections, delays, and answers 503 in the server's place. What happens to which request follows from the seed and the
 * order of arrival.
 */
import {
  createServer,
  request as forward,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "./crash-random.ts";

export const FAULTS = [
  /** The server never hears of it. */
  "lose-request",
  /** The server has done it, and nobody is told. */
  "lose-answer",
  "cut-answer",
  "reset",
  "delay",
  "unavailable",
] as const;

export type Fault = (typeof FAULTS)[number];

export type FaultyProxy = {
  readonly origin: string;
  /** Decides the fate of each request from now on; undefined lets it pass. */
  behave: (fate: (random: Random) => Fault | undefined) => void;
  /** How often each fault has struck, and how many requests passed. */
  readonly counts: Readonly<Record<Fault | "passed", number>>;
  readonly stop: () => Promise<void>;
};

/** Every fault as likely as the others, all together this likely. */
export const faultsWith =
  (probability: number) =>
  (random: Random): Fault | undefined =>
    random.chance(probability) ? random.pick(FAULTS) : undefined;

const DELAY_MS_MAX = 40;

export const startFaultyProxy = async (target: string, seed: number): Promise<FaultyProxy> => {
  const random = new Random(seed);
  let fate: (from: Random) => Fault | undefined = () => undefined;
  const counts = Object.fromEntries(["passed", ...FAULTS].map((name) => [name, 0])) as Record<
    Fault | "passed",
    number
  >;
  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const body = await bytesOf(incoming);
    const fault = fate(random);
    counts[fault ?? "passed"] += 1;
    const { socket } = incoming;
    const pass = async () => ask(target, incoming, body);
    switch (fault) {
      case "lose-request":
        socket.destroy();
        return;
      case "reset":
        // Its fate is open: the server may be anywhere in its work.
        void pass().catch(() => {});
        socket.resetAndDestroy();
        return;
      case "lose-answer":
        await pass();
        socket.destroy();
        return;
      case "cut-answer": {
        const { status, headers, bytes } = await pass();
        outgoing.writeHead(status, { ...headers, "content-length": String(bytes.byteLength) });
        outgoing.write(bytes.subarray(0, Math.floor(bytes.byteLength / 2)), () => socket.destroy());
        return;
      }
      case "unavailable":
        outgoing.writeHead(503, { "content-type": "text/plain" }).end("no");
        return;
      case "delay":
        await sleep(random.int(1, DELAY_MS_MAX));
        break;
      case undefined:
        break;
    }
    const { status, headers, bytes } = await pass();
    outgoing.writeHead(status, headers).end(bytes);
  };
  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => incoming.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    behave: (next) => (fate = next),
    counts,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

const bytesOf = async (stream: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
};

const ask = async (target: string, incoming: IncomingMessage, body: Buffer) =>
  new Promise<{ status: number; headers: IncomingMessage["headers"]; bytes: Buffer }>(
    (resolve, reject) => {
      const { host: _, connection: __, "transfer-encoding": ___, ...headers } = incoming.headers;
      const outgoing = forward(
        target + (incoming.url ?? "/"),
        {
          method: incoming.method,
          headers: { ...headers, "content-length": String(body.byteLength) },
        },
        (answer) => {
          const { "transfer-encoding": ____, connection: _____, ...kept } = answer.headers;
          bytesOf(answer).then(
            (bytes) => resolve({ status: answer.statusCode ?? 502, headers: kept, bytes }),
            reject,
          );
        },
      );
      outgoing.on("error", reject);
      outgoing.end(body);
    },
  );
