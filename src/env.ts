/** Bindings and vars, parsed once. A setting that is wrong is named, and nothing is served with it. */
import { z } from "zod";

/** What `wrangler.toml` binds. */
export type Bindings = {
  readonly DB: D1Database;
  readonly KEY_OBJECT: DurableObjectNamespace;
  /** Counts new keys per tenant; without it there is no limit. */
  readonly NEW_KEYS?: RateLimit;
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

const settingsSchema = z.object({
  KEY_OBJECTS: z.union([z.literal("per-key"), z.coerce.number().int().min(1).max(4096)]).default(1),
  IN_FLIGHT_STATUS: z.coerce
    .number()
    .pipe(z.union([z.literal(423), z.literal(409)]))
    .default(423),
  RESTORE_EPOCH: z.coerce.number().int().min(0).default(0),
  TOKEN_ISSUER: z.string().min(1).default("latchkey"),
  TOKEN_SECRET: secret,
  FINGERPRINT_SECRET: secret,
});

export type Settings = z.output<typeof settingsSchema>;

/** Throws an Error that names every setting that is wrong, and never its value. */
export const parseSettings = (env: object): Settings => {
  const parsed = settingsSchema.safeParse(env);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
  throw new Error(`Configuration: ${faults.join("; ")}.`);
};
