/** The list of requests: by state, operation, tenant and time, all of it in the URL. */
import type { FC } from "hono/jsx";
import { z } from "zod";
import type { AuditKind, AuditRow } from "../journal/audit-row.ts";
import { findKeysOf } from "../journal/effects-of-key.ts";
import { listOpenKeys, listRequests, type OpenKey, placeAt } from "../journal/request-log.ts";
import { CONSOLE_PAGE_ROWS } from "../kernel/limits.ts";
import { duration, Key, KeyHash, linkTo, plural, Time } from "./format.tsx";
import { parseTally, sumOf } from "./tally.ts";
import { Databases, Empty, Tabs } from "./parts.tsx";
import { A, Form } from "./place.tsx";
import { consolePage } from "./visit.tsx";

const STATES = {
  all: "All",
  done: "Done",
  refused: "Refused",
  retries: "Replays and conflicts",
  "in-flight": "In flight",
  uncertain: "Uncertain",
  erased: "Erased",
} as const;

type State = keyof typeof STATES;

const KINDS = {
  all: ["effect", "refusal", "started", "outcome", "erasure"],
  done: ["effect", "outcome"],
  refused: ["refusal"],
  retries: ["tally"],
  erased: ["erasure"],
} as const satisfies Partial<Record<State, readonly AuditKind[]>>;

const RANGES = {
  "15m": 15 * 60_000,
  "1h": 3_600_000,
  "24h": 86_400_000,
  "7d": 7 * 86_400_000,
} as const;

const text = z
  .string()
  .max(64)
  .transform((value) => (value === "" ? undefined : value))
  .optional();

/** As `<input type="datetime-local">` sends it: in UTC here. */
const moment = z
  .string()
  .max(30)
  .transform((value) => (value === "" ? undefined : Date.parse(`${value.replace(/Z$/, "")}Z`)))
  .pipe(z.number({ error: "is not a time" }).optional())
  .optional();

/** Where the page before ended. */
const openPlace = z
  .string()
  .max(1_000)
  .transform((value, context) => {
    try {
      return JSON.parse(value) as unknown;
    } catch {
      context.addIssue("is no place");
      return z.NEVER;
    }
  })
  .pipe(
    z
      .tuple([z.number(), z.string(), z.string()])
      .transform(([created_at_ms, tenant, key]) => ({ created_at_ms, tenant, key })),
  );

const search = z.object({
  state: z.enum(Object.keys(STATES) as [State, ...State[]]).default("all"),
  range: z.enum(["15m", "1h", "24h", "7d", ""]).optional(),
  from: moment,
  to: moment,
  tenant: text,
  operation: text,
  before: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  /** Of keys whose outcome is open. */
  after: openPlace.optional(),
  database: z.string().max(10).optional(),
});

export const requestsPage = consolePage({
  name: "console.requests",
  anyOf: ["ops:read", "ops:support"],
  search,
  noted: (asked) => ({ state: asked.state, tenant: asked.tenant ?? "" }),
  view: async ({ c, session, db, database, databases, nowMs }, asked) => {
    const { state, range, tenant, operation } = asked;
    const now = c.req.query();
    const fromMs = range === undefined || range === "" ? (asked.from ?? 0) : nowMs - RANGES[range];
    const isSupport = session.scopes.has("ops:support");
    let list;
    let next: string | undefined;
    if (state === "in-flight" || state === "uncertain") {
      const filter = { state, tenant, operation };
      const open = await listOpenKeys(db, filter, { after: asked.after, limit: CONSOLE_PAGE_ROWS });
      if (open.next !== null) {
        const { created_at_ms, tenant: whose, key } = open.next;
        next = linkTo("/console/requests", now, {
          after: JSON.stringify([created_at_ms, whose, key]),
        });
      }
      list = <OpenKeys keys={open.data} nowMs={nowMs} database={database} isSupport={isSupport} />;
    } else {
      const before =
        asked.before ??
        (asked.to === undefined ? Number.MAX_SAFE_INTEGER : await placeAt(db, asked.to));
      const filter = { kinds: KINDS[state], tenant, operation, fromMs };
      const page = await listRequests(db, filter, { before, limit: CONSOLE_PAGE_ROWS });
      if (page.next !== null) next = linkTo("/console/requests", now, { before: page.next });
      list =
        state === "retries" ? (
          <Retries rows={page.rows} />
        ) : (
          <Requests
            rows={page.rows}
            keys={await findKeysOf(db, page.rows)}
            database={database}
            isSupport={isSupport}
          />
        );
    }
    const tabs = Object.entries(STATES).map(([name, title]) => ({
      title,
      href: linkTo("/console/requests", now, { state: name, before: undefined, after: undefined }),
      isCurrent: name === state,
    }));
    return {
      title: "Requests",
      main: (
        <>
          <h1>Requests</h1>
          <Tabs label="State" tabs={tabs} />
          <Databases
            path="/console/requests"
            now={now}
            database={database}
            names={databases.map(([name]) => name)}
          />
          <Filters now={now} />
          {list}
          <p class="pages">
            {asked.before !== undefined && (
              <A href={linkTo("/console/requests", now, { before: undefined })}>Newest</A>
            )}
            {asked.after !== undefined && (
              <A href={linkTo("/console/requests", now, { after: undefined })}>Oldest</A>
            )}
            {next !== undefined && (
              <A href={next} rel="next">
                {asked.state === "in-flight" || asked.state === "uncertain" ? "Newer" : "Older"}
              </A>
            )}
          </p>
        </>
      ),
    };
  },
});

