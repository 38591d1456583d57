/** Bindings and vars, parsed once. A setting that is wrong is named, and nothing is served with it. */
import { z } from "zod";
import { jsonText } from "./kernel/json-text.ts";
import { DATABASE_BYTES_MAX_DEFAULT, ISSUER_LENGTH_MAX } from "./kernel/limits.ts";

/** What `wrangler.toml` binds. */
export type Bindings = {
  readonly DB: D1Database;
  readonly KEY_OBJECT: DurableObjectNamespace;
  /** Keeps which database holds a tenant's rows. Without it there is one database, `DB`. */
  readonly TENANTS?: DurableObjectNamespace;
  /**
   * Keeps the revoked tokens; one object, asked by every isolate at most every few seconds. Not needed where the
   * host says who calls.
   */
  readonly REVOCATIONS?: DurableObjectNamespace;
  /** Keeps what was learned of retries, one object for each tenant. Without it an isolate remembers for itself. */
  readonly ADVISOR?: DurableObjectNamespace;
  /** Words advice for people, where they ask for it. Nothing depends on it. */
  readonly AI?: TextModel;
  /** Takes a data point for each keyed request: index tenant; blobs operation, outcome; doubles status, milliseconds. */
  readonly ANALYTICS?: AnalyticsEngineDataset;
  /** Counts new keys per tenant; without it there is no limit. */
  readonly NEW_KEYS?: RateLimit;
};

/** The part of a Workers AI binding that is used. */
export type TextModel = {
  readonly run: (model: string, input: Readonly<Record<string, unknown>>) => Promise<unknown>;
};

/** Long enough that HMAC-SHA-256 is not the weak part (RFC 7518 section 3.2: at least 256 bits). */
const SECRET_LENGTH_MIN = 32;

const secret = z
  .string({ error: "is not set: see `npm run dev` or `wrangler secret put`" })
  .min(SECRET_LENGTH_MIN, `is shorter than ${SECRET_LENGTH_MIN} characters`)
  .refine(
    (text) => !/change.?me|replace.?me|placeholder|your[-_ ]|x{6}|<|>/i.test(text),
    "is a placeholder",
  )
  .refine((text) => new Set(text).size >= 10, "is too regular to be random");

/** A tenant's name: short, printable, and free of what would need escaping anywhere. */
export const tenantName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/);

/** Somebody else's issuer: its keys, one pinned algorithm, and the only tenants that it can name. */
const foreignIssuer = z.strictObject({
  issuer: z.string().min(1).max(ISSUER_LENGTH_MAX),
  jwks: z.url({ protocol: /^https?$/ }),
  algorithm: z.enum(["RS256", "PS256", "ES256", "EdDSA"]),
  tenants: z.array(tenantName).min(1),
  audience: z.string().min(1).optional(),
});

const issuers = jsonText
  .pipe(z.array(foreignIssuer))
  .refine(
    (all) => new Set(all.map((one) => one.issuer)).size === all.length,
    "names an issuer twice",
  )
  .refine((all) => {
    const tenants = all.flatMap((one) => [...new Set(one.tenants)]);
    return new Set(tenants).size === tenants.length;
  }, "gives a tenant to two issuers");

/** As a browser sends it (RFC 6454 section 6.2): no path, no slash at the end, no pattern, or it would never match. */
const origin = z
  .url({ protocol: /^https?$/ })
  .refine(
    (text) => URL.canParse(text) && new URL(text).origin === text && !text.includes("*"),
    "is not an origin",
  );

/** `*`, or origins apart by commas. */
const origins = z
  .string()
  .transform((text) =>
    text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== ""),
  )
  .pipe(z.array(z.union([z.literal("*"), origin])));

/** What a database's binding is called. */
const DATABASE_NAME = /^DB(_[1-9]\d{0,3})?$/;

/** The names of every database that is bound: `DB`, `DB_1`, `DB_2` … */
export const databaseNames = (env: object): string[] =>
  Object.keys(env).filter((name) => DATABASE_NAME.test(name));

