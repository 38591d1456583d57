import { expect, it } from "vitest";
import { parseTraceparent } from "../../../src/contract/trace-context.ts";

const ID = "0af7651916cd43dd8448eb211c80319c";
const GOOD = `00-${ID}-b7ad6b7169203331-01`;

it("a well-formed traceparent is passed on as it is, with its trace id", () => {
  expect(parseTraceparent(GOOD)).toEqual({ traceparent: GOOD, traceId: ID });
});

it.each([
  undefined,
  "",
  ID,
  GOOD.toUpperCase(),
  GOOD.replace("00-", "ff-"),
  `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
  `00-${ID}-${"0".repeat(16)}-01`,
  `${GOOD}, ${GOOD}`,
])("what is not well-formed is as if it were not there: %s", (header) => {
  expect(parseTraceparent(header)).toBeUndefined();
});
