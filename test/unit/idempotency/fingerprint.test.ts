import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  differingMembers,
  fingerprint,
  FINGERPRINT_VERSION,
  type Fingerprinted,
  memberHashes,
} from "../../../src/idempotency/fingerprint.ts";
import { canonicalJson, parseJson } from "../../../src/kernel/json.ts";
import { json, jsonObject, memberName, property, text } from "../property.ts";

const payment: Fingerprinted = {
  operation: "payments.create",
  params: {},
  query: [],
  body: {
    source: "alice",
    destination: "bob",
    amountMinor: 1250,
    currency: "EUR",
    lines: [1, 2],
  },
};

const withBody = (body: string): Fingerprinted => {
  const parsed = parseJson(body);
  if (!parsed.ok) throw new Error(parsed.failure);
  return { ...payment, body: parsed.value };
};

/** Query pairs sorted: their order does not matter. */
const normalised = ({ query, ...rest }: Fingerprinted) => ({
  ...rest,
  query: query.map((pair) => JSON.stringify(pair)).toSorted(),
});

const word = fc.constantFrom("", "a", "b", "a=b", '"', '","', "[", "]", ":", "{}", "a,b", "\u0000");
const request = (part: fc.Arbitrary<string>, body: typeof json): fc.Arbitrary<Fingerprinted> =>
  fc.record({
    operation: part,
    params: fc.dictionary(part, part, { maxKeys: 2, noNullPrototype: true }),
    query: fc.array(fc.tuple(part, part), { maxLength: 3 }),
    body,
  });

describe("what the fingerprint does not see", () => {
  it("11: member order and white space, at any depth", () => {
    const first = fingerprint(withBody('{"a":1,"b":{"c":[1,{"x":1,"y":2}],"d":"e"}}'));
    expect(fingerprint(withBody(' { "b" : {"d":"e", "c":[ 1 ,{"y":2,"x":1}]},\n"a":1 } '))).toBe(
      first,
    );
  });

  it("15: how a number or a string is written", () => {
    const first = fingerprint(withBody('{"amountMinor":1,"note":"é"}'));
    for (const body of [
      '{"amountMinor":1.0,"note":"\\u00e9"}',
      '{"amountMinor":1e0,"note":"\\u00E9"}',
    ]) {
      expect(fingerprint(withBody(body))).toBe(first);
    }
  });

  it("16: the order of query pairs", () => {
    const a = {
      ...payment,
      query: [
        ["a", "1"],
        ["b", "2"],
        ["a", "0"],
      ] as const,
    };
    const b = {
      ...payment,
      query: [
        ["a", "0"],
        ["a", "1"],
        ["b", "2"],
      ] as const,
    };
    expect(fingerprint(a)).toBe(fingerprint(b));
  });
});

describe("what the fingerprint sees", () => {
  const base = fingerprint(payment);
  const body = payment.body as Record<string, never>;
  const others: readonly [string, Fingerprinted][] = [
    ["12: another amount", { ...payment, body: { ...body, amountMinor: 1251 } }],
    ["13: another order in an array", { ...payment, body: { ...body, lines: [2, 1] } }],
    ["a member more", { ...payment, body: { ...body, description: "x" } }],
    [
      "a member that is null instead of absent",
      { ...payment, body: { ...body, description: null } },
    ],
    ["a number as a string", { ...payment, body: { ...body, amountMinor: "1250" } }],
    ["another case", { ...payment, body: { ...body, source: "Alice" } }],
    ["another Unicode normalisation", { ...payment, body: { ...body, source: "e\u0301" } }],
    ["an array around it", { ...payment, body: [payment.body] }],
    ["16: a query", { ...payment, query: [["dry", "1"]] }],
    [
      "17: another operation, and with it another method",
      { ...payment, operation: "payments.cancel" },
    ],
    ["17: another path parameter", { ...payment, params: { id: "pay_1" } }],
  ];

  it.each(others)("%s", (_, other) => {
    expect(fingerprint(other)).not.toBe(base);
  });

  it("all of them differ from one another", () => {
    const prints = others.map(([, other]) => fingerprint(other));
    expect(new Set([base, ...prints]).size).toBe(others.length + 1);
  });

  it("16: a query value, a query name, and a pair that is there twice", () => {
    const queries: Fingerprinted["query"][] = [
      [],
      [["a", ""]],
      [["a", "1"]],
      [["a1", ""]],
      [
        ["a", "1"],
        ["a", "1"],
      ],
      [
        ["a", "1"],
        ["b", ""],
      ],
      [["a", "1b"]],
    ];
    const prints = queries.map((query) => fingerprint({ ...payment, query }));
    expect(new Set(prints).size).toBe(queries.length);
  });

  it("17: which part a text stands in", () => {
    const requests: Fingerprinted[] = [
      { operation: "x", params: {}, query: [], body: null },
      { operation: "", params: { x: "" }, query: [], body: null },
      { operation: "", params: { "": "x" }, query: [], body: null },
      { operation: "", params: {}, query: [["x", ""]], body: null },
      { operation: "", params: {}, query: [["", "x"]], body: null },
      { operation: "", params: {}, query: [], body: "x" },
      { operation: "", params: {}, query: [], body: [["x", ""]] },
      { operation: "", params: {}, query: [], body: { x: "" } },
    ];
    expect(new Set(requests.map((r) => fingerprint(r))).size).toBe(requests.length);
  });

  const small = request(
    word,
    fc.oneof(word, fc.array(fc.array(word, { maxLength: 2 }), { maxLength: 2 })),
  );
  property(
    "two requests have one fingerprint if and only if they are the same request",
    fc.property(small, small, (a, b) => {
      const same = isDeepStrictEqual(normalised(a), normalised(b));
      expect(fingerprint(a) === fingerprint(b)).toBe(same);
    }),
    2_000,
  );

  property(
    "the same request has the same fingerprint, whatever is in it",
    fc.property(request(text, json), (a) => {
      const again = { ...structuredClone(a), query: a.query.toReversed() };
      expect(fingerprint(again)).toBe(fingerprint(a));
      expect(fingerprint(a)).toMatch(/^[0-9a-f]{64}$/);
    }),
  );
});

