/**
 * The endpoints that operation definitions make, as types: whoever sends to them is held to the very schemas that the
 * server parses with. Types alone, so none of the server's code comes along; apart from the client, whose declarations
 * need neither zod nor Cloudflare's types.
 */
import type { z } from "zod";
import type { Operation } from "../operations/define-operation.ts";
import type { operations } from "../operations/registry.ts";

/** What a list of definitions offers: `EndpointsOf<typeof operations>`. */
export type EndpointsOf<Operations extends readonly Operation[]> = {
  readonly [One in Operations[number] as `${One["method"]} ${One["path"]}`]: {
    readonly params: z.input<One["params"]>;
    readonly body: z.input<One["input"]>;
    readonly answer: z.output<One["output"]>;
  };
};

/** Latchkey's own. */
export type LatchkeyEndpoints = EndpointsOf<typeof operations>;
