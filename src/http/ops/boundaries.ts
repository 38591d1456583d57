/** What the boundary monitor has learned, and what the queue says of `KEY_OBJECTS`. */
import { z } from "zod";
import { learnedSchema } from "../../audit/boundary.ts";
import { keyObjectsAdvice, MONITOR, parseMonitor } from "../../audit/monitor.ts";
import { readScheduledState } from "../../journal/scheduled-state.ts";
import { databaseSearch, defineOpsRead } from "./ops-route.ts";

const keyObjects = z.union([z.int(), z.literal("per-key")]);

export const boundariesRoute = defineOpsRead({
  name: "ops.boundaries",
  path: "/v1/ops/boundaries",
  summary:
    "What is usual for each operation, as the boundary monitor has learned it, and how many objects it recommends",
  search: z.strictObject(databaseSearch),
  content: {
    "application/json": z.object({
      readAtMs: z.int().nullable(),
      learned: learnedSchema,
      keyObjects: z.object({
        present: keyObjects,
        recommended: keyObjects,
        groups: z.number(),
        operations: z.number(),
        waitedMs: z.number(),
      }),
    }),
  },
  read: async (db, _search, c) => {
    const monitor = parseMonitor((await readScheduledState(db, MONITOR)).state);
    const body = {
      readAtMs: monitor?.readAtMs ?? null,
      learned: monitor?.learned ?? {},
      keyObjects: keyObjectsAdvice(monitor, c.get("latchkey.settings").KEY_OBJECTS),
    };
    return c.json(body, 200, { "Cache-Control": "no-store" });
  },
});
