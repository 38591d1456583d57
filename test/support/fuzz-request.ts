/**
 * Requests for the fuzz, made from what the document says of an operation: good ones, and ones with something wrong,
 * each with the answer that the contract's order of checks gives it. What JSON Schema cannot say of a body is listed
 * here, in `isBeyondSchema`, and nowhere else.
 */
import fc from "fast-check";
import type { Random } from "./crash-random.ts";
import type { ApiDocument, Documented, JsonSchema, Parameter } from "./fuzz-document.ts";
import { latin1, type RawRequest } from "./raw-http.ts";

/** A tenant, and what it is known to have: ids that requests may name. */
export type World = {
  readonly tenant: string;
  readonly tokens: Tokens;
  readonly accounts: string[];
  readonly skus: string[];
  readonly payments: string[];
  readonly orders: string[];
  readonly keys: string[];
  /** A payment of another tenant: nobody here may see it. */
  readonly foreignPayment: string;
  /** Requests that meet what is rare, by operation: a balance at its limit, a merchant who has spent the money. */
  readonly rare: Record<string, readonly Rare[]>;
};

type Rare = {
  readonly params?: Readonly<Record<string, string>>;
  readonly json?: unknown;
};

export type Tokens = {
  /** Every scope. */
  readonly full: string;
  /** All scopes but this one. */
  readonly without: Readonly<Record<string, string>>;
  /** None of these is accepted. */
  readonly bad: readonly string[];
};

/** A refusal that must come, whatever the key's state; the earliest of the contract's order wins. */
export type Fault = {
  readonly rank: number;
  readonly status: number;
  readonly code: string;
  readonly what: string;
};

export type Draft = {
  readonly operation: Documented;
  readonly method: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: string;
  readonly headers: RawRequest["headers"];
  /** Undefined: the request has no body. */
  readonly body: string | Uint8Array | undefined;
  /** What the body says, if it is JSON at all. */
  readonly json: unknown;
  readonly key: string | undefined;
  readonly faults: readonly Fault[];
};

export const targetOf = ({ operation, params, query }: Draft): string =>
  operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(params[name] ?? ""),
  ) + query;

export const rawOf = (draft: Draft): RawRequest => ({
  method: draft.method,
  target: targetOf(draft),
  headers: draft.headers,
  ...(draft.body === undefined ? {} : { body: draft.body }),
});

/** The refusal that the contract's order of checks names first. */
export const firstFault = ({ faults }: Draft): Fault | undefined =>
  faults.toSorted((a, b) => a.rank - b.rank)[0];

/** 404/405 → 401 → 403 → 429 → 415 → 413 → key → JSON → scopes of the body → key state → schema → run. */
const RANK = { credentials: 1, scope: 2, media: 3, size: 4, key: 5, json: 6, bodyScope: 7 };

const CURRENCIES = ["EUR", "EUR", "EUR", "EUR", "USD"];
const TEXTS = [
  "rent",
  "",
  "Zürich – 東京 🧾",
  "e\u0301 or é",
  "\u202Eright to left",
  "a'; DROP TABLE journal; --",
  "<script>alert(1)</script>",
  "\\u0000",
  "x".repeat(500),
  "🧾".repeat(250),
];
const JTI = "00000000-0000-4000-8000-00000000f0f0";

const newFuzzKey = (random: Random): string => {
  const id = Array.from({ length: 8 }, () => random.int(0, 0xffff).toString(16).padStart(4, "0"));
  const key = `fuzz-${id.join("")}`;
  if (random.chance(0.9)) return key;
  return random.pick([
    `${key}${"k".repeat(255 - key.length)}`,
    key.slice(5, 21),
    `../${key}/..`,
    `${key}%00%ff`,
    `${key}'--`,
    `${key}#?&=`,
    `{${key}}`,
    `${key}:a:b`,
  ]);
};

