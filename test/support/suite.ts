/** What test files share: a server for a block of tests, and the routing modes that both have to pass. */
import { afterAll, afterEach, beforeAll } from "vitest";
import { expectBooksBalanced } from "./books.ts";
import { type Server, type ServerOptions, startServer } from "./server.ts";

/** One object for all keys of a tenant, and one for each key: the same tests hold in both. */
export const ROUTINGS = ["1", "per-key"] as const;

/** A server for the tests of this block. After each of them, the books must balance. */
export const useServer = (options?: ServerOptions): (() => Server) => {
  let server: Server | undefined;
  const running = (): Server => {
    if (server === undefined) throw new Error("The server runs from beforeAll to afterAll.");
    return server;
  };
  beforeAll(async () => {
    server = await startServer(options);
  });
  afterEach(async () => {
    if (options?.migrated !== false) await expectBooksBalanced(running());
  });
  afterAll(async () => server?.stop());
  return running;
};
