/** What goes to an upstream: the call itself, and the question what became of it. To the policy's upstream, nowhere else. */
import type { Bindings } from "../env.ts";
import type { Upstream } from "../gateway/exchange.ts";
import { upstreamUrl } from "../gateway/upstream-origin.ts";
import type { Exchange } from "./exchange-record.ts";

/** What `fetch` takes: a Request object and its Headers, made first, would be made once more by it. */
export type UpstreamRequest = readonly [url: string, init: RequestInit];

/** Sends one request. Redirects are not followed: an answer that names another place is an answer. */
export type SendUpstream = (upstream: Upstream, request: UpstreamRequest) => Promise<Response>;

/** How an upstream is reached. Throws an Error if its service binding is missing. */
export const fetcherOf = (
  env: Bindings,
  upstream: Upstream,
): ((input: string | Request, init: RequestInit) => Promise<Response>) => {
  if (upstream.kind === "origin") return fetch;
  const service: unknown = Reflect.get(env, upstream.binding);
  if (!isFetcher(service)) {
    throw new Error(`The service binding ${upstream.binding} is missing.`);
  }
  return (input, init) => service.fetch(input, init);
};

const isFetcher = (value: unknown): value is Pick<Fetcher, "fetch"> =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, "fetch") === "function";

/** Throws if the exchange is closed. */
const inputOf = ({ input }: Exchange) => {
  if (input === null) throw new Error("The exchange is closed: its input is gone.");
  return input;
};

/** The call, as it was accepted, with its original key. */
export const callRequest = (
  exchange: Exchange,
  body: Uint8Array,
  signal: AbortSignal,
): UpstreamRequest => {
  const { policy, method, target, headers } = inputOf(exchange);
  return [
    upstreamUrl(policy.upstream, target),
    {
      method,
      headers: headers.map(([name, value]) => [name, value]),
      body: body.byteLength === 0 ? null : body,
      redirect: "manual",
      signal,
    },
  ];
};

/** Of the content, or of the key: they say nothing about the question. */
const NOT_ASKED_WITH = /^(content-.+|idempotency-key|expect|prefer)$/;

/** The question: a GET of the status path, with the credentials of the call. */
export const statusRequest = (
  exchange: Exchange,
  path: string,
  signal: AbortSignal,
): UpstreamRequest => {
  const { policy, headers } = inputOf(exchange);
  // As the upstream was told it, without the quotes of a structured field.
  const told = headers.find(([name]) => name === "idempotency-key")?.[1] ?? exchange.key;
  const key = encodeURIComponent(told.replaceAll('"', ""));
  return [
    upstreamUrl(policy.upstream, path.replaceAll("{key}", key)),
    {
      headers: headers
        .filter(([name]) => !NOT_ASKED_WITH.test(name))
        .map(([name, value]) => [name, value]),
      redirect: "manual",
      signal,
    },
  ];
};
