/** What zod describes, as JSON Schema that can stand inside an OpenAPI document. */
import { z } from "zod";
import type { Schema } from "./openapi-components.ts";

/** The members of an object as parameters; what the path names is required. */
export const parametersOf = (schema: z.ZodType, place: "path" | "query"): Schema[] => {
  const { properties = {}, required = [] } = jsonSchema(schema, "input") as {
    properties?: Record<string, Schema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: place === "path" || required.includes(name),
    schema: property,
  }));
};

/** As JSON Schema, whole in itself. */
export const jsonSchema = (schema: z.ZodType, io: "input" | "output"): Schema => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return withoutReferences(rest);
};

/**
 * With every named part in its place: references of a schema are to itself, and it stands inside a larger document. A
 * part that contains itself ends as "anything".
 */
const withoutReferences = (root: Schema): Schema => {
  const { $defs: defs = {}, ...whole } = root;
  const parts: Readonly<Record<string, unknown>> = { "#": whole };
  for (const [name, part] of Object.entries(defs as Schema)) {
    Object.assign(parts, { [`#/$defs/${name}`]: part });
  }
  const inline = (value: unknown, within: readonly string[]): unknown => {
    if (Array.isArray(value)) return value.map((item) => inline(item, within));
    if (typeof value !== "object" || value === null) return value;
    const reference: unknown = Reflect.get(value, "$ref");
    if (typeof reference === "string") {
      if (within.includes(reference) || !Object.hasOwn(parts, reference)) return {};
      return inline(parts[reference], [...within, reference]);
    }
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [name, inline(member, within)]),
    );
  };
  return inline(whole, ["#"]) as Schema;
};
