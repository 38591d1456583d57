/** What the OpenAPI document says of the operators' endpoints. */
import { IDEMPOTENT_REPLAYED, JSON_TYPE, REQUEST_ID } from "../contract/headers.ts";
import { keyParameter, type Schema } from "./openapi-components.ts";
import { PATH_KEY } from "./openapi-keys.ts";
import { BODY, contractProblems, KEY_READ, READ, refs } from "./openapi-problems.ts";
import { jsonSchema, parametersOf } from "./openapi-schema.ts";
import { opsRetryAdviceOutput, opsRetryAdviceSearch } from "./ops-retry-advice.ts";
import type { OpsRead } from "./ops/ops-route.ts";
import { issueInput, issueView } from "./ops/reconciliation.ts";
import { redriveInput, redriveOutput } from "./ops/redrive.ts";
import { revocationInput } from "./revoked-tokens.ts";
import {
  resolutionInput,
  resolutionOutput,
  uncertainKeysOutput,
  uncertainKeysSearch,
} from "./uncertain-keys.ts";

export const opsReadEntry = ({ name, summary, search, content }: OpsRead): Schema => ({
  operationId: name,
  summary,
  description: "Needs the scope `ops:read`. Every read is noted in the audit log.",
  tags: ["ops"],
  parameters: parametersOf(search, "query"),
  responses: {
    "200": {
      description: "Read from the primary.",
      headers: refs([REQUEST_ID]),
      content: Object.fromEntries(
        Object.entries(content).map(([type, body]) => [
          type,
          { schema: jsonSchema(body, "output") },
        ]),
      ),
    },
    ...contractProblems(READ),
  },
});

export const metricsEntry = (): Schema => ({
  operationId: "ops.metrics",
  summary: "Counters and histograms, as Prometheus text",
  description: "Needs the scope `ops:read`.",
  tags: ["ops"],
  responses: {
    "200": {
      description: "Text exposition format 0.0.4.",
      headers: refs([REQUEST_ID]),
      content: { "text/plain; version=0.0.4; charset=utf-8": { schema: { type: "string" } } },
    },
    ...contractProblems([
      "unauthenticated",
      "forbidden",
      "method-not-allowed",
      "internal-error",
      "temporarily-unavailable",
    ]),
  },
});

const PATH_ISSUE: Schema = {
  name: "id",
  in: "path",
  required: true,
  schema: { type: "string" },
  description: "The issue's id",
};

export const redriveEntry = (): Schema => ({
  operationId: "ops.redrive-issue",
  summary: "Take the stuck work that an issue is about up again, now, with its original key",
  description:
    "Needs the scope `ops:act`. Does what the object's alarm would do: an accepted request runs, an interrupted exchange is asked for or sent again as its route allows, an outcome that the journal lacks is written there. It never sends again what may have been carried out and would be carried out twice: such a key is `uncertain`, and is resolved. The same Idempotency-Key gets the same answer for a day. An issue whose key has an outcome then is resolved with it.",
  tags: ["ops"],
  parameters: [PATH_ISSUE, keyParameter(true)],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(redriveInput, "input") } },
  },
  responses: {
    "200": {
      description: "What was done, and how the key stood then.",
      headers: refs([REQUEST_ID, IDEMPOTENT_REPLAYED]),
      content: { [JSON_TYPE]: { schema: jsonSchema(redriveOutput, "output") } },
    },
    ...contractProblems([...KEY_READ, ...BODY, "idempotency-key-reused", "nothing-to-redrive"]),
  },
});

export const issueEntry = (): Schema => ({
  operationId: "ops.change-issue",
  summary: "Acknowledge or resolve an issue, or open it again",
  description:
    "Needs the scope `ops:act`. May be repeated: what is in that state already is left as it is.",
  tags: ["ops"],
  parameters: [PATH_ISSUE],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(issueInput, "input") } },
  },
  responses: {
    "200": {
      description: "The issue as it is now.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(issueView, "output") } },
    },
    ...contractProblems([...READ, ...BODY]),
  },
});

export const revocationEntry = (): Schema => ({
  operationId: "ops.revoke-token",
  summary: "Revoke a token everywhere, within ten seconds",
  description: "Needs the scope `ops:act`. May be repeated.",
  tags: ["ops"],
  parameters: [
    {
      name: "jti",
      in: "path",
      required: true,
      schema: { type: "string" },
      description: "The token's `jti`, percent-encoded",
    },
  ],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(revocationInput, "input") } },
  },
  responses: {
    "204": { description: "Revoked.", headers: refs([REQUEST_ID]) },
    ...contractProblems([...READ, ...BODY]),
  },
});

export const uncertainKeysEntry = (): Schema => ({
  operationId: "ops.uncertain-keys",
  summary: "Keys whose effect may have happened, and of which nobody can tell",
  description:
    "Needs the scope `ops:read`. Of all tenants, by tenant and key within each database. Each needs a person: see its resolution.",
  tags: ["ops"],
  parameters: parametersOf(uncertainKeysSearch, "query"),
  responses: {
    "200": {
      description:
        "A page. `next` is what `after` of the next page must be; null: it was the last.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(uncertainKeysOutput, "output") } },
    },
    ...contractProblems(READ),
  },
});

export const resolutionEntry = (): Schema => ({
  operationId: "ops.resolve-key",
  summary: "Say what became of an uncertain key",
  description:
    "Needs the scope `ops:act`. `executed`: what you send is what later retries get. `not-executed`: the key is free to run. The first word stands; it is kept with who said it, when and why. May be repeated.",
  tags: ["ops"],
  parameters: [
    {
      name: "tenant",
      in: "path",
      required: true,
      schema: { type: "string" },
      description: "The tenant, percent-encoded",
    },
    PATH_KEY,
  ],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(resolutionInput, "input") } },
  },
  responses: {
    "200": {
      description: "Resolved: by this request, or by the same one before.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(resolutionOutput, "output") } },
    },
    ...contractProblems([...READ, ...BODY, "resolution-refused"]),
  },
});

export const opsRetryAdviceEntry = (): Schema => ({
  operationId: "ops.retry-advice",
  summary: "What was learned of retries for a tenant",
  description: "Needs the scope `ops:read`. Each look is on record in the log.",
  tags: ["ops"],
  parameters: parametersOf(opsRetryAdviceSearch, "query"),
  responses: {
    "200": {
      description: "By origin and route: health, outages, classes with their odds, calibration.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(opsRetryAdviceOutput, "output") } },
    },
    ...contractProblems(READ.filter((code) => code !== "not-found")),
  },
});
