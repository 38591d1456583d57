/**
 * Every bound of the product, each with the reason for its number.
 * Names end in their unit. What an operator may change is a var in `env.ts`, with its default here.
 */

/** A key shorter than this is a counter or a mistake: a v4 UUID without dashes has 32, a ULID 26. */
export const KEY_LENGTH_MIN = 16;
/** Stripe's limit, so that keys made for other services fit. */
export const KEY_LENGTH_MAX = 255;

/** Fifty order lines with names fit ten times over; a Worker can buffer it without thinking. */
export const BODY_BYTES_MAX = 64 * 1024;
/** A stored answer fits a D1 row (2 MB) eight times over, and 64 of them fit an RPC message. */
export const STORED_RESPONSE_BYTES_MAX = 256 * 1024;
/** Deeper than any honest request; shallow enough for every recursive reader behind us. */
export const JSON_DEPTH_MAX = 32;

/** Below the 30 s after which most proxies give up on a silent connection. */
export const WAIT_SECONDS_MAX = 20;
/** A hundred callers holding one key is a retry storm: the rest hear 423 at once. */
export const WAITERS_PER_KEY_MAX = 100;
/** Each held caller costs a promise and an open request in the object's 128 MB. */
export const WAITERS_PER_OBJECT_MAX = 1_000;

/** Stripe's figure, and what client libraries assume. */
export const KEY_LIFETIME_SECONDS = 24 * 60 * 60;
/** A tombstone outlives the longest queue, cron or human retry we know of: a month of statements. */
export const TOMBSTONE_SECONDS = 30 * 24 * 60 * 60;
/** No operation may ask for a key that lives longer: bodies hold personal data. */
export const KEY_LIFETIME_SECONDS_MAX = 30 * 24 * 60 * 60;

/** A group amortises the round trip; past 64 the last caller waits longer than it gains. */
export const GROUP_OPERATIONS_MAX = 64;
/** The shortest that a timer can be: callers who overlap are read from their sockets within two or three. */
export const GATHER_MOMENT_MS = 1;
/** Much less than a batch takes, which is what a caller who missed this one would wait for. */
export const GATHER_MOMENTS_MAX = 3;
/** Half of D1's 1,000 queries an invocation: a split or a re-send of the group still fits. */
export const GROUP_STATEMENTS_MAX = 500;
/** What a group holds of long operations together: two orders of 50 lines, so that a short one waits for four at most. */
export const GROUP_LONG_STATEMENTS_MAX = 206;
/** Beyond this an operation is long. An order of eight lines is not, nor is anything else that has no list. */
export const SHORT_STATEMENTS_MAX = 20;
/** D1's own limit. It is not enforced locally, so it is here. */
export const STATEMENT_PARAMS_MAX = 100;
/** Far under the 32 MiB of an RPC message, and small enough to serialise without a pause. */
export const GROUP_BYTES_MAX = 1024 * 1024;
/** And of long operations half of that, so that there is room for short ones in every group. */
export const GROUP_LONG_BYTES_MAX = GROUP_BYTES_MAX / 2;
/** Sixteen full groups: more than D1 commits in the budget of a request, so more would only time out. */
export const QUEUE_OPERATIONS_MAX = 1_024;

/** A full queue, and as many requests again that still read what they need. */
export const FLIGHTS_PER_OBJECT_MAX = 2 * QUEUE_OPERATIONS_MAX;

/** What one request may spend on D1, re-sends and recovery included; clients time out soon after. */
export const COMMIT_BUDGET_MS = 5_000;
/** One send or recovery read. Two fit the budget, so a lost answer is looked up and sent once more. */
export const SEND_TIMEOUT_MS = 2_000;
/** First pause before a failed recovery read is tried again; doubled up to the maximum. */
export const RECOVERY_PAUSE_MS = 50;
export const RECOVERY_PAUSE_MS_MAX = 800;
/** D1 ends a batch after 30 s; until then a batch we gave up on may still commit. */
export const BATCH_LIFE_MS = 30_000;
/**
 * How long after its start an object cannot call a key free: a predecessor that does not know that it was replaced goes
 * on for the budget of its requests, and its last batch may take its time.
 */
export const ABSENCE_UNKNOWN_MS = COMMIT_BUDGET_MS + SEND_TIMEOUT_MS + BATCH_LIFE_MS;
/** Facts that change under us three times in a row mean contention: the client should come back. */
export const REPLANS_MAX = 3;

