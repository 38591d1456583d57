/**
 * The gateway that is measured: the product, and beside it, in the same workerd, what it is compared with.
 *
 * - `/proxy/…`: the same call through a plain Hono proxy, with no idempotency at all;
 * - `/empty`: the same way up to the key object, which then returns a constant.
 */
import type { DurableObject } from "cloudflare:workers";
import { Hono } from "hono";
import { proxy } from "hono/proxy";
import { createGateway } from "../src/app.ts";
import type { Bindings } from "../src/env.ts";
import { AdvisorObject } from "../src/objects/advisor-object.ts";
import type { ExchangeCall, ExchangeReply } from "../src/objects/exchange-call.ts";
import { keyObjectFor } from "../src/objects/key-object.ts";
import { RevocationObject } from "../src/objects/revocation-object.ts";
import { TenantObject } from "../src/objects/tenant-object.ts";

/** What is overridden here, as the method that it is. */
type Exchanges = { exchange(call: ExchangeCall): Promise<ExchangeReply> };
const ProductKeyObject: new (
  ctx: DurableObjectState,
  env: Bindings,
) => DurableObject<Bindings> & Exchanges = keyObjectFor([]);

export class KeyObject extends ProductKeyObject {
  override exchange(call: ExchangeCall): Promise<ExchangeReply> {
    return call.operation === undefined && call.request.target === "/empty"
      ? Promise.resolve(EMPTY)
      : super.exchange(call);
  }
}

const EMPTY: ExchangeReply = {
  kind: "answer",
  status: 200,
  headers: [["content-type", "application/json"]],
  body: new TextEncoder().encode('{"id":"ch_0000000000","object":"charge"}'),
  expiresAtS: 4_000_000_000,
  replayed: false,
};

type BenchBindings = Bindings & { readonly UPSTREAM_ORIGIN: string };

const plain = new Hono<{ Bindings: BenchBindings }>().all("/proxy/*", (c) =>
  proxy(c.env.UPSTREAM_ORIGIN + c.req.path.slice("/proxy".length), {
    raw: c.req.raw,
    redirect: "manual",
  }),
);
const gateway = createGateway({ operations: [], queries: [] });

export { AdvisorObject, RevocationObject, TenantObject };

export default {
  fetch: (request, env, context) =>
    new URL(request.url).pathname.startsWith("/proxy/")
      ? plain.fetch(request, env, context)
      : gateway.fetch(request, env, context),
} satisfies ExportedHandler<BenchBindings>;
