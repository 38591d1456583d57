import { expect, it } from "vitest";
import { csvLine } from "../../../src/kernel/csv.ts";

it.each(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])(
  "71: a cell that begins like a formula is text: %j",
  (cell) => {
    expect(csvLine([cell])).toMatch(/^"?'/);
  },
);

it("71: a negative number stays a number, and nothing else is changed but for quotes", () => {
  expect(csvLine([-5, "a", "a,b", 'say "so"', "two\nlines", null, "a=b"])).toBe(
    '-5,a,"a,b","say ""so""","two\nlines",,a=b\r\n',
  );
});
