/** What reading JSON asks of the runtime that the product runs on. */
import { expect, it } from "vitest";
import { parseJson } from "../../src/kernel/json.ts";

/** A body as it was understood. */
const read = (text: string): string => {
  const body = parseJson(text);
  if (!body.ok) throw new Error(body.failure);
  return JSON.stringify(body.value);
};

it("11: an escaped name is read as it is written, whatever names were read before", () => {
  const names = ["\\\\", "\\n", '\\"', "a\\\\", "a\\t", "b"];
  for (const first of names) {
    for (const second of names) {
      for (const prefix of ["", '"":1,', '"z":1,']) {
        read(`{${prefix}"${first}":2}`);
        expect(read(`{${prefix}"${second}":2}`)).toBe(`{${prefix}"${second}":2}`);
      }
    }
  }
});
