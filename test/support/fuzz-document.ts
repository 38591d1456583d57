/**
 * The served OpenAPI document as the fuzz reads it: what may be asked, and whether an answer is one that it declares.
 * Written against the document and the problem table; no handler is asked what it meant.
 */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { z } from "zod";
import { isProblemCode, PROBLEMS, retryAfterSeconds } from "../../src/contract/problems.ts";
import type { RawAnswer } from "./raw-http.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

export type Parameter = {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly schema: JsonSchema;
};

/** A problem as the document lists it with a response. */
type DeclaredProblem = {
  readonly status: number;
  readonly code: string;
  readonly use: string;
  readonly shouldRetry: boolean;
};

export type Documented = {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  /** Undefined for what is public. */
  readonly scope: string | undefined;
  /** Whether it takes an Idempotency-Key. */
  /** Its outcome is kept for the key, and told to every retry. */
  readonly keyed: boolean;
  /** It asks for a key; so does an operator's action, which is one of the audit log and no outcome of the journal. */
  readonly asksForKey: boolean;
  readonly parameters: readonly Parameter[];
  readonly input: JsonSchema | undefined;
  /** Status of what succeeds: the one that is not 202. */
  readonly success: number;
  readonly problems: readonly DeclaredProblem[];
};

const schema = z.record(z.string(), z.unknown());
const reference = z.object({ $ref: z.string() });
const parameter = z.object({
  name: z.string(),
  in: z.enum(["path", "query", "header"]),
  required: z.boolean(),
  schema,
});
const header = z.object({ schema });
const response = z.object({
  headers: z.record(z.string(), z.union([reference, header])).default({}),
  content: z.record(z.string(), z.object({ schema })).default({}),
  "x-retry": z
    .record(z.string(), z.object({ use: z.string(), shouldRetry: z.boolean() }))
    .default({}),
});
const operation = z.object({
  operationId: z.string(),
  description: z.string().default(""),
  security: z.array(z.unknown()).optional(),
  parameters: z.array(z.union([reference, parameter])).default([]),
  requestBody: z.object({ content: z.record(z.string(), z.object({ schema })) }).optional(),
  responses: z.record(z.string(), response),
});
const documentSchema = z.object({
  paths: z.record(z.string(), z.record(z.string(), operation)),
  components: z.object({
    parameters: z.record(z.string(), parameter),
    headers: z.record(z.string(), header),
  }),
});

type Response = z.output<typeof response>;

/** Of the contract's own headers, those that a response may have only if it declares them. */
const CONTRACT_HEADERS = [
  "Idempotent-Replayed",
  "Idempotency-Expires",
  "Retry-After",
  "WWW-Authenticate",
  "Allow",
  "Location",
  "Preference-Applied",
  "Stripe-Should-Retry",
  "X-Should-Retry",
];

const problemShape = z.looseObject({
  type: z.string(),
  status: z.number(),
  title: z.string(),
  code: z.string(),
  retry: z.object({
    use: z.string(),
    reason: z.string(),
    afterMs: z.number().optional(),
    successProbability: z.number().optional(),
  }),
});

export class ApiDocument {
  readonly operations: readonly Documented[];
  readonly #document: z.output<typeof documentSchema>;
  readonly #ajv: Ajv2020;
  readonly #validators = new Map<string, ValidateFunction>();

