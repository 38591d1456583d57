/**
 * An API behind the gateway, outside the Worker under test: it counts every call that it carries out, by key, and lives
 * on when objects die. POST carries out, or with a key that it honours (`x-honours: true`) only the first time.
 * With `x-fail` it answers 500, with `x-bytes: N` that many bytes. GET /status/{key} tells of a key; GET /count/{key} how often it was carried out.
 */
import { Response, type Request } from "miniflare";

export const upstreamService = () => {
  const effects = new Map<string, number>();
  return async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url);
    const name = decodeURIComponent(pathname.split("/").at(-1) ?? "");
    if (pathname.startsWith("/count/")) return Response.json(effects.get(name) ?? 0);
    if (pathname.startsWith("/status/")) {
      return effects.has(name)
        ? Response.json({ made: name })
        : new Response("unknown", { status: 404 });
    }
    const key = request.headers.get("idempotency-key") ?? "";
    await request.arrayBuffer();
    if (request.headers.has("x-fail")) return new Response("failed", { status: 500 });
    const count = effects.get(key) ?? 0;
    if (count === 0 || request.headers.get("x-honours") !== "true") effects.set(key, count + 1);
    const bytes = request.headers.get("x-bytes");
    return bytes === null
      ? Response.json({ made: key })
      : new Response(Uint8Array.from({ length: Number(bytes) }, (_, at) => (at * 31) % 251));
  };
};
