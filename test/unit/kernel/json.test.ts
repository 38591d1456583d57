import canonicalize from "canonicalize";
import fc from "fast-check";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import {
  canonicalJson,
  isJsonObject,
  type Json,
  parseJson,
  roundsNumber,
} from "../../../src/kernel/json.ts";
import { JSON_DEPTH_MAX } from "../../../src/kernel/limits.ts";
import { json, property } from "../property.ts";

/** The value of text that must be accepted. */
const parsed = (text: string): Json => {
  const result = parseJson(text);
  if (!result.ok) throw new Error(`refused: ${result.failure}`);
  return result.value;
};

/** Why text is refused; undefined if it is accepted. */
const refusal = (text: string): string | undefined => {
  const result = parseJson(text);
  return result.ok ? undefined : result.failure;
};

describe("what strict JSON accepts", () => {
  it.each([
    ["null", null],
    ["true", true],
    [' \t\r\n{"a" : [ 1 , "x" ] }\n', { a: [1, "x"] }],
    ['""', ""],
    ["[]", []],
    ["{}", {}],
    ['"a\\u0062c"', "abc"],
    ['"\\ud83d\\ude00"', "😀"],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["-9007199254740991", Number.MIN_SAFE_INTEGER],
    ["0.5", 0.5],
  ])("%s is read as it stands", (text, value) => {
    expect(parsed(text)).toEqual(value);
  });

  it("names may repeat in different objects, at any depth", () => {
    expect(parsed('{"a":{"a":1},"b":[{"a":2},{"a":3}]}')).toEqual({
      a: { a: 1 },
      b: [{ a: 2 }, { a: 3 }],
    });
  });

  it("a value may repeat a name, and hold what looks like JSON", () => {
    expect(parsed('{"a":"a","b":"{\\"b\\":1,\\"b\\":2}","c":["c","c"]}')).toEqual({
      a: "a",
      b: '{"b":1,"b":2}',
      c: ["c", "c"],
    });
  });

  it("an array may hold one string several times, also one that no member may be called", () => {
    for (const text of ['["a","a","a"]', '{"a":["a",1,"a"]}', '[1,"__proto__","__proto__"]']) {
      expect(parsed(text)).toEqual(JSON.parse(text));
    }
  });

  it("15: 1, 1.0, 1e0 and 10e-1 are one number", () => {
    for (const text of ["1", "1.0", "1.000", "1e0", "1E+0", "10e-1", "0.1e1"]) {
      expect(canonicalJson(parsed(text))).toBe("1");
    }
  });
});

