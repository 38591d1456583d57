/** Another issuer: keys of its own, published as a key set (RFC 7517) over HTTP on 127.0.0.1, as an issuer does. */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";

export type SigningKey = {
  readonly published: JWK;
  /** The public key as text: what a forger takes for a secret. */
  readonly publicText: string;
  /** Signs whatever is claimed, under a header that a forger may change. */
  readonly sign: (claims: JWTPayload, header?: object) => Promise<string>;
};

export const newSigningKey = async (alg: "RS256" | "ES256"): Promise<SigningKey> => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const kid = randomUUID();
  return {
    published: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" },
    publicText: await exportSPKI(publicKey),
    sign: async (claims, header) =>
      new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(privateKey),
  };
};

/** What the server says of its keys. */
export type KeySetMood =
  | "well"
  /** 500, as a server that is broken. */
  | "broken"
  /** 200 and a page, as a proxy in front of one. */
  | "page"
  /** 200 and JSON that is no key set. */
  | "other json"
  /** Somewhere else. */
  | "moved";

export type KeySetServer = {
  readonly url: string;
  /** Published from the next fetch on. */
  readonly publish: (...keys: readonly SigningKey[]) => void;
  readonly setMood: (mood: KeySetMood) => void;
  /** How often the set was fetched so far. */
  readonly fetches: () => number;
  /** From then on connections are refused. */
  readonly stop: () => Promise<void>;
};

export const serveKeySet = async (...initial: readonly SigningKey[]): Promise<KeySetServer> => {
  let published = initial;
  let mood: KeySetMood = "well";
  let fetches = 0;
  const answers: Record<KeySetMood, () => readonly [number, string]> = {
    well: () => [200, JSON.stringify({ keys: published.map((key) => key.published) })],
    broken: () => [500, "{}"],
    page: () => [200, "<!doctype html><title>Please wait</title>"],
    "other json": () => [200, '{"error":"busy"}'],
    moved: () => [302, ""],
  };
  const server = createServer((_request, response) => {
    fetches += 1;
    const [status, body] = answers[mood]();
    response.writeHead(status, {
      "Content-Type": "application/json",
      ...(status === 302 ? { Location: "/elsewhere" } : {}),
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A TCP server that listens has an address of this form.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/keys.json`,
    publish: (...keys) => {
      published = keys;
    },
    setMood: (next) => {
      mood = next;
    },
    fetches: () => fetches,
    stop: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
};
