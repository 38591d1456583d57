import { describe, expect, it } from "vitest";
import { AMOUNT_MINOR_MAX } from "../../../src/kernel/limits.ts";
import { amountMinor, amountMinorOrZero, currency } from "../../../src/kernel/money.ts";

const isCurrency = (code: unknown): boolean => currency.safeParse(code).success;

/** Every code that could be one. */
const threeLetters = [...letters()].flatMap((a) =>
  [...letters()].flatMap((b) => [...letters()].map((c) => a + b + c)),
);

function* letters(): Generator<string> {
  for (let code = 65; code <= 90; code++) yield String.fromCharCode(code);
}

describe("a currency", () => {
  const accepted = threeLetters.filter(isCurrency);

  it("is one of those that people pay with", () => {
    expect(accepted.length).toBeGreaterThan(150);
    for (const code of "USD EUR GBP JPY CNY INR CHF AUD CAD BRL KRW MXN ZAR SEK BHD CLP".split(
      " ",
    )) {
      expect(accepted).toContain(code);
    }
  });

  it("is known to the runtime's own list of ISO 4217, but for those younger than it", () => {
    const runtime = new Set(Intl.supportedValuesOf("currency"));
    const young = new Set(["VED", "XCG", "ZWG"]);
    expect(accepted.filter((code) => !runtime.has(code) && !young.has(code))).toEqual([]);
  });

  it.each("XAU XAG XPT XPD XTS XXX XDR XUA XBA".split(" "))(
    "%s is metal, a test or none",
    (code) => {
      expect(isCurrency(code)).toBe(false);
    },
  );

  it.each("DEM FRF ITL HRK LTL VEF ZWL BYR SLL CUC".split(" "))("%s was withdrawn", (code) => {
    expect(isCurrency(code)).toBe(false);
  });

  it.each(["eur", "Eur", "EU", "EURO", " EUR", "EUR\n", "ＥＵＲ", "", "ZZZ", 978, null])(
    "%j is none",
    (code) => {
      expect(isCurrency(code)).toBe(false);
    },
  );
});

describe("15: an amount in minor units", () => {
  it.each([1, 1_250, AMOUNT_MINOR_MAX])("%d is one", (amount) => {
    expect(amountMinor.parse(amount)).toBe(amount);
    expect(amountMinorOrZero.parse(amount)).toBe(amount);
  });

  it.each([
    -1,
    0.5,
    1.000_001,
    AMOUNT_MINOR_MAX + 1,
    2 ** 53,
    Number.MAX_SAFE_INTEGER,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    "1",
    1n,
    null,
    true,
    [1],
  ])("%s is none", (amount) => {
    expect(amountMinor.safeParse(amount).success).toBe(false);
    expect(amountMinorOrZero.safeParse(amount).success).toBe(false);
  });

  it("0 is a price or a limit, and never an amount that moves", () => {
    expect(amountMinor.safeParse(0).success).toBe(false);
    expect(amountMinorOrZero.parse(0)).toBe(0);
  });

  it("a thousand of the largest can be added without losing a cent", () => {
    expect(Number.isSafeInteger(AMOUNT_MINOR_MAX * 1_000)).toBe(true);
  });
});