/** A request that asks for what there is, or might be. Nothing about its form is wrong. */
export const draftOf = (
  operation: Documented,
  world: World,
  document: ApiDocument,
  random: Random,
): Draft => {
  const params = Object.fromEntries(
    operation.parameters
      .filter((one) => one.in === "path")
      .map((one) => [one.name, pathValue(operation, one, world, random)]),
  );
  const key = operation.keyed ? newFuzzKey(random) : undefined;
  const rares = world.rare[operation.id] ?? [];
  const rare =
    rares.length > 0 && random.chance(operation.method === "GET" ? 0.5 : 0.05)
      ? random.pick(rares)
      : undefined;
  let json = rare?.json;
  if (operation.input !== undefined && rare === undefined) {
    // What the schema cannot say is met by chance: again until it is.
    for (let tries = 0; tries < 20; tries++) {
      json = valueOf(operation.input, "", { operation, world, random });
      if (document.allowsBody(operation, json) && !isBeyondSchema(operation, json)) break;
    }
  }
  return {
    operation,
    method: operation.method,
    params: { ...params, ...rare?.params },
    query: operation.method === "GET" ? searchOf(operation, world, random) : "",
    headers: [
      ...(operation.scope === undefined
        ? []
        : [["Authorization", `Bearer ${world.tokens.full}`] as const]),
      ...(operation.input === undefined ? [] : [["Content-Type", "application/json"] as const]),
      ...(operation.asksForKey ? [["Idempotency-Key", key ?? newFuzzKey(random)] as const] : []),
    ],
    body: json === undefined ? undefined : JSON.stringify(json),
    json,
    key,
    faults: [],
  };
};

type Making = {
  readonly operation: Documented;
  readonly world: World;
  readonly random: Random;
};

/** A value of a schema; where a member's name tells what it means, one that may exist. */
const valueOf = (given: JsonSchema, name: string, making: Making): unknown => {
  const { random } = making;
  const hinted = hintOf(name, making);
  if (hinted !== undefined) return hinted;
  const options = given["anyOf"] as readonly JsonSchema[] | undefined;
  if (options !== undefined) return valueOf(random.pick(options), name, making);
  if ("const" in given) return given["const"];
  if (Array.isArray(given["enum"])) return random.pick(given["enum"] as readonly unknown[]);
  switch (given["type"]) {
    case "object":
      return objectOf(given, making);
    case "array": {
      const [min, max] = [Number(given["minItems"] ?? 0), Number(given["maxItems"] ?? 5)];
      const length = random.chance(0.1) ? random.int(min, max) : random.int(min, Math.min(max, 3));
      const items = Array.from({ length }, () =>
        valueOf(given["items"] as JsonSchema, name, making),
      );
      return items;
    }
    case "integer": {
      const [min, max] = [Number(given["minimum"] ?? 0), Number(given["maximum"] ?? 1e6)];
      return random.pick([
        random.int(Math.max(min, 1), Math.min(max, 100)),
        random.int(Math.max(min, 1), Math.min(max, 100)),
        random.int(min, max),
        min,
        max,
      ]);
    }
    case "string":
      return typeof given["pattern"] === "string"
        ? sampleOf(new RegExp(given["pattern"], "u"), random)
        : random.pick(TEXTS);
    case "boolean":
      return random.chance(0.5);
    default:
      return null;
  }
};

const objectOf = (given: JsonSchema, making: Making): Record<string, unknown> => {
  const required = (given["required"] ?? []) as readonly string[];
  const properties = Object.entries((given["properties"] ?? {}) as Record<string, JsonSchema>);
  return Object.fromEntries(
    properties
      .filter(([name]) => required.includes(name) || making.random.chance(0.4))
      .map(([name, property]) => [name, valueOf(property, name, making)]),
  );
};

const sampleOf = (pattern: RegExp, random: Random): string =>
  fc.sample(fc.stringMatching(pattern), { numRuns: 1, seed: random.int(1, 2 ** 31 - 1) })[0] ?? "";

