/** A Worker that is set up wrongly says what is wrong, to whoever looks at /healthz, and serves nothing with it. */
import { expect, it } from "vitest";
import { TEST_SECRETS } from "../support/server.ts";
import { useServers } from "../support/suite.ts";
import { newTenant } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const PLACEHOLDER = "change-me-0123456789abcdefghijklmnopqrstuvwxyz";
const SHORT = "q8Zr1LmT5xVw";

const serverFor = useServers({
  placeholder: { vars: { TOKEN_SECRET: PLACEHOLDER } },
  "bad secrets": { vars: { TOKEN_SECRET: undefined, FINGERPRINT_SECRET: SHORT } },
  "bad vars": { vars: { KEY_OBJECTS: "many", IN_FLIGHT_STATUS: "418" } },
  "not migrated": { migrated: false },
});

/** Asks a server for a few things, with a token of that secret, and tells what it said and did. */
const askServer = async (
  name: Parameters<typeof serverFor>[0],
  secret: string = TEST_SECRETS.TOKEN_SECRET,
) => {
  const server = serverFor(name);
  const tenant = await newTenant(server);
  const token = await tokenFor(tenant.name, { secret });
  const health = await tenant.get("/healthz", { token: null });
  const served = [
    await tenant.post("/v1/accounts", { id: "alice", currency: "EUR" }, { token }),
    await tenant.get("/v1/accounts", { token }),
  ];
  return {
    health: { ...health.body, status: health.status },
    statuses: served.map(({ status }) => status),
    // What may reach people who should not know.
    said: [health, ...served].map(({ text }) => text).join("\n"),
    log: server.log.join("\n"),
    objects: await server.objects(),
  };
};

it("secrets: a placeholder is refused, and a token signed with it opens nothing", async () => {
  const asked = await askServer("placeholder", PLACEHOLDER);
  expect(asked.health).toEqual({
    status: 503,
    faults: [expect.stringContaining("TOKEN_SECRET is a placeholder")],
  });
  expect(asked.statuses).toEqual([500, 500]);
  expect(asked.objects).toEqual([]);
  expect(asked.said).not.toContain(PLACEHOLDER);
  expect(asked.log).not.toContain(PLACEHOLDER);
});

it("secrets: one that is missing and one that is too short are both named, and neither's value", async () => {
  const asked = await askServer("bad secrets");
  expect(asked.health).toMatchObject({ status: 503 });
  expect(asked.said).toContain("TOKEN_SECRET is not set");
  expect(asked.said).toContain("FINGERPRINT_SECRET is shorter than 32 characters");
  expect(asked.statuses).toEqual([500, 500]);
  expect(asked.objects).toEqual([]);
  expect(asked.said).not.toContain(SHORT);
  expect(asked.log).not.toContain(SHORT);
});

it("a var that means nothing is named, and nothing is served with a guess at it", async () => {
  const asked = await askServer("bad vars");
  expect(asked.health).toMatchObject({ status: 503 });
  expect(asked.said).toContain("KEY_OBJECTS");
  expect(asked.said).toContain("IN_FLIGHT_STATUS");
  expect(asked.statuses).toEqual([500, 500]);
  expect(asked.objects).toEqual([]);
});

it("a migration that is missing is named, and keyed requests get 503 until it is applied", async () => {
  const asked = await askServer("not migrated");
  expect(asked.health).toEqual({
    status: 503,
    faults: [expect.stringMatching(/migration \d{4}_\w+\.sql has not been applied/)],
  });
  expect(asked.statuses).toEqual([503, 503]);
});
