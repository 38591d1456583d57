/**
 * One request: a plain sentence, then everything that is known of its key, redacted. No value of the request or of its
 * answer is here: they are not read.
 */
import type { FC } from "hono/jsx";
import { z } from "zod";
import { originOf } from "../http/context.ts";
import type { AuditRow } from "../journal/audit-row.ts";
import { type Effects, effectsOf, findKeyOf } from "../journal/effects-of-key.ts";
import { findAction } from "../journal/issue-actions.ts";
import { findRecords } from "../journal/journal.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import { findAuditRow, findClaim, followClaim } from "../journal/request-log.ts";
import type { KeyStatus } from "../objects/key-call.ts";
import { statusOf } from "../objects/key-status.ts";
import { operations } from "../operations/registry.ts";
import { actionId } from "./action.ts";
import { curlFor } from "./curl.ts";
import { duration, KeyHash, linkTo, money, plural, Time } from "./format.tsx";
import { A } from "./place.tsx";
import { claimDetail } from "./requests.tsx";
import { redrivenSentence, RESOLVED } from "./work.ts";
import { type Evidence, storyOf } from "./story.ts";
import { parseTally } from "./tally.ts";
import { consolePage, NOT_FOUND } from "./visit.tsx";

const seqSchema = z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER);

export const requestPage = consolePage({
  name: "console.request",
  anyOf: ["ops:support"],
  search: z.object({
    done: actionId.optional(),
    told: z.enum(["executed", "not-executed"]).optional(),
  }),
  noted: (_, c) => ({ seq: c.req.param("seq") ?? "" }),
  view: async ({ c, session, db, database, nowMs }, { done, told }) => {
    const seq = seqSchema.safeParse(c.req.param("seq"));
    const asked = seq.success ? await findAuditRow(db, seq.data) : undefined;
    if (asked === undefined || asked.keyHash === null) return NOT_FOUND;
    // What came later leads to the claim that it is about.
    const isClaim = CLAIMS.has(asked.kind);
    const key = await findKeyOf(db, asked);
    const entry =
      key === undefined ? undefined : (await findRecords(db, asked.tenant, [key])).get(key);
    const claim =
      isClaim || entry === undefined
        ? asked
        : ((await findClaim(db, asked.keyHash, entry.createdAtMs)) ?? asked);
    const [later, effects] = [await followClaim(db, claim), await effectsOf(db, claim)];
    const action = done === undefined ? undefined : await findAction(db, done);
    const evidence = evidenceOf(claim, later.rows, effects);
    const operation = operations.find(({ name }) => name === claim.operation);
    return {
      title: "One request",
      main: (
        <>
          <p class="path">
            <A href="/console/requests">Requests</A> / {claim.operation}
          </p>
          {typeof action?.answer === "string" && (
            <p class="told" role="status">
              {redrivenSentence(action.answer)}
            </p>
          )}
          {told !== undefined && (
            <p class="told" role="status">
              {RESOLVED[told]}
            </p>
          )}
          <h1 class="story">{storyOf(evidence)}</h1>
          {session.scopes.has("ops:act") && (
            <ToDo entry={entry} request={claim.seq} database={database} />
          )}
          <Facts claim={claim} entry={entry} keyText={key} nowMs={nowMs} />
          <h2>Timeline</h2>
          <Timeline claim={claim} later={later.rows} />
          {!later.isWhole && (
            <p class="note">
              What happened more than ten thousand rows of the audit log after the claim is not
              looked for here.
            </p>
          )}
          <h2>What it made</h2>
          <Made
            effects={effects}
            claim={claim}
            evidence={evidence}
            maySeeBooks={session.scopes.has("ops:read")}
          />
          {key !== undefined && operation !== undefined && (
            <>
              <h2>Send it again</h2>
              <p class="note">
                With the same key and the same body{" "}
                {isOpen(entry)
                  ? "it is told how the key stands, and never runs twice"
                  : "it is a replay, and changes nothing"}
                . The body is not kept here; put it into <code>body.json</code>.
              </p>
              <Curl
                text={curlFor({
                  origin: originOf(c),
                  method: operation.method,
                  path: operation.path,
                  link: claim.link,
                  key,
                })}
              />
            </>
          )}
        </>
      ),
    };
  },
});

const isOpen = (entry: JournalEntry | undefined): boolean =>
  entry?.record.state === "in-flight" || entry?.record.state === "uncertain";