  constructor(served: unknown) {
    this.#document = documentSchema.parse(served);
    // The document is no schema itself: what surrounds its schemas are words that ajv does not know.
    this.#ajv = new Ajv2020({ strict: false, allErrors: false });
    addFormats(this.#ajv);
    this.#ajv.addSchema(schema.parse(served), DOCUMENT);
    this.operations = Object.entries(this.#document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, one]) => this.#documented(path, method, one)),
    );
  }

  #documented(path: string, method: string, one: z.output<typeof operation>): Documented {
    const parameters = one.parameters.map((given) => this.#parameter(given));
    const asksForKey = parameters.some(({ name }) => name === "Idempotency-Key");
    return {
      id: one.operationId,
      method: method.toUpperCase(),
      path,
      scope:
        one.security === undefined
          ? /Needs the scope `([a-z:]+)`/.exec(one.description)?.[1]
          : undefined,
      keyed: asksForKey && !path.startsWith("/v1/ops/"),
      asksForKey,
      parameters: parameters.filter((given) => given.in !== "header"),
      input: one.requestBody?.content["application/json"]?.schema,
      success: Number(
        Object.keys(one.responses).find((status) => status !== "202" && status.startsWith("2")),
      ),
      problems: Object.entries(one.responses).flatMap(([status, { "x-retry": retry }]) =>
        Object.entries(retry).map(([code, rule]) => ({ status: Number(status), code, ...rule })),
      ),
    };
  }

  #parameter(given: z.output<typeof reference> | Parameter): Parameter {
    return "$ref" in given ? named(this.#document.components.parameters, given.$ref) : given;
  }

  #header(given: z.output<typeof reference> | z.output<typeof header>): z.output<typeof header> {
    return "$ref" in given ? named(this.#document.components.headers, given.$ref) : given;
  }

  /** Whether the document allows this body. */
  allowsBody({ path, method }: Documented, body: unknown): boolean {
    return this.#valid(
      ["paths", path, method.toLowerCase(), "requestBody", "content", "application/json", "schema"],
      body,
    );
  }

  /** Whether the document allows this path parameter. */
  allowsParameter({ schema: given }: Parameter, value: string): boolean {
    return this.#ajv.validate(given, value);
  }

  /**
   * What is wrong with an answer, by the document.
   * @param asked undefined for what the document does not have: then only "not found" and "not allowed" are right
   */
  judge(asked: Documented | undefined, method: string, answer: RawAnswer): string[] {
    const { status, headers, text } = answer;
    const faults: string[] = [];
    // The root leads people to the documentation, which is no part of the API; a target without a path is the root.
    const isLedToDocs = status === 302 && headers.get("location") === "docs";
    if (isLedToDocs && (method === "GET" || method === "HEAD")) return faults;
    const declared =
      asked === undefined
        ? undefined
        : this.#document.paths[asked.path]?.[asked.method.toLowerCase()]?.responses[status];
    if (declared === undefined && ![404, 405].includes(status)) {
      return [`${asked?.id ?? "an undocumented path"}: the status ${status} is not declared`];
    }
    if (!/^[0-9a-f-]{36}$/.test(headers.get("x-request-id") ?? "")) faults.push("no X-Request-Id");
    if (headers.get("cache-control") !== "no-store" && asked?.scope !== undefined) {
      faults.push("no Cache-Control: no-store");
    }
    if (declared !== undefined) faults.push(...this.#headerFaults(declared, answer));
    if (method === "HEAD") {
      if (text !== "") faults.push("a HEAD has a body");
    } else {
      faults.push(...this.#bodyFaults(asked, declared, answer));
    }
    return faults;
  }

  #headerFaults({ headers: declared }: Response, { headers }: RawAnswer): string[] {
    const faults: string[] = [];
    const known = new Set(Object.keys(declared).map((name) => name.toLowerCase()));
    for (const name of CONTRACT_HEADERS) {
      if (headers.has(name.toLowerCase()) && !known.has(name.toLowerCase())) {
        faults.push(`the header ${name} is not declared`);
      }
    }
    for (const [name, given] of Object.entries(declared)) {
      const value = headers.get(name.toLowerCase());
      if (value === undefined) continue;
      const { schema: wanted } = this.#header(given);
      const read = wanted["type"] === "integer" ? Number(value) : value;
      if (!this.#ajv.validate(wanted, read))
        faults.push(`the header ${name}: ${value} is not valid`);
    }
    return faults;
  }

  #bodyFaults(
    asked: Documented | undefined,
    declared: Response | undefined,
    answer: RawAnswer,
  ): string[] {
    const { status, headers, text } = answer;
    const isProblem = status >= 400 && headers.get("content-type") === "application/problem+json";
    const types =
      declared === undefined ? ["application/problem+json"] : Object.keys(declared.content);
    if (types.length === 0) return text === "" ? [] : ["a body where none is declared"];
    const given = headers.get("content-type") ?? "(none)";
    const type = types.find((one) => one === given);
    if (type === undefined) return [`Content-Type ${given} instead of ${types.join(" or ")}`];
    // Lines of JSON and of text have a schema for people.
    if (!/[/+]json$/.test(type)) return [];
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      return [`the body is not JSON: ${text.slice(0, 100)}`];
    }
    const place =
      asked === undefined || declared === undefined
        ? ["components", "schemas", "Problem"]
        : [
            "paths",
            asked.path,
            asked.method.toLowerCase(),
            "responses",
            String(status),
            "content",
            type,
            "schema",
          ];
    const faults = this.#valid(place, body)
      ? []
      : [
          `the body does not fit its schema: ${this.#ajv.errorsText(this.#validator(place).errors)}`,
        ];
    return isProblem ? [...faults, ...problemFaults(asked, body, answer)] : faults;
  }

