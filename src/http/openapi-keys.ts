/** What the OpenAPI document says of looking up and erasing keys. */
import { JSON_TYPE, REQUEST_ID } from "../contract/headers.ts";
import { keyListSearch } from "./key-list.ts";
import { nullable, type Schema } from "./openapi-components.ts";
import { contractProblems, KEY_READ, READ, refs } from "./openapi-problems.ts";
import { parametersOf } from "./openapi-schema.ts";

export const PATH_KEY: Schema = {
  name: "key",
  in: "path",
  required: true,
  schema: { type: "string" },
  description: "The key, percent-encoded",
};

export const keyStatusEntry = (): Schema => ({
  operationId: "idempotency-keys.get",
  summary: "What became of a key",
  description: "Needs the scope `read`. Never reveals the stored answer.",
  tags: ["idempotency-keys"],
  parameters: [PATH_KEY],
  responses: {
    "200": {
      description: "Its state. `Retry-After` comes with `unknown-yet`.",
      headers: refs([REQUEST_ID, "Retry-After"]),
      content: { [JSON_TYPE]: { schema: { $ref: "#/components/schemas/KeyState" } } },
    },
    ...contractProblems(KEY_READ),
  },
});

export const keyListEntry = (): Schema => ({
  operationId: "idempotency-keys.list",
  summary: "The keys in one state",
  description: "Needs the scope `read`. By key; never reveals the stored answers.",
  tags: ["idempotency-keys"],
  parameters: parametersOf(keyListSearch, "query"),
  responses: {
    "200": {
      description:
        "A page. `next` is what `after` of the next page must be; null: it was the last.",
      headers: refs([REQUEST_ID]),
      content: {
        [JSON_TYPE]: {
          schema: {
            type: "object",
            required: ["data", "next"],
            properties: {
              data: { type: "array", items: { $ref: "#/components/schemas/KeyState" } },
              next: nullable("string"),
            },
          },
        },
      },
    },
    ...contractProblems(READ),
  },
});

export const keyErasureEntry = (): Schema => ({
  operationId: "idempotency-keys.erase",
  summary: "Erase the stored answer of a key",
  description:
    "Needs the scope `payments:write`. The key stays used: it answers 410 and never runs again. May be repeated.",
  tags: ["idempotency-keys"],
  parameters: [PATH_KEY],
  responses: {
    "204": { description: "Erased.", headers: refs([REQUEST_ID]) },
    ...contractProblems([...KEY_READ, "request-in-flight"]),
  },
});