const Filters: FC<{ now: Readonly<Record<string, string>> }> = ({ now }) => (
  <Form class="filters" action="/console/requests">
    {now["state"] !== undefined && <input type="hidden" name="state" value={now["state"]} />}
    {now["database"] !== undefined && (
      <input type="hidden" name="database" value={now["database"]} />
    )}
    <p>
      <label for="range">Time</label>
      <select id="range" name="range">
        {[
          ["", "from and to"],
          ["15m", "last 15 minutes"],
          ["1h", "last hour"],
          ["24h", "last 24 hours"],
          ["7d", "last 7 days"],
        ].map(([value = "", name]) => (
          <option value={value} selected={value === (now["range"] ?? "")}>
            {name}
          </option>
        ))}
      </select>
    </p>
    <p>
      <label for="from">From (UTC)</label>
      <input id="from" name="from" type="datetime-local" value={now["from"] ?? ""} />
    </p>
    <p>
      <label for="to">To (UTC)</label>
      <input id="to" name="to" type="datetime-local" value={now["to"] ?? ""} />
    </p>
    <p>
      <label for="tenant">Tenant</label>
      <input id="tenant" name="tenant" value={now["tenant"] ?? ""} maxlength={64} />
    </p>
    <p>
      <label for="operation">Operation</label>
      <input id="operation" name="operation" value={now["operation"] ?? ""} maxlength={64} />
    </p>
    <button>Show</button>
  </Form>
);

/** State as words and colour. */
const StateOf: FC<{ row: AuditRow }> = ({ row: { kind, code } }) => {
  if (kind === "refusal") return <span class="state refused">refused</span>;
  if (kind === "started") return <span class="state open">started</span>;
  if (kind === "erasure") return <span class="state">erased</span>;
  if (code === "outcome-uncertain") return <span class="state open">uncertain</span>;
  if (code === "not-executed") return <span class="state refused">not carried out</span>;
  return <span class={code === null ? "state done" : "state refused"}>done</span>;
};

const detailSchema = z.object({ attempt: z.number().optional(), ms: z.number().optional() });

/** What a claim's row says of how it went. */
export const claimDetail = (detail: string | null): z.output<typeof detailSchema> =>
  detailSchema.safeParse(detail === null ? {} : (JSON.parse(detail) as unknown)).data ?? {};

