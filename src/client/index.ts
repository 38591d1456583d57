/**
 * The client: a `fetch` that does each thing once. It runs in browsers, in Node and in Workers, and holds none of the
 * server's code.
 *
 *     const client = createClient<LatchkeyEndpoints>({ baseUrl, credentials, store: indexedDbStore() });
 *     await client.resume();
 *     const { body } = await client.send("POST /v1/payments", { body: payment });
 */
export type { KeyUse, ProblemCode } from "../contract/problems.ts";
export type { Answer } from "./answer.ts";
export {
  type CallOptions,
  type Client,
  type ClientOptions,
  createClient,
  type RequestOptions,
  type Resumed,
  type SendOptions,
} from "./client.ts";
export type { Endpoint, Endpoints } from "./endpoints.ts";
export {
  isProblem,
  NoOutcomeError,
  type NoOutcomeReason,
  ProblemError,
  StoreError,
} from "./errors.ts";
export type { ClientEvent } from "./events.ts";
export { indexedDbStore } from "./indexed-db-store.ts";
export { type Intent, parseIntent } from "./intent.ts";
export { keyOf, uuidV7 } from "./key.ts";
export { type IntentStore, memoryStore } from "./store.ts";
export { type WebStorage, webStore } from "./web-store.ts";
