/**
 * A plugin for Redocly CLI with two rules about idempotency keys. Plain JavaScript and without dependencies, so that
 * any project can copy this one file. How: docs/openapi.md.
 */

/**
 * @typedef {{ readonly in?: string, readonly name?: string, readonly required?: boolean }} Parameter
 * @typedef {{ readonly parameters?: readonly Parameter[], readonly responses?: Readonly<Record<string, unknown>>, readonly "x-no-idempotency-key"?: string }} Operation
 * @typedef {Operation & { readonly post?: Operation, readonly patch?: Operation }} PathItem
 *
 * What the rules use of the context that redocly calls them with.
 * @typedef {{
 *   readonly resolve: (parameter: Parameter) => { readonly node?: Parameter },
 *   readonly location: { readonly child: (keys: readonly string[]) => unknown },
 *   readonly report: (problem: { readonly message: string, readonly location: unknown }) => void,
 * }} Context
 */

const METHODS = /** @type {const} */ (["post", "patch"]);

/**
 * One that changes nothing may do without, if it says why: `x-no-idempotency-key: "It only computes."`.
 * @param {Operation} operation
 */
const isExempt = ({ "x-no-idempotency-key": why }) => typeof why === "string" && why.length > 10;

/** Every POST and PATCH declares the header, as required: a client made from the document cannot leave it out. */
const keyDeclared = () => ({
  /** @param {PathItem} pathItem @param {Context} context */
  PathItem(pathItem, { resolve, location, report }) {
    for (const method of METHODS) {
      const operation = pathItem[method];
      if (operation === undefined || isExempt(operation)) continue;
      const declared = [...(pathItem.parameters ?? []), ...(operation.parameters ?? [])]
        .map((parameter) => resolve(parameter).node)
        .some(
          (parameter) =>
            parameter?.in === "header" &&
            parameter.name?.toLowerCase() === "idempotency-key" &&
            parameter.required === true,
        );
      if (!declared) {
        report({
          message: `${method.toUpperCase()} must declare a required Idempotency-Key header.`,
          location: location.child([method]),
        });
      }
    }
  },
});

/** Every POST and PATCH tells what a retry may get (draft-ietf-httpapi-idempotency-key-header, section 2.7). */
const retryAnswers = () => ({
  /** @param {PathItem} pathItem @param {Context} context */
  PathItem(pathItem, { location, report }) {
    for (const method of METHODS) {
      const operation = pathItem[method];
      const responses = operation?.responses;
      if (operation === undefined || responses === undefined || isExempt(operation)) continue;
      const has = (/** @type {string} */ status) =>
        status in responses || "4XX" in responses || "default" in responses;
      const missing = [
        ...(has("400") ? [] : ["400 (no key, or an unusable one)"]),
        ...(has("422") ? [] : ["422 (the key belongs to another request)"]),
        ...(has("409") || has("423") ? [] : ["409 or 423 (the first request still runs)"]),
      ];
      if (missing.length > 0) {
        report({
          message: `${method.toUpperCase()} must document what a retry may get: ${missing.join(", ")}.`,
          location: location.child([method, "responses"]),
        });
      }
    }
  },
});

/** In the form that redocly loads. */
export default () => ({
  id: "idempotency",
  rules: { oas3: { "key-declared": keyDeclared, "retry-answers": retryAnswers } },
  configs: {
    recommended: {
      rules: { "idempotency/key-declared": "error", "idempotency/retry-answers": "error" },
    },
  },
});