const account = ({ world, random }: Making): string =>
  random.chance(0.03) ? "nobody-here" : random.pick(world.accounts);

const freshId = (random: Random): string => `n${random.int(0, 2 ** 31).toString(36)}x`;

const hintOf = (name: string, making: Making): unknown => {
  const { operation, world, random } = making;
  switch (name) {
    case "source":
    case "buyer":
      return random.chance(0.5) ? "alice" : plain(account(making), operation);
    case "destination":
    case "merchant":
      return random.chance(0.5) ? "bob" : plain(account(making), operation);
    case "currency":
      return random.pick(CURRENCIES);
    case "id":
      return random.chance(0.2) ? "alice" : freshId(random);
    case "sku":
      if (operation.id === "products.create") return random.chance(0.2) ? "mug" : freshId(random);
      return random.chance(0.05) ? "no-such-thing" : random.pick(world.skus);
    case "description":
    case "reason":
      return random.pick(TEXTS.slice(0, 9));
    case "name":
      return random.pick(["Mug", "Tasse 🫖", "x".repeat(200)]);
    case "expiresAt":
      return new Date(Date.now() + 3_600_000).toISOString();
    case "issuer":
      return "latchkey";
    default:
      return undefined;
  }
};

/** An order names no system account. */
const plain = (id: string, { id: operation }: Documented): string =>
  operation === "orders.create" && id.startsWith("system:") ? "poor" : id;

const pathValue = (
  operation: Documented,
  { name }: Parameter,
  world: World,
  random: Random,
): string => {
  const collection = operation.path.split("/")[2] ?? "";
  const known: Readonly<Record<string, readonly string[]>> = {
    accounts: world.accounts,
    payments: world.payments,
    products: world.skus,
    orders: world.orders,
    // What is erased would be missed by those who retry it.
    "idempotency-keys": operation.method === "GET" ? world.keys : [],
  };
  const unknown: Readonly<Record<string, string>> = {
    accounts: "nobody-here",
    payments: random.chance(0.5) ? world.foreignPayment : `pay_${"0".repeat(25)}z`,
    products: "no-such-thing",
    orders: `ord_${"0".repeat(26)}`,
    "idempotency-keys": newFuzzKey(random),
  };
  if (name === "jti") return JTI;
  if (name === "refund") return `ref_${"0".repeat(26)}_0`;
  const pool = known[collection] ?? [];
  return pool.length > 0 && random.chance(0.85)
    ? random.pick(pool)
    : (unknown[collection] ?? "unknown");
};

const searchOf = (operation: Documented, world: World, random: Random): string => {
  const pairs = operation.parameters
    .filter((one) => one.in === "query" && (one.required || random.chance(0.4)))
    .map((one): string => {
      const value =
        one.name === "after" && operation.path === "/v1/payments" && world.payments.length > 0
          ? random.pick(world.payments)
          : valueOf(one.schema, "", { operation, world, random });
      return `${one.name}=${encodeURIComponent(String(value))}`;
    });
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
};

/** The members of a JSON object; of any other value none. (A string spread out would be halves of its characters.) */
const membersOf = (json: unknown): Readonly<Record<string, unknown>> =>
  typeof json === "object" && json !== null && !Array.isArray(json)
    ? (json as Readonly<Record<string, unknown>>)
    : {};

/** Rules of a body that its schema does not say, because JSON Schema has no words for them. */
export const isBeyondSchema = ({ id }: Documented, body: unknown): boolean => {
  const members = membersOf(body);
  const lines = Array.isArray(members["lines"]) ? (members["lines"] as { sku?: unknown }[]) : [];
  return (
    // ISO 4217 has more and less than three letters of the alphabet.
    ("currency" in members && !["EUR", "USD", "CHF"].includes(String(members["currency"]))) ||
    (id === "payments.create" && members["source"] === members["destination"]) ||
    (id === "orders.create" &&
      (members["buyer"] === members["merchant"] ||
        new Set(lines.map(({ sku }) => sku)).size < lines.length)) ||
    (id === "stock.adjust" && members["delta"] === 0) ||
    // It must lie ahead, and be a time that exists.
    (id === "ops.revoke-token" && !(Date.parse(String(members["expiresAt"])) > Date.now()))
  );
};

