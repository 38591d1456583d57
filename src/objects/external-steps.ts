/**
 * Operations with an external step, as the exchange engine sees them: what is claimed and held for one, what its
 * processor is sent, and what it comes to. Whatever is computed here is computed again from what was stored, after a
 * crash or for a batch that failed, and comes out the same: the step's functions are pure, and the processor's word and
 * its time are stored before anything follows from them.
 */
import { createHash } from "node:crypto";
import { problemDocument } from "../contract/problems.ts";
import type { ExchangePolicy, ExchangeRequest, HeaderPairs } from "../gateway/exchange.ts";
import type { Processor } from "../gateway/processor.ts";
import type { Fingerprinted } from "../idempotency/fingerprint.ts";
import { answerHeaders, REFUSAL_HEADERS } from "../idempotency/stored-response.ts";
import type { Database } from "../journal/database.ts";
import { tenantReader } from "../journal/reader.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import type { Submission } from "../journal/submission.ts";
import type { IdSource } from "../kernel/ids.ts";
import { type Json, type JsonObject, parseJson } from "../kernel/json.ts";
import { STORED_RESPONSE_BYTES_MAX } from "../kernel/limits.ts";
import type { Effect } from "../kernel/plan.ts";
import type { Result } from "../kernel/result.ts";
import { utf8Bytes } from "../kernel/utf8.ts";
import type { InputIssue, Operation, ReadyOperation } from "../operations/define-operation.ts";
import type { OperationStep, ProcessorAnswer } from "../operations/external-step.ts";
import type { OperationCall } from "./exchange-call.ts";
import type { Exchange, StepEnded, StepWork } from "./exchange-record.ts";
import { keyPath, mountPath } from "./key-call.ts";
import { HEADER_VALUE, problemOf, submissionOf } from "./run.ts";

export type ExternalStepsSetup = {
  readonly operations: readonly Operation[];
  /** Null if it is not configured. Throws if it is configured wrongly. */
  readonly processorNamed: (name: string) => Processor | null;
};

/** What is sent for a claim, and what it is for. */
export type Sending = {
  readonly policy: ExchangePolicy;
  readonly request: ExchangeRequest;
  readonly work: StepWork | null;
};

/** What an operation answers for good, once its processor has. */
export type StepOutcome = {
  readonly status: number;
  readonly headers: HeaderPairs;
  readonly body: Uint8Array;
  readonly link: string | null;
  readonly work: StepWork;
};

/** An operation that has an external step. */
type Stepping = Operation & { readonly external: OperationStep };

export class ExternalSteps {
  readonly #processorNamed: ExternalStepsSetup["processorNamed"];
  readonly #operations: ReadonlyMap<string, Stepping>;

