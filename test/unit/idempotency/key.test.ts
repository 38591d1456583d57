import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseIdempotencyKey } from "../../../src/idempotency/key.ts";
import { KEY_LENGTH_MAX, KEY_LENGTH_MIN } from "../../../src/kernel/limits.ts";
import { property } from "../property.ts";

const KEY = "0e1f5b7a-5b0c-4c7e-9d51-0b6f4f6f7a11";

/** The key that a header is read as, or the code of the problem. */
const read = (header: string | null | undefined): string => {
  const result = parseIdempotencyKey(header);
  return result.ok ? `key ${result.value}` : result.failure.code;
};

const INVALID = "idempotency-key-invalid";
const MISSING = "idempotency-key-missing";

/** What the contract allows: printable ASCII without space, quote, comma, semicolon and backslash. */
const isAllowed = (code: number): boolean =>
  code > 0x20 && code < 0x7f && !'",;\\'.includes(String.fromCharCode(code));

describe("an absent key", () => {
  it.each([undefined, null, "", " ", "\t", "   "])("1, 2: %j is no key", (header) => {
    expect(read(header)).toBe(MISSING);
  });

  it.each(['""', '"', '"""', "'", "-"])("2: %s is a key too short, not a missing one", (header) => {
    expect(read(header)).toBe(INVALID);
  });
});

describe("the length of a key", () => {
  it("3: one character less than the least is refused", () => {
    expect(read("k".repeat(KEY_LENGTH_MIN))).toBe(`key ${"k".repeat(KEY_LENGTH_MIN)}`);
    expect(read("k".repeat(KEY_LENGTH_MIN - 1))).toBe(INVALID);
  });

  it("4: 255 characters pass, 256 do not", () => {
    expect(KEY_LENGTH_MAX).toBe(255);
    expect(read("k".repeat(255))).toBe(`key ${"k".repeat(255)}`);
    expect(read("k".repeat(256))).toBe(INVALID);
  });

  it("3, 4: is counted without the quotes of the structured form", () => {
    const quoted = (length: number) => `"${"k".repeat(length)}"`;
    expect(read(quoted(KEY_LENGTH_MIN))).toBe(`key ${"k".repeat(KEY_LENGTH_MIN)}`);
    expect(read(quoted(KEY_LENGTH_MIN - 1))).toBe(INVALID);
    expect(read(quoted(255))).toBe(`key ${"k".repeat(255)}`);
    expect(read(quoted(256))).toBe(INVALID);
  });

  it("is told to the caller, the key is not", () => {
    const result = parseIdempotencyKey("short-key");
    expect(result).toEqual({
      ok: false,
      failure: { code: INVALID, detail: "The key has 9 characters; 16 to 255 are accepted." },
    });
  });
});

describe("a refused key", () => {
  it.each([
    ['"', 1],
    ['""', 0],
    ['"k"', 1],
    ["kk", 2],
  ])("3: %s is counted without the quotes of the structured form: %i", (header, count) => {
    expect(parseIdempotencyKey(header)).toMatchObject({
      failure: { detail: `The key has ${count} characters; 16 to 255 are accepted.` },
    });
  });

  it("5, 6: hears what a key may hold, and never the key", () => {
    const result = parseIdempotencyKey(`${KEY}, ${KEY}`);
    const detail = result.ok ? "" : result.failure.detail;
    expect(detail).toMatch(/printable ASCII.*sent once/);
    expect(detail).not.toContain(KEY);
  });
});

describe("8: a key that is a dot segment", () => {
  it.each([".", "..", '"."', '".."'])("%s is refused: a path cannot name it", (header) => {
    expect(parseIdempotencyKey(header, 1)).toMatchObject({ failure: { code: INVALID } });
  });

  it.each(["...", ".a", "a.", "%2e"])("%s is none", (header) => {
    expect(parseIdempotencyKey(header, 1)).toEqual({ ok: true, value: header });
  });
});

describe("the two forms of a key", () => {
  it('7: "k…" and k… are one key', () => {
    expect(read(`"${KEY}"`)).toBe(`key ${KEY}`);
    expect(read(KEY)).toBe(`key ${KEY}`);
  });

  it.each([`"${KEY}`, `${KEY}"`, `""${KEY}""`, `"${KEY}""`, `'"${KEY}"'`, `:${KEY}"`])(
    "7: %s is neither form",
    (header) => {
      expect(read(header)).toBe(INVALID);
    },
  );

  it("single quotes are characters of the key like any other", () => {
    expect(read(`'${KEY}'`)).toBe(`key '${KEY}'`);
  });
});

