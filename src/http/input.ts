/** The body of a request that takes no key: read, decoded and held to its schema; else the answer to send. */
import type { z } from "zod";
import { type Json, parseJson } from "../kernel/json.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";
import { issuesOf } from "../operations/define-operation.ts";
import type { HttpContext } from "./context.ts";
import { checkMediaType, decodeText, readBytes } from "./json-body.ts";
import { problemResponse } from "./problem-response.ts";

/** What is wrong is named member by member. */
export const readInput = async <Schema extends z.ZodType>(
  c: HttpContext,
  schema: Schema,
): Promise<Result<z.output<Schema>, Response>> => {
  const body = await readJson(c);
  if (!body.ok) return body;
  const input = schema.safeParse(body.value);
  return input.success
    ? succeed(input.data)
    : fail(problemResponse(c, "request-invalid", { members: { errors: issuesOf(input.error) } }));
};

/** Any JSON, for whoever judges it together with the path. */
export const readJson = async (c: HttpContext): Promise<Result<Json, Response>> => {
  const media = checkMediaType(c.req.raw.headers);
  if (!media.ok) return fail(problemResponse(c, media.failure.code, media.failure));
  const bytes = await readBytes(c.req.raw);
  if (!bytes.ok) return fail(problemResponse(c, bytes.failure.code, bytes.failure));
  const text = decodeText(bytes.value);
  if (!text.ok) return fail(problemResponse(c, text.failure.code, text.failure));
  const body = parseJson(text.value);
  return body.ok ? body : fail(problemResponse(c, "request-invalid", { detail: body.failure }));
};