/** A copy is written when the object is idle; under unbroken load, at the latest this many behind. */
export const COPY_LAG_MAX = 256;
/** How long the object must be quiet before it writes copies: longer than a reply takes to leave. */
export const COPY_IDLE_MS = 25;
/** Storage that failed this often in a row is left alone: D1 is the record, the copy is comfort. */
export const COPY_FAILURES_MAX = 3;
/** Outcomes kept in the object's memory: 8 MB of its 128 at most, beside the waiters and the queue. */
export const MEMORY_OUTCOMES_MAX = 4_096;
export const MEMORY_BYTES_MAX = 8 * 1024 * 1024;

/** One sweep step: enough to outrun 6,000 new keys a minute, little enough to end in a second. */
export const SWEEP_PAGE_KEYS = 500;
/** Copies that one alarm looks at to find what is due: they are read in one turn of the object, in a few milliseconds. */
export const SWEEP_SCAN_ROWS = 5_000;
/** Sweeps of one object are at least this far apart; what expires between is judged on read. */
export const SWEEP_INTERVAL_MS = 15 * 60 * 1000;
/**
 * And at least this for each row that the last of them has read: however many copies an object holds, it reads a million
 * an hour at most in one life to find what is due, which costs what a thousand rows written do.
 */
export const SWEEP_REST_MS_PER_ROW = 3.6;
/** After a sweep step that failed. An alarm that throws is dropped after six tries: we re-arm instead. */
export const SWEEP_RETRY_MS = 60 * 1000;

/** A page of a list. Two hundred rows stay under 100 KB of JSON. */
export const PAGE_ROWS_DEFAULT = 50;
export const PAGE_ROWS_MAX = 200;

/** Ten billion units of a two-digit currency: above every payment scheme, far below 2^53. */
export const AMOUNT_MINOR_MAX = 1_000_000_000_000;

/** Verified signatures kept in an isolate; each is a token and its claims, about 1 KB. */
export const VERIFIED_TOKENS_MAX = 2_000;
/** A clock may be this far ahead of the issuer's when `nbf` and `iat` are checked. */
export const TOKEN_CLOCK_TOLERANCE_SECONDS = 5;
/** Keys an isolate remembers having counted, so that a retry is not counted as a new key. */
export const COUNTED_KEYS_MAX = 10_000;

/** Durations kept per operation for `Retry-After`: the recent past, not history. */
export const DURATIONS_KEPT = 64;

/** Said when nothing was measured: long enough for a failed-over database, short enough for a person. */
export const RETRY_AFTER_DEFAULT_MS = 1_000;
/** How often the Worker calls an object anew after a broken call; the method is safe to run twice. */
export const OBJECT_CALLS_MAX = 3;

/** Keys of another issuer that do not come by then: the token is not accepted, the caller may retry. */
export const JWKS_TIMEOUT_MS = 3_000;
/** What revocation is judged by may be this old: the contract's ten seconds, with time to refresh within. */
export const REVOCATIONS_AGE_MS_MAX = 10_000;
/** From this age on it is refreshed, in the background while it still serves. */
export const REVOCATIONS_REFRESH_MS = 5_000;
/** Living revocations kept; a token that must be revoked more often than this is an issuer to switch off. */
export const REVOCATIONS_MAX = 10_000;
/** A UUID has 36; whoever signs its tokens' ids still has room. */
export const TOKEN_ID_LENGTH_MAX = 255;
/** An issuer is a URL: as long as its longest usual form, and no longer than a revocation can name. */
export const ISSUER_LENGTH_MAX = 255;
/** Rows that one page of a list by state looks at: a few milliseconds, however rare the state. */
export const LIST_SCAN_ROWS = 1_000;
/** Rows of one step of the slow pass, and steps of one scheduled run: half of the queries an invocation has. */
export const SLOW_PASS_ROWS = 1_000;
export const SLOW_PASS_STEPS = 100;
/** When the alarm runs an accepted request that has no outcome yet: after the budget of the run that accepted it. */
export const INTENT_GRACE_MS = COMMIT_BUDGET_MS + 1_000;
/** Pause before the next try of an accepted request; doubled each time, up to the maximum. */
export const INTENT_PAUSE_MS = 1_000;
export const INTENT_PAUSE_MS_MAX = 60_000;
/** Accepted requests that one object holds at a time; beyond it new ones get 503. */
export const INTENTS_PER_OBJECT_MAX = 1_000;
/** Accepted requests that one alarm runs: one group, within the alarm's time. */
export const INTENTS_PER_ALARM_MAX = 64;

/** D1 holds 10 GB; the rest is for what is under way in every object, for tombstones and for indexes that split. */
export const DATABASE_BYTES_MAX_DEFAULT = 9_500_000_000;
/** Before a request that met a full database is worth repeating: room comes from a sweep or an operator. */
export const RETRY_FULL_MS = 60_000;
/** Tenants whose database an isolate remembers; each is two short texts. */
export const ASSIGNED_TENANTS_MAX = 10_000;

