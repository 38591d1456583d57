/** JSON Schema as the OpenAPI document has it: read with a type, and turned into an example and into words. */
import { z } from "zod";
import { isJsonObject, type Json } from "../../kernel/json.ts";

export type JsonSchema = {
  readonly $ref?: string | undefined;
  readonly type?: string | readonly string[] | undefined;
  readonly format?: string | undefined;
  readonly description?: string | undefined;
  readonly pattern?: string | undefined;
  readonly const?: Json | undefined;
  readonly enum?: readonly Json[] | undefined;
  readonly default?: Json | undefined;
  readonly examples?: readonly Json[] | undefined;
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly minLength?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly minItems?: number | undefined;
  readonly maxItems?: number | undefined;
  readonly properties?: Readonly<Record<string, JsonSchema>> | undefined;
  readonly required?: readonly string[] | undefined;
  readonly items?: JsonSchema | undefined;
  readonly anyOf?: readonly JsonSchema[] | undefined;
  readonly oneOf?: readonly JsonSchema[] | undefined;
};

export const jsonSchema: z.ZodType<JsonSchema> = z.lazy(() =>
  z.object({
    $ref: z.string().optional(),
    type: z.union([z.string(), z.array(z.string())]).optional(),
    format: z.string().optional(),
    description: z.string().optional(),
    pattern: z.string().optional(),
    const: z.json().optional(),
    enum: z.array(z.json()).optional(),
    default: z.json().optional(),
    examples: z.array(z.json()).optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    minLength: z.number().optional(),
    maxLength: z.number().optional(),
    minItems: z.number().optional(),
    maxItems: z.number().optional(),
    properties: z.record(z.string(), jsonSchema).optional(),
    required: z.array(z.string()).optional(),
    // A tuple says here whether more may follow.
    items: z.preprocess(
      (items) => (typeof items === "boolean" ? undefined : items),
      jsonSchema.optional(),
    ),
    anyOf: z.array(jsonSchema).optional(),
    oneOf: z.array(jsonSchema).optional(),
  }),
);

/** Far enough away to be in the future for as long as anybody reads it. */
const SOME_DAY = "2100-01-01T00:00:00Z";

/**
 * The smallest value that the schema allows, as far as a schema tells: required members only. A string with a pattern
 * needs one of `examples`.
 */
export const exampleOf = (schema: JsonSchema): Json => {
  const given = schema.const ?? schema.examples?.[0] ?? schema.default ?? schema.enum?.[0];
  if (given !== undefined) return given;
  const [either] = schema.anyOf ?? schema.oneOf ?? [];
  if (either !== undefined) return exampleOf(either);
  switch (typesOf(schema)[0]) {
    case "object":
      return Object.fromEntries(
        Object.entries(schema.properties ?? {})
          .filter(([name]) => schema.required?.includes(name))
          .map(([name, member]) => [name, exampleOf(member)]),
      );
    case "array":
      return schema.items === undefined || (schema.minItems ?? 0) === 0
        ? []
        : [exampleOf(schema.items)];
    case "integer":
    case "number":
      return schema.minimum ?? Math.min(0, schema.maximum ?? 0);
    case "boolean":
      return false;
    case "string":
      return schema.format === "date-time"
        ? SOME_DAY
        : "text".padEnd(schema.minLength ?? 0, "-").slice(0, schema.maxLength);
    case undefined:
      return null;
    default:
      return null;
  }
};

/** A member of a body, its members, and so on, in one list. */
export type Member = {
  /** `lines[].sku` */
  readonly path: string;
  readonly required: boolean;
  readonly schema: JsonSchema;
};

export const membersOf = (schema: JsonSchema, prefix = ""): Member[] =>
  Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const path = `${prefix}${name}`;
    const required = schema.required?.includes(name) ?? false;
    return [
      { path, required, schema: member },
      ...membersOf(member, `${path}.`),
      ...(member.items === undefined ? [] : membersOf(member.items, `${path}[].`)),
    ];
  });

/** `string`, `integer or null`, `list of objects`. */
export const typeInWords = (schema: JsonSchema): string => {
  const either = schema.anyOf ?? schema.oneOf;
  if (either !== undefined) return [...new Set(either.map(typeInWords))].join(" or ");
  if (schema.const !== undefined || schema.enum !== undefined) return "one of";
  const names = typesOf(schema).map((type) =>
    type === "array"
      ? `list of ${schema.items === undefined ? "anything" : typeInWords(schema.items)}s`
      : type,
  );
  return names.length === 0 ? "anything" : names.join(" or ");
};

/** The bounds, each as people write it: `1 … 50`, `at most 500 characters`, `default 0`. */
export const boundsOf = (schema: JsonSchema): string[] => {
  const bounds = [
    range(schema.minimum, schema.maximum, ""),
    range(schema.minLength, schema.maxLength, " characters"),
    range(schema.minItems, schema.maxItems, " items"),
  ].filter((bound) => bound !== undefined);
  return schema.default === undefined
    ? bounds
    : [...bounds, `default ${JSON.stringify(schema.default)}`];
};

/** A longer pattern says less to a reader than the description. */
const PATTERN_SHOWN_LENGTH_MAX = 40;

/** The values of `const` and `enum`, and the patterns, as code. */
export const formsOf = (schema: JsonSchema): string[] => [
  ...(schema.const === undefined ? [] : [JSON.stringify(schema.const)]),
  ...(schema.enum ?? []).map((value) => JSON.stringify(value)),
  ...(schema.pattern !== undefined &&
  schema.format === undefined &&
  schema.pattern.length <= PATTERN_SHOWN_LENGTH_MAX
    ? [schema.pattern]
    : []),
  ...(schema.anyOf ?? schema.oneOf ?? []).flatMap(formsOf),
];

const range = (
  min: number | undefined,
  max: number | undefined,
  unit: string,
): string | undefined => {
  if (min === max) return min === undefined ? undefined : `${figure(min)}${unit}`;
  if (min === undefined) return `at most ${figure(max ?? 0)}${unit}`;
  if (max === undefined) return `at least ${figure(min)}${unit}`;
  return `${figure(min)} to ${figure(max)}${unit}`;
};

const figure = (value: number): string => value.toLocaleString("en");

const typesOf = ({ type, properties }: JsonSchema): readonly string[] => {
  if (type === undefined) return properties === undefined ? [] : ["object"];
  return typeof type === "string" ? [type] : type;
};

/** Laid out in lines, as a person would write it. */
export const asText = (value: Json): string =>
  isJsonObject(value) && Object.keys(value).length === 0 ? "{}" : JSON.stringify(value, null, 2);
