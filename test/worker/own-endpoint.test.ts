/** The endpoint of the README, as a team would add it: one file's worth of definition, and a table. */
import { env } from "cloudflare:workers";
import { beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { createApp } from "../../src/app.ts";
import { openApiDocument } from "../../src/http/openapi.ts";
import { exists, require, update } from "../../src/kernel/plan.ts";
import { sql } from "../../src/kernel/sql.ts";
import { defineOperation } from "../../src/operations/define-operation.ts";
import { bodyOf, callOf, verdict } from "./support/calls.ts";
import { useEngines } from "./support/engines.ts";

const incarnation = useEngines();

const bookSeat = defineOperation({
  name: "seats.book",
  method: "POST",
  path: "/v1/seats/{seat}/booking",
  summary: "Book a seat",
  scope: "orders:write",
  params: z.strictObject({ seat: z.string().regex(/^[0-9]{1,3}[A-F]$/) }),
  input: z.strictObject({ passenger: z.string().min(1).max(100) }),
  output: z.object({ seat: z.string(), passenger: z.string() }),
  refusals: {
    "seat-taken": {
      status: 409,
      title: "The seat is taken",
      cause: "Somebody else has booked it.",
      cure: "Book another seat, with a new key.",
    },
  },
  plan: (input, _facts, { params }) => ({
    guards: [
      require(exists(
        "seats",
        sql`seat = ${params.seat} AND passenger IS NULL`,
      ), "seat-taken", `Seat ${params.seat} is taken.`),
    ],
    effects: [update("seats", { passenger: input.passenger }, sql`seat = ${params.seat}`)],
    answer: {
      status: 201,
      link: `/v1/seats/${params.seat}/booking`,
      body: { seat: params.seat, passenger: input.passenger },
    },
  }),
});

beforeAll(async () => {
  await env.DB.batch([
    env.DB.prepare(
      "CREATE TABLE IF NOT EXISTS seats (tenant TEXT NOT NULL, seat TEXT NOT NULL, passenger TEXT, PRIMARY KEY (tenant, seat)) STRICT",
    ),
    env.DB.prepare("INSERT INTO seats (tenant, seat) VALUES ('airline', '12A')"),
  ]);
});

const booking = (passenger: string) =>
  callOf("airline", bookSeat.name, { passenger }, { params: { seat: "12A" } });

it("an endpoint of one file books a seat once, replays it, and refuses the next passenger for good", async () => {
  const one = incarnation({ operations: [bookSeat] });
  const ada = booking("Ada");
  const grace = booking("Grace");

  const [first, ...retries] = await one.submitAll([ada, ada]);
  const refused = await one.submit(grace);

  expect(first && verdict(first)).toBe(201);
  expect(retries.map(verdict)).toEqual(["request-in-flight"]);
  expect(bodyOf(await one.submit(ada))).toBe(first && bodyOf(first));
  expect(verdict(refused)).toBe(409);
  expect(bodyOf(refused)).toContain('"code":"seat-taken"');
  expect(bodyOf(await one.submit(grace))).toBe(bodyOf(refused));
  const seat = await env.DB.prepare("SELECT passenger FROM seats WHERE seat = '12A'").first();
  expect(seat).toEqual({ passenger: "Ada" });
});

it("its route, its OpenAPI entry and the page of its own problem follow from the definition", async () => {
  const app = createApp({ operations: [bookSeat], queries: [] });
  const page = await app.request("/problems/seat-taken", {}, env);
  const unauthenticated = await app.request("/v1/seats/12A/booking", { method: "POST" }, env);

  expect(page.status).toBe(200);
  expect(unauthenticated.status).toBe(401);
  const document = JSON.stringify(openApiDocument({ operations: [bookSeat], queries: [] }));
  expect(document).toContain("/v1/seats/{seat}/booking");
  expect(document).toContain("seat-taken");
});
