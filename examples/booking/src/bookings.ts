/** Two operations that run once, and a query. Paths and links begin where the Worker mounts them. */
import {
  byId,
  defineOperation,
  defineQuery,
  exists,
  insert,
  noSearch,
  require,
  sql,
  update,
} from "latchkey";
import { z } from "zod";

const booking = z.object({
  id: z.string(),
  seat: z.string(),
  passenger: z.string(),
  state: z.enum(["booked", "cancelled"]),
});

const bookingPath = z.strictObject({ id: z.string().regex(/^book_[0-9a-z]{26}$/) });

export const bookSeat = defineOperation({
  name: "seats.book",
  method: "POST",
  path: "/seats/{seat}/bookings",
  summary: "Book a seat",
  scope: "seats:write",
  params: z.strictObject({ seat: z.string().regex(/^[0-9]{1,3}[A-F]$/) }),
  input: z.strictObject({ passenger: z.string().min(1).max(100) }),
  output: booking,
  refusals: {
    "unknown-seat": {
      status: 404,
      title: "Unknown seat",
      cause: "The aeroplane has no such seat.",
      cure: "Book another seat, with a new key.",
    },
    "seat-taken": {
      status: 409,
      title: "The seat is taken",
      cause: "Somebody else has booked it.",
      cure: "Book another seat, with a new key.",
    },
  },
  plan: ({ passenger }, _facts, { params: { seat }, ids }) => {
    const id = ids.next("book");
    return {
      guards: [
        require(exists("seats", sql`seat = ${seat}`), "unknown-seat", `There is no seat ${seat}.`),
        require(exists(
          "seats",
          sql`seat = ${seat} AND booking IS NULL`,
        ), "seat-taken", `Seat ${seat} is taken.`),
      ],
      effects: [
        insert("bookings", { id, seat, passenger, state: "booked" }),
        update("seats", { booking: id }, sql`seat = ${seat}`),
      ],
      answer: {
        status: 201,
        link: `/bookings/${id}`,
        body: { id, seat, passenger, state: "booked" as const },
      },
    };
  },
});

export const cancelBooking = defineOperation({
  name: "bookings.cancel",
  method: "PATCH",
  path: "/bookings/{id}",
  summary: "Cancel a booking",
  scope: "seats:write",
  params: bookingPath,
  input: z.strictObject({ state: z.literal("cancelled") }),
  output: z.object({ id: z.string(), state: z.literal("cancelled") }),
  refusals: {
    "not-booked": {
      status: 409,
      title: "There is no such booking",
      cause: "It does not exist, or it is cancelled already.",
      cure: "Look at the booking: nothing may be left to do.",
    },
  },
  plan: (_input, _facts, { params: { id } }) => ({
    guards: [
      require(exists(
        "bookings",
        sql`id = ${id} AND state = 'booked'`,
      ), "not-booked", "There is nothing to cancel."),
    ],
    effects: [
      update("bookings", { state: "cancelled" }, byId(id)),
      update("seats", { booking: null }, sql`booking = ${id}`),
    ],
    answer: { status: 200, link: `/bookings/${id}`, body: { id, state: "cancelled" as const } },
  }),
});

export const getBooking = defineQuery({
  name: "bookings.get",
  path: "/bookings/{id}",
  summary: "A booking",
  scope: "read",
  params: bookingPath,
  search: noSearch,
  output: booking,
  run: async (reader, { id }) => {
    const row = await reader.first({
      table: "bookings",
      columns: ["id", "seat", "passenger", "state"],
      where: byId(id),
    });
    return row === undefined ? undefined : booking.parse(row);
  },
});