/* What may be wrong. */

type Mutation = (draft: Draft, world: World, random: Random) => Draft;

const withFault = (
  draft: Draft,
  rank: number,
  status: number,
  code: string,
  what: string,
): Draft => ({
  ...draft,
  faults: [...draft.faults, { rank, status, code, what }],
});

const hasFault = ({ faults }: Draft, ...ranks: readonly number[]): boolean =>
  faults.some(({ rank }) => ranks.includes(rank));

/** Whether the refusal rests on what the body says: a smaller body may deserve another. */
export const restsOnBody = (draft: Draft): boolean => hasFault(draft, RANK.bodyScope);

const without = (headers: Draft["headers"], name: string): Draft["headers"] =>
  headers.filter(([other]) => other.toLowerCase() !== name.toLowerCase());

const credentials: Mutation = (draft, world, random) => {
  if (draft.operation.scope === undefined || hasFault(draft, RANK.scope, RANK.bodyScope))
    return draft;
  const { full, bad } = world.tokens;
  const rest = without(draft.headers, "Authorization");
  const value = random.pick([
    "",
    "Bearer",
    "Basic dGVzdDp0ZXN0",
    "Bearer a.b.c",
    `Bearer ${"x".repeat(random.pick([10, 10_000, 60_000]))}`,
    `Token ${full}`,
    `Bearer ${full} ${full}`,
    `Bearer ${full.slice(0, -2)}`,
    `Bearer ${full},`,
    `Bearer\u00A0${full}`,
    ...bad.map((token) => `Bearer ${token}`),
  ]);
  const headers = random.pick<Draft["headers"]>([
    rest,
    [...rest, ["Authorization", value]],
    // Two lines arrive joined.
    [...rest, ["Authorization", `Bearer ${full}`], ["authorization", `Bearer ${full}`]],
  ]);
  return withFault({ ...draft, headers }, RANK.credentials, 401, "unauthenticated", "credentials");
};

const scope: Mutation = (draft, world) => {
  const needed = draft.operation.scope;
  const token = needed === undefined ? undefined : world.tokens.without[needed];
  if (token === undefined || hasFault(draft, RANK.credentials, RANK.bodyScope)) return draft;
  const headers = [
    ...without(draft.headers, "Authorization"),
    ["Authorization", `Bearer ${token}`] as const,
  ];
  return withFault({ ...draft, headers }, RANK.scope, 403, "forbidden", `no scope ${needed}`);
};

const media: Mutation = (draft, _world, random) => {
  if (draft.operation.input === undefined) return draft;
  const rest = without(draft.headers, "Content-Type");
  const headers = random.pick<Draft["headers"]>([
    rest,
    [...rest, ["Content-Type", "text/plain"]],
    [...rest, ["Content-Type", "application/json; charset=iso-8859-1"]],
    [...rest, ["Content-Type", "application/json; charset=utf-16"]],
    [...rest, ["Content-Type", "application/jsonp"]],
    [...rest, ["Content-Type", "application/problem+json"]],
    [...rest, ["Content-Type", "application/json"], ["content-type", "application/json"]],
    [
      ...draft.headers,
      ["Content-Encoding", random.pick(["gzip", "br", "deflate", "x", "gzip, identity"])],
    ],
  ]);
  return withFault({ ...draft, headers }, RANK.media, 415, "unsupported-media-type", "media type");
};

const size: Mutation = (draft) =>
  typeof draft.body !== "string"
    ? draft
    : withFault(
        { ...draft, body: draft.body + " ".repeat(64 * 1024 + 1) },
        RANK.size,
        413,
        "body-too-large",
        "64 KiB and more",
      );

