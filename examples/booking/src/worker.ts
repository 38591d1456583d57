/** The team's Worker: its own routes, and beside them, under /api, those that run once. */
import { Hono } from "hono";
import { type Latchkey, latchkey } from "latchkey";
import { agentFace } from "latchkey/agents";
import { authenticate, type Env } from "./authenticate";
import { bookSeat, cancelBooking, getBooking } from "./bookings";

const keyed: Latchkey = latchkey({
  operations: [bookSeat, cancelBooking],
  queries: [getBooking],
  authenticate,
  agents: agentFace,
  securityScheme: { type: "apiKey", in: "header", name: "X-Api-Key" },
});

const app = new Hono<{ Bindings: Env }>();

app.get("/", (c) => c.text("Booking"));
app.route("/api", keyed.app);
// Under the same path as Latchkey's, and not its: how many seats are free is nobody's secret.
app.get("/api/seats", async (c) => {
  const { results } = await c.env.DB.prepare(
    "SELECT tenant AS airline, COUNT(*) AS free FROM seats WHERE booking IS NULL GROUP BY tenant",
  ).all();
  return c.json(results);
});
app.notFound((c) => c.text("No such page", 404));

export default { fetch: app.fetch, scheduled: keyed.scheduled } satisfies ExportedHandler<Env>;

export class KeyObject extends keyed.KeyObject {}
