/**
 * The Worker of examples/booking, which imports the package by its name, as its own users see it: what a team that has
 * a Worker gets by mounting Latchkey in it, and what stays theirs.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root } from "../../scripts/tool.ts";
import { callTool, connectAgent } from "../support/agent.ts";
import { build } from "../support/build.ts";
import { type Server, startServer } from "../support/server.ts";
import { answerOf, newKey, textOf } from "../support/tenant.ts";

let server: Server;

const withoutTokens = { vars: { TOKEN_SECRET: undefined } };
const booking = { config: "examples/booking/wrangler.toml" };

beforeAll(async () => {
  server = await startServer({ ...withoutTokens, build: await build(booking) });
});

afterAll(async () => server.stop());

let seats = 0;

/** A seat that is free, in every airline of this file. */
const newSeat = async (): Promise<string> => {
  const seat = `${(seats += 1)}A`;
  await server.sqlBatch(
    ["ada-air", "bob-air"].map((tenant) => [
      "INSERT INTO seats (tenant, seat) VALUES (?, ?)",
      tenant,
      seat,
    ]),
  );
  return seat;
};

/** A caller with an API key of its own. */
const newCaller = async (tenant: string, scopes = "seats:write read") => {
  const apiKey = newKey();
  const hash = createHash("sha256").update(apiKey).digest("hex");
  await server.sql(
    "INSERT INTO api_keys (hash, tenant, scopes) VALUES (?, ?, ?)",
    hash,
    tenant,
    scopes,
  );
  return { apiKey, ...callerWith({ "X-Api-Key": apiKey }) };
};