const Requests: FC<{
  rows: readonly AuditRow[];
  keys: ReadonlyMap<number, string>;
  database: string;
  isSupport: boolean;
}> = ({ rows, keys, database, isSupport }) =>
  rows.length === 0 ? (
    <Empty>No request fits. Take a longer time, or go on to older ones.</Empty>
  ) : (
    <div class="wide" tabindex={0} role="region" aria-label="Requests">
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">State</th>
            <th scope="col">Operation</th>
            <th scope="col">Tenant</th>
            <th scope="col">Key</th>
            <th scope="col">Outcome</th>
            <th scope="col" class="number">
              Attempts
            </th>
            <th scope="col" class="number">
              Duration
            </th>
            <th scope="col">Made</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const { attempt, ms } = claimDetail(row.detail);
            return (
              <tr>
                <td class="nowrap">
                  {isSupport ? (
                    <A href={`/console/requests/${database}/${row.seq}`}>
                      <Time ms={row.atMs} />
                    </A>
                  ) : (
                    <Time ms={row.atMs} />
                  )}
                </td>
                <td>
                  <StateOf row={row} />
                </td>
                <td class="nowrap">{row.operation}</td>
                <td class="nowrap">{row.tenant}</td>
                <td class="nowrap">
                  <KeyOf row={row} known={keys.get(row.seq)} />
                </td>
                <td class="nowrap">{outcomeOf(row)}</td>
                <td class="number">{attempt}</td>
                <td class="number nowrap">{ms === undefined ? "" : duration(ms)}</td>
                <td class="nowrap">{row.link !== null && <code>{shortLink(row.link)}</code>}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );

/** Of what has only started there is none. */
const outcomeOf = ({ kind, status, code }: AuditRow): string =>
  kind === "started" ? "" : `${status ?? ""} ${code ?? ""}`;

const KeyOf: FC<{ row: AuditRow; known: string | undefined }> = ({ row: { keyHash }, known }) =>
  known !== undefined ? (
    <Key value={known} />
  ) : keyHash === null ? (
    <></>
  ) : (
    <KeyHash value={keyHash} />
  );

const shortLink = (link: string): string => link.slice(link.lastIndexOf("/") + 1);

const OpenKeys: FC<{
  keys: readonly OpenKey[];
  nowMs: number;
  database: string;
  isSupport: boolean;
}> = ({ keys, nowMs, database, isSupport }) =>
  keys.length === 0 ? (
    <Empty>No key is in this state.</Empty>
  ) : (
    <div class="wide" tabindex={0} role="region" aria-label="Open keys">
      <table>
        <thead>
          <tr>
            <th scope="col">Since</th>
            <th scope="col">Age</th>
            <th scope="col">Operation</th>
            <th scope="col">Tenant</th>
            <th scope="col">Key</th>
            <th scope="col" class="number">
              Attempts
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((one) => (
            <tr>
              <td class="nowrap">
                {isSupport ? (
                  <A href={linkTo("/console/search", { q: one.key, tenant: one.tenant, database })}>
                    <Time ms={one.created_at_ms} />
                  </A>
                ) : (
                  <Time ms={one.created_at_ms} />
                )}
              </td>
              <td class="nowrap">{duration(Math.max(0, nowMs - one.created_at_ms))}</td>
              <td class="nowrap">{one.operation}</td>
              <td class="nowrap">{one.tenant}</td>
              <td>
                <Key value={one.key} />
              </td>
              <td class="number">{one.attempt}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );

const Retries: FC<{ rows: readonly AuditRow[] }> = ({ rows }) =>
  rows.length === 0 ? (
    <Empty>No replay and no conflict in this time.</Empty>
  ) : (
    <div class="wide" tabindex={0} role="region" aria-label="Replays and conflicts">
      <table>
        <thead>
          <tr>
            <th scope="col">Until</th>
            <th scope="col">Tenant</th>
            <th scope="col">Operations</th>
            <th scope="col" class="number">
              Replays
            </th>
            <th scope="col" class="number">
              Conflicts
            </th>
            <th scope="col" class="number">
              5xx
            </th>
            <th scope="col">Keys</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ atMs, tenant, detail }) => {
            const tally = parseTally(detail === null ? {} : (JSON.parse(detail) as unknown));
            const sums = sumOf(Object.values(tally.answers));
            return (
              <tr>
                <td class="nowrap">
                  <Time ms={atMs} />
                </td>
                <td class="nowrap">{tenant}</td>
                <td>{Object.keys(tally.answers).join(", ")}</td>
                <td class="number">{sums.replayed}</td>
                <td class="number">{sums.conflicts}</td>
                <td class="number">{sums.failed}</td>
                <td class="nowrap">{plural(Object.keys(tally.keys).length, "key")}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