  #valid(place: readonly string[], value: unknown): boolean {
    return this.#validator(place)(value);
  }

  #validator(place: readonly string[]): ValidateFunction {
    const pointer = place
      .map((part) => part.replaceAll("~", "~0").replaceAll("/", "~1"))
      .map(encodeURIComponent)
      .join("/");
    const made =
      this.#validators.get(pointer) ?? this.#ajv.compile({ $ref: `${DOCUMENT}#/${pointer}` });
    this.#validators.set(pointer, made);
    return made;
  }
}

const named = <Value>(components: Readonly<Record<string, Value>>, ref: string): Value => {
  const found = components[ref.split("/").at(-1) ?? ""];
  if (found === undefined) throw new Error(`${ref} is not in the document.`);
  return found;
};

const DOCUMENT = "https://latchkey.test/openapi.json";

/** A problem must be the table's, in its document and in its headers. */
const problemFaults = (
  asked: Documented | undefined,
  body: unknown,
  { status, headers }: RawAnswer,
): string[] => {
  const parsed = problemShape.safeParse(body);
  if (!parsed.success) return [`no problem: ${parsed.error.message}`];
  const { code, retry, title, status: told, type } = parsed.data;
  const rule = asked?.problems.find((one) => one.code === code && one.status === status);
  const table = isProblemCode(code) ? PROBLEMS[code] : undefined;
  if (table === undefined && rule === undefined) return [`the problem ${code} is in no table`];
  const use = table?.use ?? rule?.use;
  const shouldRetry = table?.shouldRetry ?? rule?.shouldRetry;
  const faults: string[] = [];
  const check = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(`${code}: ${fault}`);
  };
  check(told === status, `says ${told}, and was sent as ${status}`);
  check(
    table === undefined || status === table.status || code === "request-in-flight",
    `has the status ${status}`,
  );
  check(
    table === undefined ||
      (title === table.title &&
        // What was learned is worded as it was learned.
        (retry.successProbability !== undefined || retry.reason === table.cure)),
    "is worded otherwise than the table",
  );
  check(retry.use === use, `tells to use ${retry.use}, not ${String(use)}`);
  check(type.endsWith(`/problems/${code}`), `has the type ${type}`);
  const isStored = headers.has("idempotency-expires");
  check(
    !isStored || (retry.afterMs === undefined && retry.successProbability === undefined),
    "is stored with a learned figure",
  );
  check(
    (retry.afterMs !== undefined) === shouldRetry,
    "afterMs must come with what may be repeated, and only with it",
  );
  check(
    headers.get("retry-after") ===
      (retry.afterMs === undefined ? undefined : String(retryAfterSeconds(retry.afterMs))),
    "Retry-After is not afterMs in seconds",
  );
  for (const name of ["stripe-should-retry", "x-should-retry"]) {
    check(headers.get(name) === String(shouldRetry), `${name} is ${String(headers.get(name))}`);
  }
  check((status === 401) === headers.has("www-authenticate"), "WWW-Authenticate belongs to a 401");
  check((status === 405) === headers.has("allow"), "Allow belongs to a 405");
  return faults;
};