describe("what strict JSON refuses", () => {
  it.each([
    "",
    " ",
    "{",
    "[1,]",
    "{'a':1}",
    "01",
    "+1",
    ".5",
    "1.",
    "NaN",
    "Infinity",
    "undefined",
  ])("18: %j is not JSON", (text) => {
    expect(refusal(text)).toBe("The body is not valid JSON.");
  });

  it.each(['{"a":1} x', '{"a":1}{"a":1}', '"a\nb"', '"\\x41"', "\uFEFF{}", "// c\n{}"])(
    "18: %j is not JSON either",
    (text) => {
      expect(refusal(text)).toBe("The body is not valid JSON.");
    },
  );

  it.each([
    '{"a":1,"a":1}',
    '{"a":1,"b":2,"a":3}',
    '{"a":1,"\\u0061":2}',
    '{"\\u0061":1,"a":2}',
    '{"\\ud83d\\ude00":1,"😀":2}',
    '{"":1,"":2}',
    '{"x":{"y":[{"a":1,"a":2}]}}',
    '{"a":{"a":1},"a":2}',
    '{"a":[{"a":1}],"a":[]}',
    '{"constructor":1,"constructor":2}',
  ])("14: %s has two members of one name", (text) => {
    expect(refusal(text)).toBe("The body has two members of one name.");
  });

  it.each(['{"__proto__":1}', '{"\\u005f_proto__":{}}', '[{"a":{"__proto__":null}}]'])(
    "23: %s would reach a prototype",
    (text) => {
      expect(refusal(text)).toBe("The member __proto__ is not accepted.");
    },
  );

  it("__proto__ is refused as a name only, not as a value", () => {
    expect(parsed('["__proto__",{"a":"__proto__"}]')).toEqual(["__proto__", { a: "__proto__" }]);
  });

  it.each(["-0", "-0.0", "-0e0", "-0E-5", "[1,-0]", '{"a":-0.000}', "-1e-400"])(
    "15: %s is -0",
    (text) => {
      expect(refusal(text)).toContain("-0");
    },
  );

  it.each([
    "9007199254740992",
    "9007199254740993",
    "-9007199254740992",
    "1e16",
    "12345678901234567890",
    "1e400",
    "-1e400",
    '{"a":[9007199254740993]}',
  ])("15: %s is beyond 2^53 - 1", (text) => {
    expect(refusal(text)).toContain("2^53");
  });

  it.each([
    "1.00000000000000000001",
    "0.99999999999999999999",
    "1250.0000000000000000000001e0",
    "12500000000000000000000001e-22",
    "4503599627370496.1",
    "1e-400",
    "-1.0000000000000000000001",
    '{"amountMinor":1.00000000000000000001}',
  ])("15: %s is a fraction, and must not become a whole number", (text) => {
    expect(refusal(text)).toContain("fraction");
  });

  it("15: zeros, however many and wherever, do not make a fraction", () => {
    const zeros = "0".repeat(60_000);
    const started = performance.now();
    for (const text of ["10.0e-1", "100e-2", "0.0e-400", "0e5", `1.${zeros}`, `0.${zeros}e-9`]) {
      expect(refusal(text)).toBeUndefined();
    }
    expect(refusal(`1.${zeros}1`)).toContain("fraction");
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  it.each(['"\\ud83d"', '"\\ude00\\ud83d"', '["a\\udfffb"]', '{"a":"\\ud800"}', '{"\\ud800":1}'])(
    "%s has half of a surrogate pair",
    (text) => {
      expect(refusal(text)).toContain("surrogate");
    },
  );

  it("22: one level too deep is refused, the deepest allowed is read", () => {
    const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
    const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
    for (const make of [nested, objects]) {
      expect(refusal(make(JSON_DEPTH_MAX))).toBeUndefined();
      expect(refusal(make(JSON_DEPTH_MAX + 1))).toContain(`${JSON_DEPTH_MAX} levels`);
    }
  });

  it("22: depth is how much is open at once, not how much there is", () => {
    expect(refusal(`[${"[[]],".repeat(1_000)}[]]`)).toBeUndefined();
  });

  it("22: 64 KiB of brackets are refused, never a stack overflow", () => {
    for (const text of ["[".repeat(65_536), `${"[".repeat(32_768)}${"]".repeat(32_768)}`]) {
      expect(refusal(text)).toBeDefined();
    }
    expect(refusal(`${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`)).toContain("levels");
  });

  it("zeros before the last digit of a number are read once", () => {
    const started = performance.now();
    const text = `0.5${"0".repeat(1_000_000)}1`;
    expect(refusal(text)).toBeUndefined();
    expect(roundsNumber(text)).toBe(true);
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  it("a body of nothing but escapes is walked in the time of any other", () => {
    const started = performance.now();
    expect(refusal(JSON.stringify("\\".repeat(32_000)))).toBeUndefined();
    expect(refusal(JSON.stringify('"'.repeat(32_000)))).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe("the canonical form", () => {
  it("is the example of RFC 8785 section 3.2.2, to the byte", () => {
    // But for its 1E30, which is beyond what is accepted here.
    const text = String.raw`{
      "numbers": [333333333.33333329, 1E15, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`;
    expect(canonicalJson(parsed(text))).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1000000000000000,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  it("sorts names by UTF-16 code units (RFC 8785 section 3.2.3), integer-like ones too", () => {
    const names = ["€", "\r", "\uFB33", "1", "😀", "\u0080", "ö", "10", "2"];
    const sorted = ["\r", "1", "10", "2", "\u0080", "ö", "€", "😀", "\uFB33"];
    expect(canonicalJson(Object.fromEntries(names.map((name) => [name, null])))).toBe(
      `{${sorted.map((name) => `${JSON.stringify(name)}:null`).join(",")}}`,
    );
  });

  it("does not normalise Unicode: é composed and é decomposed differ", () => {
    expect(canonicalJson("\u00E9")).not.toBe(canonicalJson("e\u0301"));
  });

  property(
    "equals an independent RFC 8785 implementation on any JSON",
    fc.property(json, (value) => {
      expect(canonicalJson(value)).toBe(canonicalize(value));
    }),
    1_000,
  );

  property(
    "parses back to the very same value, and is a fixed point",
    fc.property(json, (value) => {
      const form = canonicalJson(value);
      expect(isDeepStrictEqual(parsed(form), value)).toBe(true);
      expect(canonicalJson(parsed(form))).toBe(form);
    }),
    1_000,
  );

  property(
    "is equal for two values if and only if they are equal",
    fc.property(smallJson(), smallJson(), (a, b) => {
      expect(canonicalJson(a) === canonicalJson(b)).toBe(isDeepStrictEqual(a, b));
    }),
    2_000,
  );

  property(
    "11: is the same however the text was laid out, ordered and escaped",
    fc.property(json, fc.infiniteStream(fc.nat(1_000)), (value, choices) => {
      expect(canonicalJson(parsed(rendered(value, choices)))).toBe(canonicalJson(value));
    }),
  );
});

property(
  "15: a number read as a whole one is exactly that number as it was written",
  fc.property(
    fc.record({
      whole: fc.bigInt({ min: 0n, max: 20_000n }),
      fraction: fc.oneof(
        fc.constant(""),
        fc.string({ unit: fc.constantFrom("0", "0", "0", "9", "1"), minLength: 1, maxLength: 30 }),
      ),
      exponent: fc.integer({ min: -40, max: 14 }),
    }),
    ({ whole, fraction, exponent }) => {
      const result = parseJson(`${whole}${fraction === "" ? "" : `.${fraction}`}e${exponent}`);
      if (!result.ok || !Number.isInteger(result.value)) return;
      // value × 10^shift = digits × 10^(shift + exponent - fraction.length), in whole numbers
      const shift = 80;
      const digits = BigInt(`${whole}${fraction}`);
      const written = digits * 10n ** BigInt(shift + exponent - fraction.length);
      expect(BigInt(Number(result.value)) * 10n ** BigInt(shift)).toBe(written);
    },
  ),
  2_000,
);

describe("15: a number that a double rounds", () => {
  it.each([
    "1.1000000000000000001",
    "-1.1000000000000000001",
    "[0.10000000000000001]",
    '{"a":{"b":1000000000.00000012}}',
    "4e-324",
    "1.1000000000000000001e3",
  ])("%s has one", (text) => expect(roundsNumber(text)).toBe(true));

  it.each([
    "1.10",
    "0.10000000000000000000000",
    "1.0e1",
    "10E-1",
    "-0.5e-7",
    "5e-324",
    "0e99",
    "0.0000000000000000",
    "9007199254740991",
    '{"1.1000000000000000001":"1.1000000000000000001, 4e-324"}',
    "true",
  ])("%s has none", (text) => expect(roundsNumber(text)).toBe(false));

  property(
    "is never one that JSON.stringify has written",
    fc.property(
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      (value) => !roundsNumber(JSON.stringify([value])),
    ),
  );
});

describe("isJsonObject", () => {
  it.each([
    [{}, true],
    [{ a: 1 }, true],
    [[], false],
    [null, false],
    ["{}", false],
    [1, false],
    [true, false],
  ])("%j: %s", (value, expected) => {
    expect(isJsonObject(value)).toBe(expected);
  });
});

/** Few values, so that two of them are often equal, and punctuation that an ambiguous form would confuse. */
function smallJson(): fc.Arbitrary<Json> {
  const word = fc.constantFrom("", "a", '"', ",", ":", "[", "{}", "null", "1");
  return fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 2 },
      fc.constantFrom(null, true, false, 0, 1),
      word,
      fc.array(tie("value"), { maxLength: 2 }),
      fc.dictionary(word, tie("value"), { maxKeys: 2, noNullPrototype: true }),
    ),
  })).value;
}

/** The value as some other honest serialiser might write it. */
function rendered(value: Json, choices: Iterator<number, void>): string {
  const pick = <Item>(...items: readonly [Item, ...Item[]]): Item => {
    const next = choices.next().value ?? 0;
    return items[next % items.length] ?? items[0];
  };
  const space = () => pick("", "", " ", "\n", "\t", "\r\n  ");
  const quoted = (text: string) => {
    const characters = Array.from(text, (character) =>
      pick(false, false, true) || /["\\\p{Cc}]/u.test(character)
        ? character
            .split("")
            .map((unit) => String.raw`\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
            .join("")
        : character,
    );
    return `"${characters.join("")}"`;
  };
  const write = (part: Json): string => {
    if (typeof part === "string") return quoted(part);
    if (typeof part === "number") {
      const plain = String(part);
      return Number.isSafeInteger(part)
        ? pick(plain, plain, `${plain}.0`, `${plain}e0`, part === 0 ? "0E5" : `${plain}0E-1`)
        : plain;
    }
    if (isJsonObject(part)) {
      const members = Object.entries(part).map(
        ([name, member]) => `${space()}${quoted(name)}${space()}:${space()}${write(member)}`,
      );
      if (pick(true, false)) members.reverse();
      return `{${members.join(`${space()},`)}${space()}}`;
    }
    if (part !== null && typeof part === "object") {
      return `[${space()}${part.map(write).join(`${space()},${space()}`)}${space()}]`;
    }
    return String(part);
  };
  return `${space()}${write(value)}${space()}`;
}
