/**
 * What operators read, across tenants. Each read leaves a row in the audit log of the database that is read, before
 * anything is read: who cannot be noted is not answered.
 */
import { z } from "zod";
import { type Bindings, databaseNamed } from "../../env.ts";
import { writeAuditNote } from "../../journal/audit-log.ts";
import type { Database } from "../../journal/database.ts";
import { SEND_TIMEOUT_MS } from "../../kernel/limits.ts";
import { withTimeout } from "../../kernel/timeout.ts";
import { admit } from "../access.ts";
import { operatorOf } from "../actor.ts";
import type { HttpContext } from "../context.ts";
import { problemResponse } from "../problem-response.ts";

/** Of every read: which of the bound databases. */
export const databaseSearch = {
  database: z.string().max(10).default("DB").meta({ description: "The binding: `DB`, `DB_1` …" }),
};

/** One GET for operators: its route, its audit row and its OpenAPI entry follow from it. */
export type OpsRead = {
  readonly name: string;
  readonly path: string;
  readonly summary: string;
  readonly search: z.ZodType;
  /** What a 200 holds, by media type; the first is what is meant unless another is asked for. */
  readonly content: Readonly<Record<string, z.ZodType>>;
  readonly route: (c: HttpContext) => Promise<Response>;
};

type OpsReadDefinition<Search extends z.ZodType<{ readonly database: string }>> = Omit<
  OpsRead,
  "search" | "route"
> & {
  readonly search: Search;
  readonly read: (db: Database, search: z.output<Search>, c: HttpContext) => Promise<Response>;
};

export const defineOpsRead = <Search extends z.ZodType<{ readonly database: string }>>(
  definition: OpsReadDefinition<Search>,
): OpsRead => ({
  ...definition,
  route: async (c) => {
    const admitted = await admit(c, ["ops:read"]);
    if (!admitted.ok) return admitted.failure;
    const search = definition.search.safeParse(c.req.query());
    if (!search.success) {
      const detail = search.error.issues.map(
        ({ path, message }) => `${path.join(".")}: ${message}`,
      );
      return problemResponse(c, "request-invalid", { detail: detail.join("; ") });
    }
    const db = boundDatabase(c.env, search.data.database);
    if (db === undefined) return problemResponse(c, "not-found");
    const note = {
      ...operatorOf(c, admitted.value),
      atMs: Date.now(),
      tenant: "",
      kind: "read",
      operation: definition.name,
      // As it was asked; the schema knows every member.
      detail: c.req.query(),
    } as const;
    try {
      await withTimeout(writeAuditNote(db, note), SEND_TIMEOUT_MS);
      return await definition.read(db, search.data, c);
    } catch {
      return problemResponse(c, "temporarily-unavailable", {
        detail: "The database did not answer.",
      });
    }
  },
});

const boundDatabase = (env: Bindings, name: string): Database | undefined =>
  databaseNamed(env, name);