/** What an engineer can do about a key whose outcome is open. */
const ToDo: FC<{ entry: JournalEntry | undefined; request: number; database: string }> = ({
  entry,
  request,
  database,
}) =>
  !isOpen(entry) ? (
    <></>
  ) : (
    <p class="to-do">
      <A href={linkTo("/console/redrive", { request, database })}>Re-drive…</A>
      {entry?.record.state === "uncertain" && (
        <>
          {" "}
          <A href={linkTo("/console/resolution", { request, database })}>Say what happened…</A>
        </>
      )}
    </p>
  );

const CLAIMS: ReadonlySet<string> = new Set(["effect", "refusal", "started"]);

const evidenceOf = (claim: AuditRow, later: readonly AuditRow[], effects: Effects): Evidence => {
  const answers: Record<string, number> = {};
  const differing = new Set<string>();
  for (const row of later) {
    if (row.kind !== "tally") continue;
    const tally = tallyOf(row);
    const mine = tally.keys[claim.keyHash ?? ""] ?? {};
    for (const [what, number] of Object.entries(mine))
      answers[what] = (answers[what] ?? 0) + number;
    for (const name of tally.differing[claim.keyHash ?? ""] ?? []) differing.add(name);
  }
  // The last: what was uncertain may have been resolved.
  const outcome = later.findLast(({ kind }) => kind === "outcome" || kind === "resolution");
  const looked = ["payments.create", "refunds.create", "orders.cancel", "stock.adjust"];
  return {
    operation: claim.operation,
    kind:
      claim.kind === "started" ? endOf(outcome) : claim.kind === "refusal" ? "refusal" : "effect",
    code: claim.code ?? outcome?.code ?? null,
    isMade: looked.includes(claim.operation)
      ? effects.transfers.length + effects.moves.length > 0
      : undefined,
    answers,
    differing: [...differing],
    isErased: later.some(({ kind }) => kind === "erasure"),
  };
};

/** Of a claim whose effect is outside the database. */
const endOf = (outcome: AuditRow | undefined): Evidence["kind"] => {
  if (outcome === undefined) return "open";
  if (outcome.code === "outcome-uncertain") return "uncertain";
  if (outcome.code === "not-executed") return "not-executed";
  return outcome.code === null ? "effect" : "refusal";
};

const tallyOf = ({ detail }: AuditRow) =>
  parseTally(detail === null ? {} : (JSON.parse(detail) as unknown));

const Facts: FC<{
  claim: AuditRow;
  entry: JournalEntry | undefined;
  keyText: string | undefined;
  nowMs: number;
}> = ({ claim, entry, keyText, nowMs }) => {
  const { attempt, ms } = claimDetail(claim.detail);
  const status = entry === undefined ? undefined : statusOf(entry, nowMs);
  return (
    <dl class="facts">
      <dt>Key</dt>
      <dd>
        {keyText !== undefined ? <code>{keyText}</code> : <KeyHash value={claim.keyHash ?? ""} />}
        {keyText === undefined && (
          <span class="note"> only its hash was found; search for the key if you have it</span>
        )}
      </dd>
      <dt>State</dt>
      <dd>{status?.state ?? "not in the journal any more, or not found"}</dd>
      <dt>Outcome</dt>
      <dd>{outcomeOf(claim, status)}</dd>
      <dt>Tenant</dt>
      <dd>{claim.tenant}</dd>
      <dt>Caller</dt>
      <dd>
        <code>{claim.actor === "" ? "not known" : claim.actor}</code>
      </dd>
      <dt>Request id</dt>
      <dd>
        <code>{claim.requestId}</code>
      </dd>
      <dt>Attempts</dt>
      <dd>
        {attempt === undefined
          ? "not known"
          : attempt === 1
            ? "1: the first send to the database was answered"
            : `${attempt}: earlier sends to the database got no answer`}
      </dd>
      <dt>Duration</dt>
      <dd>{ms === undefined ? "not known" : `${duration(ms)} to the commit`}</dd>
      {status?.state === "completed" && status.expiresAtS !== undefined && (
        <>
          <dt>Replayable until</dt>
          <dd>
            <Time ms={status.expiresAtS * 1000} />
          </dd>
        </>
      )}
    </dl>
  );
};

/** Of a claim whose effect is outside the database the row tells none: the key's own state does. */
const outcomeOf = (claim: AuditRow, status: KeyStatus | undefined): string => {
  if (claim.kind !== "started") return `${claim.status ?? ""} ${claim.code ?? ""}`;
  const told = status?.outcome;
  return told === undefined ? "none yet" : `${told.status} ${told.refusal ?? ""}`;
};

