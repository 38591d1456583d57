/**
 * Guarantees over arbitrary values. Every run draws a new seed, which stands in the test's name; when a property
 * fails, fast-check prints the seed beside the smallest counterexample. `FC_SEED=… npm run test:unit` repeats a run.
 */
import fc from "fast-check";
import { it } from "vitest";
import type { Json, JsonObject } from "../../src/kernel/json.ts";

const seed = Number(process.env["FC_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** A test that `tested` holds for `runs` random values. */
export const property = <Values>(
  guarantee: string,
  tested: fc.IProperty<Values>,
  runs = 300,
): void => {
  it(`${guarantee} (seed ${seed})`, () => {
    fc.assert(tested, { seed, numRuns: runs });
  });
};

/** Well-formed text: ASCII, every plane of Unicode, and what JSON escapes. */
export const text = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary" }),
  fc.string({
    unit: fc.constantFrom('"', "\\", "/", "\n", "\u0000", "\u2028", "é", "😀", "\uFFFD"),
  }),
);

/**
 * A member's name; names that sort differently by code unit and by code point are likely. None has a backslash: once it
 * has read {"\\":1}, the V8 of Node 24 reads {"\n":1} as the same. That of workerd does not, see test/worker/json.test.ts.
 */
export const memberName = fc
  .oneof(text, fc.constantFrom("", "a", "A", "1", "10", "2", "constructor", "😀", "\uFB33", "é"))
  .filter((name) => name !== "__proto__" && !name.includes("\\"));

/** A number that strict JSON accepts. */
const jsonNumber = fc
  .oneof(
    fc.maxSafeInteger(),
    fc.double({
      noNaN: true,
      min: -Number.MAX_SAFE_INTEGER,
      max: Number.MAX_SAFE_INTEGER,
    }),
    fc.constantFrom(1e-7, 1e-6, 5e-324, 0.1, 1e15, Number.MAX_SAFE_INTEGER),
  )
  .map((value) => (value === 0 ? 0 : value));

/** Any JSON that strict parsing accepts, a few levels deep. */
export const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    jsonNumber,
    text,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(memberName, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;

/** An object of any members. */
export const jsonObject: fc.Arbitrary<JsonObject> = fc.dictionary(memberName, json, {
  maxKeys: 5,
  noNullPrototype: true,
});