const keyForm: Mutation = (draft, _world, random) => {
  if (draft.key === undefined) return draft;
  const { key } = draft;
  const rest = without(draft.headers, "Idempotency-Key");
  const missing = random.chance(0.3);
  const headers: Draft["headers"] = missing
    ? random.pick<Draft["headers"]>([
        rest,
        [...rest, ["Idempotency-Key", random.pick(["", "   ", "\t"])]],
      ])
    : random.pick<Draft["headers"]>([
        [...rest, ["Idempotency-Key", key], ["Idempotency-Key", key]],
        [...rest, ["Idempotency-Key", key], ["idempotency-KEY", `${key}2`]],
        ...[
          key.slice(0, 15),
          key.padEnd(256, "k"),
          `${key} ${key}`,
          `${key}, ${key}`,
          `"${key}`,
          `${key}"`,
          `"${key}"; a=1`,
          `${key}\\`,
          `""`,
          `"${"k".repeat(15)}"`,
          "k".repeat(20_000),
        ].map((value): Draft["headers"] => [...rest, ["Idempotency-Key", value]]),
        [...rest, ["Idempotency-Key", latin1(`${key}é`)]],
        [...rest, ["Idempotency-Key", `${key}ключ`]],
        [...rest, ["Idempotency-Key", `${key}\u0007`]],
      ]);
  return withFault(
    { ...draft, headers, key: undefined },
    RANK.key,
    400,
    missing ? "idempotency-key-missing" : "idempotency-key-invalid",
    "key",
  );
};