/** Every database that is bound, with its name. */
export const databasesOf = (env: Bindings): (readonly [name: string, db: D1Database])[] =>
  // The names say what they are bound to; the type cannot, for there may be any number of them.
  databaseNames(env).map((name) => [name, Reflect.get(env, name) as D1Database]);

/** The database of that name, if it is bound. */
export const databaseNamed = (env: Bindings, name: string): D1Database | undefined =>
  DATABASE_NAME.test(name) ? (Reflect.get(env, name) as D1Database | undefined) : undefined;

/** What the engine and the HTTP face need, whoever says who calls. */
const engineSettings = {
  KEY_OBJECTS: z.union([z.literal("per-key"), z.coerce.number().int().min(1).max(4096)]).default(1),
  IN_FLIGHT_STATUS: z.coerce
    .number()
    .pipe(z.union([z.literal(423), z.literal(409)]))
    .default(423),
  RESTORE_EPOCH: z.coerce.number().int().min(0).default(0),
  // Of a tenant that has none yet; a tenant that has one keeps it.
  DEFAULT_DATABASE: z.string().regex(DATABASE_NAME, "is not DB, DB_1, DB_2 …").default("DB"),
  DATABASE_BYTES_MAX: z.coerce.number().int().min(1).default(DATABASE_BYTES_MAX_DEFAULT),
  CORS_ORIGINS: origins.default([]),
  FINGERPRINT_SECRET: secret,
  // What the gateway hashes credentials to tenants with, where it is not the same: FINGERPRINT_SECRET may then be rotated.
  CREDENTIAL_SECRET: secret.optional(),
};

const engineSettingsSchema = z.object(engineSettings);

const settingsSchema = z.object({
  ...engineSettings,
  TOKEN_ISSUER: z.string().min(1).max(ISSUER_LENGTH_MAX).default("latchkey"),
  TOKEN_SECRET: secret,
  // While rotating: tokens that the old secret signed are still accepted, none is made with it.
  TOKEN_SECRET_PREVIOUS: secret.optional(),
  ISSUERS: issuers.default([]),
});

export type EngineSettings = z.output<typeof engineSettingsSchema>;
export type Settings = z.output<typeof settingsSchema>;

/** Of a Worker that checks tokens. Throws an Error that names every setting that is wrong, and never its value. */
export const parseSettings = (env: object): Settings => {
  const settings = parse(settingsSchema, env);
  const { ISSUERS, TOKEN_ISSUER } = settings;
  if (ISSUERS.every(({ issuer }) => issuer !== TOKEN_ISSUER)) return settings;
  throw new Error("Configuration: ISSUERS names TOKEN_ISSUER, whose tokens TOKEN_SECRET signs.");
};

/** Of any Worker. Throws like `parseSettings`. */
export const parseEngineSettings = (env: object): EngineSettings =>
  parse(engineSettingsSchema, env);

const parse = <Schema extends z.ZodType<EngineSettings>>(
  schema: Schema,
  env: object,
): z.output<Schema> => {
  const parsed = schema.safeParse(env);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
    throw new Error(`Configuration: ${faults.join("; ")}.`);
  }
  const fault = databaseFault(parsed.data, env);
  if (fault !== undefined) throw new Error(`Configuration: ${fault}.`);
  return parsed.data;
};

/** What the settings and the bindings say of databases, together. */
const databaseFault = ({ DEFAULT_DATABASE }: EngineSettings, env: object): string | undefined => {
  const others = databaseNames(env).filter((name) => name !== "DB");
  if (DEFAULT_DATABASE !== "DB" && !others.includes(DEFAULT_DATABASE)) {
    return "DEFAULT_DATABASE names a database that is not bound";
  }
  // Nobody would remember whose rows are where.
  if (others.length > 0 && !("TENANTS" in env)) return `${others.join(", ")} needs TENANTS`;
  return undefined;
};
