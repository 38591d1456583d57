import { describe, expect, it } from "vitest";
import { isGateway, parseGateway, routeFor } from "../../../src/gateway/route-policy.ts";

const ORIGIN = "https://api.example.com";
const parse = (routes: unknown, more: object = {}) =>
  parseGateway({ UPSTREAM_ORIGIN: ORIGIN, GATEWAY_ROUTES: JSON.stringify(routes), ...more });

/** What is said of one route that is wrong. */
const faultOf = (route: object, more: object = {}): string => {
  try {
    parse([{ path: "/**", ...route }], more);
    return "nothing";
  } catch (error) {
    return String(error);
  }
};

describe("the gateway's configuration", () => {
  it("is there when one of its vars is set to something", () => {
    expect(isGateway({})).toBe(false);
    expect(isGateway({ UPSTREAM_ORIGIN: "", GATEWAY_ROUTES: "[]" })).toBe(false);
    expect(isGateway({ UPSTREAM_ORIGIN: ORIGIN })).toBe(true);
    expect(isGateway({ GATEWAY_ROUTES: "nonsense" })).toBe(true);
  });

  it("needs one var: then every POST and PATCH is protected, by a policy that assumes nothing of the upstream", () => {
    const gateway = parseGateway({ UPSTREAM_ORIGIN: ORIGIN });
    expect(routeFor(gateway, "POST", "/anything")).toMatchObject({
      protect: true,
      missingKey: "reject",
      auth: { kind: "passthrough", header: "authorization", tenant: null },
      policy: {
        route: "default",
        upstream: { kind: "origin", origin: ORIGIN },
        honoursKey: false,
        status: null,
        finalStatuses: null,
        keyLifetimeSeconds: 86_400,
        tombstoneSeconds: 2_592_000,
      },
    });
  });

  it("the first route that matches counts; what none matches is protected all the same", () => {
    const gateway = parse([
      { method: "POST", path: "/v1/login", protect: false },
      { method: "POST", path: "/v1/**", name: "v1", honoursKey: true },
      { method: "GET", path: "/slow/**", timeoutMs: 60_000 },
    ]);
    expect(routeFor(gateway, "POST", "/v1/login")?.protect).toBe(false);
    expect(routeFor(gateway, "PATCH", "/v1/login")).toMatchObject({
      protect: true,
      policy: { route: "default" },
    });
    expect(routeFor(gateway, "POST", "/v1/charges")?.policy.route).toBe("v1");
    expect(routeFor(gateway, "HEAD", "/slow/a")?.policy.timeoutMs).toBe(60_000);
    expect(routeFor(gateway, "OPTIONS", "/v1/login")?.policy.route).toBe("POST /v1/login");
  });

  it("without UPSTREAM_ORIGIN what no route matches goes nowhere", () => {
    const gateway = parseGateway({
      GATEWAY_ROUTES: JSON.stringify([{ path: "/v1/**", upstream: ORIGIN }]),
    });
    expect(routeFor(gateway, "POST", "/v2/charges")).toBeNull();
    expect(routeFor(gateway, "POST", "/v1/charges")).not.toBeNull();
  });

  it("a service binding is an upstream if it is bound", () => {
    const service = { fetch: () => undefined };
    const gateway = parse([{ path: "/**", upstream: "service:BILLING" }], { BILLING: service });
    expect(gateway.routes[0]?.policy.upstream).toEqual({ kind: "service", binding: "BILLING" });
    expect(faultOf({ upstream: "service:BILLING" })).toContain(
      "GATEWAY_ROUTES.0.upstream names the service binding BILLING, which is not bound",
    );
  });

  it("every mistake is named, all at once, and no secret's value", () => {
    expect(() =>
      parseGateway({
        UPSTREAM_ORIGIN: "http://api.example.com",
        GATEWAY_ROUTES: JSON.stringify([
          { path: "v1", method: "FETCH" },
          { path: "/a", timeoutMs: 1, unknown: true },
        ]),
      }),
    ).toThrow(
      /UPSTREAM_ORIGIN is not https; GATEWAY_ROUTES\.0\.method .+; GATEWAY_ROUTES\.0\.path is not a path pattern.+; GATEWAY_ROUTES\.1\.timeoutMs .+; GATEWAY_ROUTES\.1 .*unknown/,
    );
    expect(() => parseGateway({ GATEWAY_ROUTES: "[" })).toThrow("GATEWAY_ROUTES is not JSON");
    const webhook = { url: "https://hooks.example.com/a", secretName: "HOOK" };
    expect(faultOf({ webhook })).toContain("names a secret that is not set");
    expect(faultOf({ webhook }, { HOOK: "whsec_abc" })).toBe("nothing");
    expect(
      faultOf({ webhook: { ...webhook, url: "http://a.b/c" } }, { HOOK: "whsec_abc" }),
    ).toMatch(/webhook\.url is not https/);
  });

  it.each([
    [{ keepHeaders: ["set-cookie"] }, "keepHeaders.0 names a header that is never kept"],
    [{ keepHeaders: ["a b"] }, "keepHeaders.0 is not the name of a header"],
    [{ finalStatuses: [100] }, "finalStatuses.0"],
    [{ status: { path: "/status" } }, "status.path does not say where the {key} goes"],
    [{ credentialHeader: "Cookie" }, "credentialHeader is cookie"],
    [{ auth: "jwt", tenant: "acme" }, "tenant is what the token says"],
    [{ tenant: "credential:abc" }, "tenant begins like a hashed credential"],
    [{ keyLifetimeSeconds: 600 }, "heal.elapsedSecondsMax with the time-out"],
    [{ heal: { attemptsMax: 101 } }, "heal.attemptsMax"],
    [{ protect: "no" }, "protect"],
  ])("%j is refused", (route, fault) => {
    expect(faultOf(route)).toContain(`GATEWAY_ROUTES.0.${fault}`);
  });
});

describe("74: an upstream", () => {
  const faultOfOrigin = (upstream: string): string => faultOf({ upstream });

  it.each([
    "https://api.example.com",
    "https://10.0.0.1:8443",
    "http://localhost:3000",
    "http://127.0.0.1:3000",
    "http://[::1]:3000",
  ])("%s may be one", (upstream) => expect(faultOfOrigin(upstream)).toBe("nothing"));

  it.each([
    ["http://api.example.com", "is not https"],
    ["http://localhost.example.com", "is not https"],
    ["https://api.example.com/", "is not an origin"],
    ["https://api.example.com/v1", "is not an origin"],
    ["https://user:secret@api.example.com", "is not an origin"],
    ["ftp://api.example.com", "is not"],
    ["api.example.com", "is not an origin"],
    ["https://169.254.169.254", "machine's own secrets"],
    ["http://169.254.169.254", "machine's own secrets"],
    ["https://[fe80::1]", "machine's own secrets"],
    ["https://[fd00:ec2::254]", "machine's own secrets"],
    ["https://[::ffff:a9fe:a9fe]", "machine's own secrets"],
    ["https://metadata.google.internal", "machine's own secrets"],
    ["https://0.0.0.0", "machine's own secrets"],
    ["https://100.100.100.200", "machine's own secrets"],
  ])("%s may not: %s", (upstream, fault) => {
    expect(faultOfOrigin(upstream)).toContain(fault);
    expect(faultOfOrigin(upstream)).not.toContain("secret@");
  });

  it.each(["https://2852039166", "https://0xa9fea9fe", "https://169.254.43518"])(
    "%s is an address in disguise, and no origin as URLs write them",
    (upstream) => expect(faultOfOrigin(upstream)).toContain("is not an origin"),
  );
});
