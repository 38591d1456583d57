/**
 * What a Worker offers, taken together. Each definition is sound by itself; here no two may mean different things by
 * one name. That is said when the Worker starts: merged silently, one of the two would answer for the other.
 */
import { canonicalJson } from "../kernel/json.ts";
import type { Operation } from "./define-operation.ts";
import type { Query } from "./define-query.ts";

export type Catalogue = {
  readonly operations: readonly Operation[];
  readonly queries: readonly Query[];
};

/** A path without the names of its parameters: two that differ only there are one to a router. */
export const pathShape = (path: string): string => path.replaceAll(/\{\w+\}/g, "{}");

/** Throws an Error that names both definitions, if two have one name, one route, or one code for two refusals. */
export const checkCatalogue = ({ operations, queries }: Catalogue): void => {
  const taken = new Map<string, string>();
  const take = (what: string, by: string): void => {
    const first = taken.get(what);
    if (first !== undefined) throw new Error(`${what} is defined twice: by ${first} and by ${by}.`);
    taken.set(what, by);
  };
  for (const { name, method, path } of [...operations, ...queries]) {
    take(`The name ${name}`, `${method} ${path}`);
    take(`The route ${method} ${pathShape(path)}`, name);
  }
  const refusals = new Map<string, { readonly meaning: string; readonly by: string }>();
  for (const { name, refusals: own } of operations) {
    for (const [code, problem] of Object.entries(own)) {
      const meaning = canonicalJson(problem);
      const first = refusals.get(code);
      if (first !== undefined && first.meaning !== meaning) {
        throw new Error(
          `The refusal ${code} means two things: one to ${first.by}, another to ${name}. Share one description, or use two codes.`,
        );
      }
      refusals.set(code, { meaning, by: name });
    }
  }
};