const json: Mutation = (draft, _world, random) => {
  const { body } = draft;
  if (typeof body !== "string" || !body.startsWith("{")) return draft;
  if (hasFault(draft, RANK.json, RANK.size, RANK.bodyScope)) return draft;
  const opened = body === "{}" ? "{" : `${body.slice(0, -1)},`;
  const broken = random.pick<string | Uint8Array>([
    "",
    " ",
    body.slice(0, -1),
    `${body}x`,
    `${body}${body}`,
    `\uFEFF${body}`,
    Buffer.from(body, "utf16le"),
    Buffer.concat([
      Buffer.from(`${opened}"description":"`),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]),
    Buffer.concat([
      Buffer.from(`${opened}"a":"`),
      Buffer.from([0xed, 0xa0, 0x80]),
      Buffer.from('"}'),
    ]),
    Buffer.concat([Buffer.from(`${opened}"a":"`), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
    `${opened}"a":1,"a":1}`,
    `${opened}"a":1,"\\u0061":2}`,
    `${opened}"a":-0}`,
    `${opened}"a":9007199254740993}`,
    `${opened}"a":1e400}`,
    `${opened}"a":1.0000000000000000000001}`,
    `${opened}"a":"\\ud800"}`,
    `${opened}"\\udc00":1}`,
    `${opened}"__proto__":{"x":1}}`,
    `${opened}"a":${"[".repeat(32)}${"]".repeat(32)}}`,
    `${opened}"a":${"[".repeat(20_000)}${"]".repeat(20_000)}}`,
    `${opened}"a":NaN}`,
    `${opened}"a":01}`,
    `${opened}"a":+1}`,
    `${opened}"a":"\t"}`,
    `${opened}}`,
    body.replaceAll('"', "'"),
    `${body} // comment`,
    `/**/${body}`,
  ]);
  if (broken === body) return draft;
  return withFault(
    { ...draft, body: broken, json: undefined },
    RANK.json,
    400,
    "request-invalid",
    "JSON",
  );
};

/** Changes one place of the body; whether the result is allowed is the document's to say. */
const member: Mutation = (draft, _world, random) => {
  if (draft.json === undefined || hasFault(draft, RANK.json, RANK.size, RANK.bodyScope))
    return draft;
  const changed = mutated(draft.json, random);
  const text = JSON.stringify(changed);
  return { ...draft, json: changed, body: text };
};

const ODD: readonly unknown[] = [
  null,
  true,
  "",
  "x",
  "\u0000",
  "🧾",
  "x".repeat(501),
  "x".repeat(20_000),
  0,
  1,
  -1,
  0.5,
  1e12,
  1e12 + 1,
  Number.MAX_SAFE_INTEGER,
  -Number.MAX_SAFE_INTEGER,
  5e-324,
  [],
  {},
  [null],
  { "": null },
  ["a", ["b"]],
  "system:EUR",
  "system:XXX",
  "ALICE",
  "alice ",
  "alice\n",
  "EURO",
  "eur",
  "XXX",
  "constructor",
  "2020-01-01T00:00:00Z",
  "2026-13-45T99:00:00Z",
];

const mutated = (value: unknown, random: Random): unknown => {
  if (random.chance(0.15)) return random.pick(ODD);
  if (Array.isArray(value) && value.length > 0) {
    const items: readonly unknown[] = value;
    const at = random.int(0, items.length - 1);
    if (random.chance(0.2)) return [...items, items[at]];
    if (random.chance(0.1)) return Array.from({ length: 51 }, () => items[at]);
    return items.map((item, i) => (i === at ? mutated(item, random) : item));
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const entries = Object.entries(value);
    const at = random.int(0, Math.max(0, entries.length - 1));
    if (random.chance(0.2)) {
      const name = random.pick([
        "extra",
        "constructor",
        "toString",
        "",
        "amountMinor ",
        "Source",
        "ключ",
      ]);
      return { ...value, [name]: random.pick(ODD) };
    }
    if (random.chance(0.2)) return Object.fromEntries(entries.filter((_, i) => i !== at));
    return Object.fromEntries(
      entries.map(([name, item], i) => [name, i === at ? mutated(item, random) : item]),
    );
  }
  return random.pick(ODD);
};

const path: Mutation = (draft, _world, random) => {
  const names = Object.keys(draft.params);
  if (names.length === 0) return draft;
  const name = random.pick(names);
  // What a key's path holds is judged like the header.
  const keys = name === "key" ? [" ", " ", "short", "k".repeat(256), "a key with spaces"] : [];
  const value = random.pick([
    ...keys,
    ...keys,
    "x",
    "..",
    "%",
    "a/b",
    "\u0000",
    "ü",
    "__proto__",
    "pay_",
    `${draft.params[name]}x`,
    "x".repeat(3_000),
    "' OR 1=1 --",
    " ",
    "*",
    "{id}",
    "\uFFFD",
  ]);
  return { ...draft, params: { ...draft.params, [name]: value } };
};

const query: Mutation = (draft, _world, random) => ({
  ...draft,
  query: random.pick([
    "?x=1",
    "?limit=0",
    "?limit=201",
    "?limit=abc",
    "?limit=1e9",
    "?limit=",
    "?limit=-1",
    "?limit=1.5",
    "?after=%ff",
    "?after=",
    "?after=%00",
    "?after=x'--",
    "?limit=1&limit=2",
    "?state=nothing",
    "?",
    "?&&&",
    "?%zz=%zz",
    "?__proto__=1",
    `?x=${"y".repeat(8_000)}`,
    "?limit[]=1",
    "?a=1#fragment",
  ]),
});

/** What changes nothing: the same request, said differently. */
const disguise: Mutation = (draft, _world, random) => {
  if (hasFault(draft, RANK.media)) return draft;
  const swap = (name: string, value: string): Draft["headers"] =>
    draft.headers.map((one) => (one[0] === name ? ([name, value] as const) : one));
  const headers = random.pick<Draft["headers"]>([
    draft.key === undefined ? draft.headers : swap("Idempotency-Key", `"${draft.key}"`),
    swap("Content-Type", 'APPLICATION/JSON ; charset="UTF-8"'),
    [...without(draft.headers, "Content-Encoding"), ["Content-Encoding", "identity"]],
    [...draft.headers, ["Prefer", random.pick(ODD_PREFERENCES)]],
    [...draft.headers, ["X-Odd", "x".repeat(random.pick([1, 8_000, 60_000]))]],
    [
      ...draft.headers,
      ["Accept", "text/html"],
      ["Accept-Encoding", "gzip, br"],
      ["TE", "trailers"],
    ],
    [...draft.headers, ["X-Forwarded-Host", "evil.example"], ["X-Tenant", "other"]],
    [...draft.headers, ["Expect", "100-continue"]],
    [...draft.headers, ["Host", random.pick(["other.example:99", "a b<>", "", "[::1"])]],
    [...draft.headers, ["If-Match", "*"], ["Range", "bytes=0-1"], ["If-None-Match", "*"]],
    [...draft.headers, ["X-HTTP-Method-Override", "DELETE"]],
  ]);
  return { ...draft, headers };
};

const ODD_PREFERENCES = [
  "wait",
  "wait=",
  "wait=abc",
  "wait=-1",
  "wait=1",
  "wait=999999999999999999999999",
  'wait="2"',
  "wait=1; x=y, return=minimal",
  "return=representation",
  ",,,;;;===",
  "respond-asynchronously",
  "wait=0x10",
  "é",
  "x".repeat(8_000),
];

/** With money from outside, and a token that may not. */
const bodyScope: Mutation = (draft, world) => {
  const token = world.tokens.without["ledger:fund"];
  if (draft.json === undefined || token === undefined || draft.faults.length > 0) return draft;
  const change =
    draft.operation.id === "payments.create"
      ? { source: "system:EUR" }
      : draft.operation.id === "accounts.create"
        ? { overdraftLimitMinor: 5 }
        : undefined;
  if (change === undefined) return draft;
  const changed = { ...membersOf(draft.json), ...change };
  return withFault(
    {
      ...draft,
      json: changed,
      body: JSON.stringify(changed),
      headers: [...without(draft.headers, "Authorization"), ["Authorization", `Bearer ${token}`]],
    },
    RANK.bodyScope,
    403,
    "forbidden",
    "no scope ledger:fund",
  );
};

const MUTATIONS: readonly Mutation[] = [
  member,
  member,
  member,
  json,
  keyForm,
  media,
  size,
  credentials,
  scope,
  path,
  query,
  disguise,
  disguise,
  bodyScope,
];

/** How many things can go wrong with a draft, see `mutate`. */
export const MUTATIONS_COUNT = MUTATIONS.length;

/**
 * One thing wrong with a draft, or none that shows.
 * @param which instead of chance, so that a run comes by all of them
 */
export const mutate = (draft: Draft, world: World, random: Random, which?: number): Draft => {
  const mutation = which === undefined ? random.pick(MUTATIONS) : MUTATIONS[which];
  return mutation === undefined ? draft : mutation(draft, world, random);
};

/** The same request in another writing: members turned around, white space, the other form of the key. */
export const rewritten = (draft: Draft, random: Random): Draft => {
  const turned =
    typeof draft.json === "object" && draft.json !== null && !Array.isArray(draft.json)
      ? Object.fromEntries(Object.entries(draft.json).toReversed())
      : draft.json;
  return {
    ...draft,
    ...(typeof draft.body === "string" && draft.json !== undefined
      ? { body: JSON.stringify(turned, null, random.int(0, 3)) }
      : {}),
    headers: draft.headers.map((one) =>
      one[0] === "Idempotency-Key" && draft.key !== undefined
        ? ([one[0], random.chance(0.5) ? `"${draft.key}"` : draft.key] as const)
        : one,
    ),
  };
};

/** The same key with another body. */
export const reused = (draft: Draft, random: Random): Draft => {
  const name = random.pick(["description", "amountMinor", "note", "lines", "delta"]);
  const value = random.pick([`other ${random.int(1, 1e9)}`, random.int(2e6, 3e6), null, { a: 1 }]);
  const changed = { ...membersOf(draft.json), [name]: value };
  return { ...draft, json: changed, body: JSON.stringify(changed) };
};