describe("versions", () => {
  const golden: Fingerprinted = {
    operation: "payments.create",
    params: { id: "pay_1" },
    query: [
      ["b", "2"],
      ["a", "1"],
      ["a", "0"],
    ],
    body: { note: "caffè 😀", amountMinor: 1250, currency: "EUR", lines: [1, 2.5, null, true] },
  };

  it("81: version 1 of a request is what it was when keys were stored with it", () => {
    expect(fingerprint(golden, 1)).toBe(
      "bd2847c283183aabc1f2ff41e22def0005fab5b343ccfdc4e625cbeced627abb",
    );
  });

  it("81: version 1 is SHA-256 over one canonical JSON array", () => {
    const canonical =
      '["latchkey-fingerprint-1","payments.create",{"id":"pay_1"},[["a","0"],["a","1"],["b","2"]],' +
      '{"amountMinor":1250,"currency":"EUR","lines":[1,2.5,null,true],"note":"caffè 😀"}]';
    expect(fingerprint(golden, 1)).toBe(createHash("sha256").update(canonical).digest("hex"));
  });

  it("the current version is computable, and is the default", () => {
    expect(fingerprint(golden)).toBe(fingerprint(golden, FINGERPRINT_VERSION));
    expect(fingerprint(golden)).toBeDefined();
  });

  it.each([0, -1, 1.5, FINGERPRINT_VERSION + 1, Number.NaN])(
    "81: version %d is unknown: undefined, never a guess",
    (version) => {
      expect(fingerprint(golden, version)).toBeUndefined();
    },
  );
});

describe("member hashes", () => {
  const secret = "test-only-fingerprint-secret-0123456789abcdefghij";
  const differing = (a: Fingerprinted, b: Fingerprinted) =>
    differingMembers(memberHashes(a, secret), memberHashes(b, secret));

  it("name the one member that differs", () => {
    expect(
      differing(
        payment,
        withBody(
          '{"source":"alice","destination":"bob","amountMinor":1251,"currency":"EUR","lines":[1,2]}',
        ),
      ),
    ).toEqual(["amountMinor"]);
  });

  it("name what was added and what was left out, sorted", () => {
    expect(
      differing({ ...payment, body: { b: 1, c: 1 } }, { ...payment, body: { c: 1, a: 1 } }),
    ).toEqual(["a", "b"]);
  });

  it("name operation, path and query by what no member can be confused with", () => {
    expect(differing(payment, { ...payment, operation: "x" })).toEqual(["(operation)"]);
    expect(differing(payment, { ...payment, params: { id: "1" } })).toEqual(["(path)"]);
    expect(differing(payment, { ...payment, query: [["a", "1"]] })).toEqual(["(query)"]);
    expect(differing({ ...payment, body: 1 }, { ...payment, body: 2 })).toEqual(["(body)"]);
    expect(differing({ ...payment, body: 1 }, { ...payment, body: { a: 1 } })).toEqual([
      "(body)",
      "a",
    ]);
  });

  it("name nothing when only the order of query pairs or members differs", () => {
    const a = {
      ...payment,
      query: [
        ["a", "1"],
        ["b", "2"],
      ] as const,
    };
    expect(differing(a, { ...a, query: a.query.toReversed() })).toEqual([]);
  });

  it("are keyed: without the secret no guess can be checked", () => {
    const one = memberHashes(payment, secret);
    const other = memberHashes(payment, `${secret}x`);
    const names = Object.keys(one).filter((name) => name !== "(operation)");
    expect(names).toHaveLength(5);
    for (const name of names) expect(other[name]).not.toBe(one[name]);
  });

  it("know names that every object inherits", () => {
    const a = { ...payment, body: { constructor: 1, toString: 2 } };
    const b = { ...payment, body: { constructor: 1, toString: 3 } };
    expect(differing(a, b)).toEqual(["toString"]);
    expect(differing(a, { ...payment, body: {} })).toEqual(["constructor", "toString"]);
  });

  const fewValues = fc.dictionary(memberName, fc.constantFrom(null, 0, 1, "1", "", [], [0]), {
    maxKeys: 6,
    noNullPrototype: true,
  });
  property(
    "name exactly the members that differ",
    fc.property(fewValues, fewValues, (a, b) => {
      const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].toSorted();
      const expected = names.filter((name) => {
        const [x, y] = [a, b].map((body) =>
          Object.hasOwn(body, name) ? canonicalJson(body[name] ?? null) : undefined,
        );
        return x !== y;
      });
      expect(differing({ ...payment, body: a }, { ...payment, body: b })).toEqual(expected);
    }),
    500,
  );

  property(
    "68: are as long as any other whatever the value, and never hold it",
    fc.property(jsonObject, (body) => {
      const { "(operation)": operation, ...hashes } = memberHashes({ ...payment, body }, secret);
      // Which operation it was is no value of the caller's.
      expect(operation).toBe(payment.operation);
      for (const hash of Object.values(hashes)) expect(hash).toMatch(/^[A-Za-z0-9_-]{8}$/);
    }),
  );
});