const callerWith = (credentials: Readonly<Record<string, string>>) => {
  const send = async (
    method: string,
    path: string,
    body?: Readonly<Record<string, unknown>>,
    headers: Readonly<Record<string, string>> = {},
  ) => {
    const response = await fetch(server.origin + path, {
      method,
      redirect: "manual",
      headers: {
        ...credentials,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return answerOf(response.status, response.headers, await response.text());
  };
  return {
    send,
    get: async (path: string) => send("GET", path),
    book: async (seat: string, key = newKey(), prefer = "wait=0") =>
      send(
        "POST",
        `/api/seats/${seat}/bookings`,
        { passenger: "Ada" },
        {
          "Idempotency-Key": key,
          Prefer: prefer,
        },
      ),
  };
};

const bookingsOf = async (seat: string): Promise<number> =>
  (await server.sql("SELECT id FROM bookings WHERE seat = ?", seat)).length;

describe("an operation of the host", () => {
  it("E1, RP: sent twice with one key books once, and the second answer is the first, byte for byte", async () => {
    const ada = await newCaller("ada-air");
    const seat = await newSeat();
    const key = newKey();

    const first = await ada.book(seat, key);
    const again = await ada.book(seat, key);

    expect([first.status, first.replayed]).toEqual([201, false]);
    expect([again.status, again.replayed]).toEqual([201, true]);
    expect(again.text).toBe(first.text);
    expect(again.headers.get("Location")).toBe(first.headers.get("Location"));
    expect(await bookingsOf(seat)).toBe(1);
  });

  it("E1: with two keys for one seat, one books and the other is refused, which is stored", async () => {
    const ada = await newCaller("ada-air");
    const seat = await newSeat();
    const keys = [newKey(), newKey()];

    const answers = await Promise.all(keys.map(async (key) => ada.book(seat, key)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([201, 409]);
    const loser = statuses.indexOf(409);
    const refused = answers[loser];
    expect(refused?.body["code"]).toBe("seat-taken");

    const again = await ada.book(seat, keys[loser]);
    expect([again.status, again.replayed, again.text]).toEqual([409, true, refused?.text]);
    expect(await bookingsOf(seat)).toBe(1);
  });

  it("its Location is where the thing is found, under the mount", async () => {
    const ada = await newCaller("ada-air");
    const made = await ada.book(await newSeat());
    const location = made.headers.get("Location") ?? "";

    expect(location).toBe(`/api/bookings/${textOf(made, "id")}`);
    expect((await ada.get(location)).text).toBe(made.text);
  });

  it("its cancellation runs once, and frees the seat", async () => {
    const ada = await newCaller("ada-air");
    const seat = await newSeat();
    const path = (await ada.book(seat)).headers.get("Location") ?? "";
    const cancel = async (key: string) =>
      ada.send("PATCH", path, { state: "cancelled" }, { "Idempotency-Key": key });
    const key = newKey();

    expect((await cancel(key)).status).toBe(200);
    expect((await ada.book(seat)).status).toBe(201);
    // Sent late, it must not free the seat that was booked since.
    expect((await cancel(key)).replayed).toBe(true);
    expect((await cancel(newKey())).body["code"]).toBe("not-booked");
    expect((await ada.book(seat)).body["code"]).toBe("seat-taken");
  });

  it("every path that an answer tells leads somewhere under the mount", async () => {
    const ada = await newCaller("ada-air");
    const seat = await newSeat();
    const [key, accepted] = [newKey(), newKey()];
    await ada.book(seat);

    const refused = await ada.book(seat, key);
    const detached = await ada.book(await newSeat(), accepted, "respond-async");

    expect(textOf(refused, "instance")).toBe(`/api/v1/idempotency-keys/${key}`);
    expect(textOf(refused, "type")).toBe(`${server.origin}/api/problems/seat-taken`);
    expect((await ada.get("/api/problems/seat-taken")).text).toContain("The seat is taken");
    expect(detached.status).toBe(202);
    expect(detached.headers.get("Location")).toBe(`/api/v1/idempotency-keys/${accepted}`);
    for (const path of [refused.body["instance"], detached.body["link"]]) {
      expect((await ada.get(String(path))).status).toBe(200);
    }
  });

  it("the state of its key names what it made, under the mount", async () => {
    const ada = await newCaller("ada-air");
    const key = newKey();
    const made = await ada.book(await newSeat(), key);

    const { body } = await ada.get(`/api/v1/idempotency-keys/${key}`);
    expect(body).toMatchObject({
      state: "completed",
      operation: "seats.book",
      link: made.headers.get("Location"),
    });
  });
});

describe("the host's own authentication", () => {
  it("X, 24: one tenant sees nothing of another, with the same key, seat or path", async () => {
    const [ada, bob] = [await newCaller("ada-air"), await newCaller("bob-air")];
    const seat = await newSeat();
    const key = newKey();

    const hers = await ada.book(seat, key);
    const path = hers.headers.get("Location") ?? "";
    expect((await bob.get(path)).status).toBe(404);
    expect((await bob.get(`/api/v1/idempotency-keys/${key}`)).body["operation"]).toBeNull();
    const cancelled = await bob.send(
      "PATCH",
      path,
      { state: "cancelled" },
      {
        "Idempotency-Key": newKey(),
      },
    );
    expect(cancelled.body["code"]).toBe("not-booked");
    const his = await bob.book(seat, key);
    expect([his.status, his.replayed]).toEqual([201, false]);
    expect(his.text).not.toBe(hers.text);
  });

  it("25: without an API key, or with an unknown one, nothing is made", async () => {
    const seat = await newSeat();
    for (const credentials of [{}, { "X-Api-Key": newKey() }]) {
      const answer = await callerWith(credentials).book(seat);
      expect([answer.status, answer.body["code"]]).toEqual([401, "unauthenticated"]);
      expect(answer.headers.get("WWW-Authenticate")).toBe('ApiKey realm="booking"');
    }
    expect(await bookingsOf(seat)).toBe(0);
  });

  it("27: a key without the operation's scope gets 403", async () => {
    const reader = await newCaller("ada-air", "read");
    const seat = await newSeat();
    expect((await reader.book(seat)).status).toBe(403);
    expect(await bookingsOf(seat)).toBe(0);
  });

  it("26: a key that is deleted ends at once, also for its replays", async () => {
    const ada = await newCaller("ada-air");
    const [seat, key] = [await newSeat(), newKey()];
    expect((await ada.book(seat, key)).status).toBe(201);
    await server.sql("DELETE FROM api_keys WHERE tenant = 'ada-air'");
    expect((await ada.book(seat, key)).status).toBe(401);
  });
});

describe("an agent of the host's callers", () => {
  it("books at /mcp under the mount with the host's API key: once for a key, whether it comes by tool or by HTTP", async () => {
    const { apiKey, book } = await newCaller("ada-air");
    const agent = await connectAgent(`${server.origin}/api/mcp`, { "X-Api-Key": apiKey });
    const seat = await newSeat();
    const { idempotencyKey } = await callTool(agent, "begin_operation", {
      operation: "seats_book",
    });
    const wanted = { idempotencyKey, params: { seat }, body: { passenger: "Ada" } };
    const made = await callTool(agent, "seats_book", wanted);
    expect(made).toMatchObject({ outcome: "completed", status: 201, replayed: false });
    expect(made["link"]).toMatch(/^\/api\/bookings\/book_/);
    const again = await callTool(agent, "seats_book", wanted);
    expect(again).toEqual({ ...made, replayed: true });
    expect((await book(seat, String(idempotencyKey))).body).toEqual(made["result"]);
    expect(await bookingsOf(seat)).toBe(1);
    expect(await callTool(agent, "list_attention", {})).toMatchObject({
      pages: [
        { state: "uncertain", data: [] },
        { state: "in-flight", data: [] },
      ],
    });
  });

  it("25: without an API key gets nowhere", async () => {
    await expect(connectAgent(`${server.origin}/api/mcp`, {})).rejects.toThrow(Error);
  });
});

describe("the host's own routes", () => {
  const anybody = callerWith({});

  it("answer as before, beside the mount and under its path", async () => {
    expect((await anybody.get("/")).text).toBe("Booking");
    expect((await anybody.get("/api/seats")).status).toBe(200);
  });

  it("and the host's own 404 are not touched, also under the mount's path", async () => {
    for (const path of ["/nowhere", "/api/nowhere", "/v1/idempotency-keys/0123456789abcdef"]) {
      const answer = await anybody.get(path);
      expect([answer.status, answer.text]).toEqual([404, "No such page"]);
      expect(answer.headers.get("X-Request-Id")).toBeNull();
    }
  });

  it("a method that a mounted path does not have gets 405", async () => {
    const answer = await anybody.get("/api/seats/1A/bookings");
    expect([answer.status, answer.headers.get("Allow")]).toEqual([405, "POST"]);
  });
});

describe("a host without what only its own tokens would need", () => {
  it("is healthy: no TOKEN_SECRET, no REVOCATIONS, and migrations under names of its own", async () => {
    const health = await callerWith({}).get("/api/healthz");
    expect([health.status, health.body]).toEqual([200, { status: "ok", faults: [] }]);
  });

  it("offers no way to revoke tokens, and documents what it does offer under the mount", async () => {
    const { body } = await callerWith({}).get("/api/openapi.json");
    expect(body["servers"]).toEqual([{ url: `${server.origin}/api` }]);
    const paths = Object.keys(body["paths"] ?? {});
    expect(paths).toContain("/seats/{seat}/bookings");
    expect(paths).not.toContain("/v1/ops/revoked-tokens/{jti}");
    const revoked = await callerWith({}).send("PUT", "/api/v1/ops/revoked-tokens/x", {});
    expect(revoked.text).toBe("No such page");
  });

  it("says at /healthz which of Latchkey's tables is missing", async () => {
    const bare = await startServer({
      ...withoutTokens,
      migrated: false,
      build: await build(booking),
    });
    try {
      const health = await fetch(`${bare.origin}/api/healthz`);
      expect(health.status).toBe(503);
      expect(await health.text()).toContain("0001_journal.sql");
      await bare.migrate();
      await bare.sql("DROP TABLE housekeeping");
      expect(await (await fetch(`${bare.origin}/api/healthz`)).text()).toContain(
        "0005_housekeeping.sql",
      );
    } finally {
      await bare.stop();
    }
  });
});

it("the example's copies of Latchkey's migrations are the package's", () => {
  const copies = {
    "0001_journal.sql": "0001_latchkey_journal.sql",
    "0005_housekeeping.sql": "0002_latchkey_housekeeping.sql",
    "0007_audit.sql": "0004_latchkey_audit.sql",
    "0010_claims_audited.sql": "0005_latchkey_claims_audited.sql",
    "0011_issue_work.sql": "0006_latchkey_issue_work.sql",
  };
  for (const [own, copy] of Object.entries(copies)) {
    const text = (path: string) => readFileSync(join(root, path), "utf8");
    expect(text(`examples/booking/migrations/${copy}`)).toBe(text(`migrations/${own}`));
  }
});