describe("the characters of a key", () => {
  it("6: of all 256 byte values those of the contract pass, wherever they stand", () => {
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code);
      for (const key of [`${character}${KEY}`, `${KEY}${character}${KEY}`, `${KEY}${character}`]) {
        expect(read(key), `byte ${code}`).toBe(isAllowed(code) ? `key ${key}` : INVALID);
        expect(read(`"${key}"`), `byte ${code}`).toBe(isAllowed(code) ? `key ${key}` : INVALID);
      }
    }
  });

  it.each(["\uFFFD", "ключ-ключ-ключ-ключ", "😀", "\u00A0", "\uFEFF", "\u2028", "ａ"])(
    "6: %j is not ASCII, and would make different keys one",
    (text) => {
      expect(read(`${KEY}${text}`)).toBe(INVALID);
      expect(read(`${text}${KEY}`)).toBe(INVALID);
    },
  );

  it.each([`${KEY} ${KEY}`, `${KEY}\t${KEY}`, ` ${KEY}`, `${KEY} `, `" ${KEY}"`, `${KEY}\n`])(
    "6: %j has white space in its value",
    (header) => {
      expect(read(header)).toBe(INVALID);
    },
  );

  it.each([
    `${KEY}, ${KEY}`,
    `${KEY},${KEY}`,
    `"${KEY}", "${KEY}"`,
    `"${KEY}","${KEY}"`,
    `${KEY},`,
    `,${KEY}`,
    `${KEY}, `,
  ])("5: two header lines arrive as %j, and are refused", (header) => {
    expect(read(header)).toBe(INVALID);
  });

  it("5: two lines are joined so by the platform's Headers", () => {
    const headers = new Headers();
    headers.append("Idempotency-Key", KEY);
    headers.append("Idempotency-Key", KEY);
    expect(read(headers.get("Idempotency-Key"))).toBe(INVALID);
  });

  it("white space around the value is HTTP's and not the key's", () => {
    expect(read(new Headers({ "Idempotency-Key": `  \t${KEY} ` }).get("idempotency-key"))).toBe(
      `key ${KEY}`,
    );
  });

  it.each([`"${KEY}";a=1`, `"${KEY}\\""`, `"${KEY}\\\\"`, `("${KEY}")`, `:${KEY}:;q`])(
    "%s is more than a structured-field string",
    (header) => {
      expect(read(header)).toBe(INVALID);
    },
  );

  it.each([
    "'OR'1'='1'--aaaaaaaa",
    "../../../../etc/passwd",
    "__proto__.constructor",
    "%00%0a%0d%22%2c%3b%5c",
    "<script>alert(1)</script>",
    "=HYPERLINK(1)=========",
    "constructor/toString",
  ])("8: %s is opaque", (key) => {
    expect(read(key)).toBe(`key ${key}`);
  });
});

property(
  "a key is what was sent, bare or quoted, or it is refused: never another key",
  fc.property(fc.string({ unit: "binary", maxLength: 300 }), (key) => {
    const isKey =
      key.length >= KEY_LENGTH_MIN &&
      key.length <= KEY_LENGTH_MAX &&
      key.split("").every((unit) => isAllowed(unit.charCodeAt(0)));
    const expected = isKey ? `key ${key}` : INVALID;
    if (key.trim() !== "" && !/^".*"$/s.test(key)) expect(read(key)).toBe(expected);
    expect(read(`"${key}"`)).toBe(expected);
  }),
  500,
);

property(
  "every key of the contract's alphabet is accepted, in both forms",
  fc.property(
    fc.string({
      unit: fc
        .integer({ min: 0x21, max: 0x7e })
        .filter(isAllowed)
        .map((c) => String.fromCharCode(c)),
      minLength: KEY_LENGTH_MIN,
      maxLength: KEY_LENGTH_MAX,
    }),
    (key) => {
      expect(read(key)).toBe(`key ${key}`);
      expect(read(`"${key}"`)).toBe(`key ${key}`);
    },
  ),
);
