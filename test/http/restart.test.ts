/** Faults 49 and 79: what a key means does not change when the server is started anew, otherwise set up. */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { expectBooksBalanced, transfersOf } from "../support/books.ts";
import { type Server, type ServerOptions, startServer } from "../support/server.ts";
import { temporaryFolder } from "../support/suite.ts";
import { type Answer, newKey, newTenant, openTenant } from "../support/tenant.ts";

const folder = temporaryFolder();

/** Starts a server on the folder of before, does something with it, and stops it. */
const during = async <Value>(
  options: Omit<ServerOptions, "folder">,
  work: (server: Server) => Promise<Value>,
): Promise<Value> => {
  const server = await startServer({ ...options, folder: folder() });
  try {
    const value = await work(server);
    await expectBooksBalanced(server);
    return value;
  } finally {
    await server.stop();
  }
};

it("49: when KEY_OBJECTS changes, every key made before is still replayed, and still mismatches", async () => {
  const answers = new Map<string, Answer>();
  let name: string | undefined;
  for (const routing of ["1", "4", "per-key", "1"]) {
    await during({ vars: { KEY_OBJECTS: routing } }, async (server) => {
      const tenant = name === undefined ? await openTenant(server) : await newTenant(server, name);
      ({ name } = tenant);
      for (const [key, first] of answers) {
        expect(await tenant.pay({ amountMinor: 1 }, { key })).toMatchObject({ status: 422 });
        expect(await tenant.pay({}, { key })).toMatchObject({
          status: 201,
          replayed: true,
          text: first.text,
        });
        expect(await transfersOf(server, tenant, key)).toHaveLength(1);
      }
      const key = newKey();
      answers.set(key, await tenant.pay({}, { key }));
    });
  }
});

it("79: when D1 was restored to an earlier time, the next RESTORE_EPOCH ignores what objects remember since", async () => {
  const restored = join(folder(), "restore-point");
  const d1 = join(folder(), "d1");
  const key = newKey();
  const name = await during({}, async (server) => (await openTenant(server)).name);
  cpSync(d1, restored, { recursive: true });
  await during({}, async (server) => {
    const tenant = await newTenant(server, name);
    expect((await tenant.pay({}, { key })).status).toBe(201);
    // The object writes its copy once it is idle.
    await sleep(300);
  });
  rmSync(d1, { recursive: true });
  cpSync(restored, d1, { recursive: true });
  await during({}, async (server) => {
    // So the copy is there, of a payment that D1 no longer knows.
    const tenant = await newTenant(server, name);
    expect(await tenant.pay({}, { key })).toMatchObject({ replayed: true });
    expect(await transfersOf(server, tenant, key)).toHaveLength(0);
  });
  await during({ vars: { RESTORE_EPOCH: "1" } }, async (server) => {
    const tenant = await newTenant(server, name);
    expect(await tenant.pay({}, { key })).toMatchObject({ status: 201, replayed: false });
    expect(await transfersOf(server, tenant, key)).toHaveLength(1);
  });
});