  constructor({ operations, processorNamed }: ExternalStepsSetup) {
    this.#processorNamed = processorNamed;
    this.#operations = new Map(
      operations.filter(isStepping).map((operation) => [operation.name, operation]),
    );
  }

  has(operation: string): boolean {
    return this.#operations.has(operation);
  }

  /** How its processor is called; undefined if none is configured: then nothing may be claimed. */
  policyOf(name: string): ExchangePolicy | undefined {
    const operation = this.#operation(name);
    const processor = this.#processorNamed(operation.external.processor);
    if (processor === null) return undefined;
    const { keyLifetimeSeconds, tombstoneSeconds } = operation;
    return { ...processor.terms, route: name, keyLifetimeSeconds, tombstoneSeconds };
  }

  /** Judges the input. Only for a key that is free: what was stored before a schema was tightened is still replayed. */
  validate({
    operation,
    params,
    body,
  }: Fingerprinted): Result<ReadyOperation, readonly InputIssue[]> {
    return this.#operation(operation).validate(params, body);
  }

  /** The claim, with what is held. Throws what reading throws. */
  async hold(
    call: OperationCall,
    ready: ReadyOperation,
    db: Database,
    ids: IdSource,
    nowMs: number,
  ): Promise<Submission> {
    const { tenant, key, operation: request, members } = call;
    const operation = this.#operation(request.operation);
    ids.rewind();
    const plan = await ready.plan(tenantReader(db, tenant), { ids, nowMs, key });
    return submissionOf(
      { call: { ...call, request }, operation, ready, members, startedAtMs: nowMs },
      plan,
    );
  }

  /** What the processor is sent for a claim. Throws if the row does not say what was held. */
  sending(call: OperationCall, held: JournalEntry["held"], policy: ExchangePolicy): Sending {
    const { tenant, key, origin, traceparent } = call;
    const operation = this.#operation(call.operation.operation);
    const kept = parseHeld(held);
    const processorKey = processorKeyOf(tenant, key);
    const { method, path, body } = operation.external.call(kept, processorKey);
    const token = this.#processorNamed(operation.external.processor)?.token ?? null;
    return {
      policy,
      request: {
        method,
        target: path,
        headers: [
          ["content-type", "application/json"],
          ["accept", "application/json"],
          ["idempotency-key", processorKey],
          ...(traceparent === undefined ? [] : [["traceparent", traceparent] as const]),
          ...(token === null ? [] : [["authorization", `Bearer ${token}`] as const]),
        ],
        body: new TextEncoder().encode(JSON.stringify(body)),
      },
      work: { operation: operation.name, held: kept, origin, ended: null },
    };
  }

  /**
   * What the processor's word comes to. Throws if the step cannot make anything of it: then it is not known what
   * happened, and a person is to say.
   * @param bytes null if the answer was too long to be read
   */
  outcome(
    { key }: Exchange,
    work: StepWork,
    status: number,
    bytes: Uint8Array | null,
    nowMs: number,
  ): StepOutcome {
    const operation = this.#operation(work.operation);
    const answer = answerOf(status, bytes);
    const end = operation.external.settle(work.held, answer, nowMs);
    const ended = { answer: { status, body: answer.body ?? null }, atMs: nowMs };
    if ("refusal" in end) {
      const document = problemDocument(end.refusal, work.origin, {
        problem: problemOf(operation, end.refusal),
        instance: keyPath(work.origin, key),
        detail: end.detail,
      });
      return {
        status: problemOf(operation, end.refusal).status,
        headers: Object.entries(REFUSAL_HEADERS),
        body: bodyOf(document),
        link: null,
        work: { ...work, ended: { ...ended, refusal: end.refusal } },
      };
    }
    const link = mountPath(work.origin) + end.answer.link;
    if (!HEADER_VALUE.test(link)) {
      throw new Error(`Operation ${operation.name}: the answer's link is no header value.`);
    }
    return {
      status: end.answer.status,
      headers: Object.entries(answerHeaders(end.answer.status, link)),
      body: bodyOf(end.answer.body),
      link,
      work: { ...work, ended: { ...ended, refusal: null } },
    };
  }

  /** What happens in the database when the exchange is settled. Throws if the operation has changed its mind. */
  effectsOf(
    { state }: Exchange,
    { operation, held, ended }: StepWork,
    nowMs: number,
  ): readonly Effect[] {
    const { external } = this.#operation(operation);
    if (state.kind === "free") return external.release(held, nowMs);
    if (state.kind !== "final" || ended === null) return [];
    if (ended.refusal !== null) return external.release(held, ended.atMs);
    const end = external.settle(held, processorAnswerIn(ended), ended.atMs);
    if ("refusal" in end) {
      throw new Error(`Operation ${operation}: what was told as a success is a refusal by now.`);
    }
    return end.effects;
  }

  /** Gives back what a claim holds that nobody called for. None for a claim that is no operation's. */
  releaseOf(
    { operation, held }: Pick<JournalEntry, "operation" | "held">,
    nowMs: number,
  ): readonly Effect[] {
    return held === null ? [] : this.#operation(operation).external.release(parseHeld(held), nowMs);
  }

  #operation(name: string): Stepping {
    const operation = this.#operations.get(name);
    if (operation === undefined) {
      throw new Error(`There is no operation ${name} with an external step.`);
    }
    return operation;
  }
}

const isStepping = (operation: Operation): operation is Stepping => operation.external !== null;

const parseHeld = (held: string | null): JsonObject => {
  // It was ours when it was written, and the step's own schema parses it.
  if (held === null) throw new Error("The claim does not say what it holds.");
  return JSON.parse(held) as JsonObject;
};

/** One for a tenant and key for ever: a key that runs again, or is taken over, is still the same to the processor. */
const processorKeyOf = (tenant: string, key: string): string =>
  createHash("sha256")
    // The length stands before the part, so that no two pairs spell one text.
    .update(`latchkey-processor-1\n${tenant.length}:${tenant}/${key}`)
    .digest("base64url");

const answerOf = (status: number, bytes: Uint8Array | null): ProcessorAnswer => {
  if (bytes === null) return { status };
  const parsed = parseJson(new TextDecoder().decode(bytes));
  return parsed.ok ? { status, body: parsed.value } : { status };
};

const processorAnswerIn = ({ answer: { status, body } }: StepEnded): ProcessorAnswer =>
  body === null ? { status } : { status, body };

const bodyOf = (document: Json): Uint8Array => {
  const text = JSON.stringify(document);
  if (utf8Bytes(text) > STORED_RESPONSE_BYTES_MAX) {
    throw new Error(
      `The answer is larger than the ${STORED_RESPONSE_BYTES_MAX} bytes that are stored.`,
    );
  }
  return new TextEncoder().encode(text);
};

/** Of an input that is not valid. */
export const invalid = (issues: readonly InputIssue[]): JsonObject => ({
  errors: issues.map(({ pointer, detail }) => ({ pointer, detail })),
});