const Timeline: FC<{ claim: AuditRow; later: readonly AuditRow[] }> = ({ claim, later }) => {
  const { attempt = 1, ms } = claimDetail(claim.detail);
  return (
    <ol class="timeline">
      <li>
        <Time ms={claim.atMs} /> <strong>Request</strong> <code>{claim.operation}</code>, by request{" "}
        <code>{claim.requestId}</code>
      </li>
      {attempt > 1 && (
        <li>
          <span class="when">between</span> <strong>Healed</strong> {plural(attempt - 1, "send")} to
          the database got no answer; the next one found the key free, and claimed it
        </li>
      )}
      <li>
        {ms === undefined ? <span class="when">then</span> : <Time ms={claim.atMs + ms} />}{" "}
        <strong>{claim.kind === "started" ? "Claimed" : "Claimed and committed"}</strong>{" "}
        {claim.kind === "refusal"
          ? `a refusal, ${claim.code ?? ""}: nothing else was written`
          : claim.kind === "started"
            ? "before the call went out"
            : "with its effects, in one transaction"}
        , row {claim.seq} of the audit log
      </li>
      {later.map((row) => (
        <Event row={row} keyHash={claim.keyHash ?? ""} />
      ))}
    </ol>
  );
};

const Event: FC<{ row: AuditRow; keyHash: string }> = ({ row, keyHash }) => {
  if (row.kind === "tally") {
    const tally = tallyOf(row);
    const differing = tally.differing[keyHash] ?? [];
    return (
      <li>
        <Time ms={row.atMs} /> <strong>Retries</strong>{" "}
        {Object.entries(tally.keys[keyHash] ?? {})
          .map(([what, number]) => `${number} × ${what}`)
          .join(", ")}
        {differing.length > 0 && <> — differing: {differing.join(", ")}</>}
      </li>
    );
  }
  return (
    <li>
      <Time ms={row.atMs} /> <strong>{row.kind}</strong> {row.operation} {row.status} {row.code}, by{" "}
      <code>{row.actor}</code>
    </li>
  );
};

const Made: FC<{
  effects: Effects;
  claim: AuditRow;
  evidence: Evidence;
  maySeeBooks: boolean;
}> = ({ effects, claim, evidence, maySeeBooks }) => {
  const { transfers, entries, moves } = effects;
  if (transfers.length + moves.length === 0) {
    return claim.link === null ? (
      <p class="empty">
        {evidence.kind === "refusal" || evidence.kind === "not-executed"
          ? "Nothing: it was not carried out."
          : "Nothing that is known of here."}
      </p>
    ) : (
      <p>
        <code>{claim.link}</code>
      </p>
    );
  }
  const currencyOf = new Map(transfers.map(({ id, currency }) => [id, currency]));
  return (
    <>
      {transfers.map((transfer) => (
        <p>
          <code>{transfer.id}</code>: {money(transfer.amount, transfer.currency)} from{" "}
          <code>{transfer.source}</code> to <code>{transfer.destination}</code>
          {transfer.refunded > 0 &&
            `, of which ${money(transfer.refunded, transfer.currency)} was given back`}
        </p>
      ))}
      {entries.length > 0 && (
        <div class="wide" tabindex={0} role="region" aria-label="Ledger entries">
          <table>
            <thead>
              <tr>
                <th scope="col">Account</th>
                <th scope="col" class="number">
                  Entry
                </th>
                <th scope="col" class="number">
                  Amount
                </th>
                <th scope="col" class="number">
                  Balance after it
                </th>
              </tr>
            </thead>
            <tbody>
              {entries.map((entry) => (
                <tr>
                  <td>
                    {maySeeBooks ? (
                      <A
                        href={`/console/ledger/entries?tenant=${encodeURIComponent(claim.tenant)}&account=${encodeURIComponent(entry.account)}`}
                      >
                        {entry.account}
                      </A>
                    ) : (
                      entry.account
                    )}
                  </td>
                  <td class="number">{entry.seq}</td>
                  <td class="number">
                    {money(entry.amount, currencyOf.get(entry.transfer) ?? entry.currency)}
                  </td>
                  <td class="number">{money(entry.balance, entry.currency)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {moves.length > 0 && (
        <div class="wide" tabindex={0} role="region" aria-label="Stock moves">
          <table>
            <thead>
              <tr>
                <th scope="col">Product</th>
                <th scope="col">Move</th>
                <th scope="col" class="number">
                  Pieces
                </th>
              </tr>
            </thead>
            <tbody>
              {moves.map(({ sku, id, delta }) => (
                <tr>
                  <td>{sku}</td>
                  <td>
                    <code>{id}</code>
                  </td>
                  <td class="number">{delta > 0 ? `+${delta}` : `−${-delta}`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
};

const Curl: FC<{ text: string }> = ({ text }) => (
  <div class="curl">
    <pre tabindex={0}>{text}</pre>
    <button type="button" class="copy" data-copy={text} hidden>
      Copy as curl
    </button>
  </div>
);