/** Rows of the audit log under one seal: their digests are 8 KB, and to check them takes a moment. */
export const SEAL_ROWS = 500;
/** Seals that one scheduled run makes in all databases: 50,000 rows, in some two hundred queries; the next run goes on. */
export const SEALS_PER_RUN = 100;
/** Seals that one call of the verification checks: 10,000 rows, in some forty queries. */
export const VERIFIED_SEALS_MAX = 20;
/** What one call of the verification names: beyond it something else is wrong than single rows. */
export const AUDIT_FINDINGS_MAX = 100;
/** A page that an export reads at a time: 150 KB in memory, however long the export is. */
export const EXPORT_PAGE_ROWS = 500;
/** What one export gives; the next goes on behind its last row. Two hundred queries of the thousand that it has. */
export const EXPORT_ROWS_MAX = 100_000;

/** Rows that one step of the reconciliation compares: some ten milliseconds of the database, also with a look-up each. */
export const RECONCILE_PAGE_ROWS = 1_000;
/** And tenants, or products, whose rows are summed: a step must end in D1's 30 s also where each has a million. */
export const RECONCILE_SUM_ROWS = 20;
/** Steps of one run, in all databases. A step takes three queries of the thousand, its place one more. */
export const RECONCILE_STEPS_PER_RUN = 200;
/** What one step reports: a table that is wrong throughout is one cause, and not a thousand issues. */
export const RECONCILE_FINDINGS_PER_STEP = 50;
/** Outcomes of each page of the journal whose copies in objects are compared. */
export const RECONCILE_COPIES_PER_PAGE = 3;
/** What a sweep should have taken by then: objects sweep within the quarter of an hour, the slow pass within hours. */
export const SWEEP_OVERDUE_SECONDS = 6 * 60 * 60;
/** Longer than any request, its healing and an upstream's status take: a person should look. */
export const IN_FLIGHT_TOO_LONG_MS = 15 * 60 * 1000;
/** Before the end of a key's life its absence is not judged: the sweep and this clock may differ. */
export const FORGOTTEN_MARGIN_MS = 60 * 60 * 1000;
/** A reason is a sentence for the next person, no essay. */
export const REASON_LENGTH_MAX = 500;

/** A session of the console: a morning's look, not a day's. Never longer than its token. */
export const CONSOLE_SESSION_SECONDS = 60 * 60;
/** Rows of a page of the console: with all its markup under 100 KB. */
export const CONSOLE_PAGE_ROWS = 50;
/** Rows of the audit log, or of a tenant's keys, that one page looks at to fill itself: some ten milliseconds. */
export const CONSOLE_SCAN_ROWS = 10_000;
/** Rows around a place found by time that are searched: requests commit in another order than they start. */
export const CONSOLE_WINDOW_ROWS = 2_000;
/** Tenants that a search over all of them asks: one look at an index for each. */
export const CONSOLE_TENANTS_MAX = 2_000;
/** Grouped rows of replays and conflicts that a chart sums up: each is of some seconds of one object. */
export const CONSOLE_TALLIES_MAX = 2_000;
/** Bars of a chart: each still wide enough to be seen on a telephone. */
export const CONSOLE_CHART_BARS = 30;
/** What one form may change: as much as a person can have looked at. */
export const ACTION_SUBJECTS_MAX = 50;
/** How long an action's key is remembered. Its form ends with the session, an hour after it was made. */
export const ACTION_KEPT_MS = 24 * 60 * 60 * 1000;
/** Of a search: a key has 255 characters at most, quoted some more. */
export const SEARCH_LENGTH_MAX = 300;

/** Series of one isolate or object: thirty operations with all that can come of them. More are not counted. */
export const SERIES_MAX = 4_000;
/** An isolate adds up what it has counted at most this often, behind the answer to a request. */
export const METRICS_FLUSH_MS = 10_000;
/** How long an object collects replays and conflicts before they are written down: it stays in memory that long anyway. */
export const TALLY_DELAY_MS = 5_000;
/** Keys that one row of the audit log tells apart; what else was asked is in its sums. */
export const TALLY_KEYS_MAX = 50;
/** Names of members that differed which one row tells of a key: a person reads no more, and a client may send many. */
export const TALLY_MEMBERS_MAX = 10;
/** And as much of each of them: a name that a client made up may be of any length. */
export const TALLY_MEMBER_LENGTH_MAX = 64;
/** After so many batches an object writes down its queue times, also if nothing was replayed. */
export const TALLY_GROUPS = 64;
