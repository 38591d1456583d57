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
/** How long a group waits for callers who overlapped before. Much less than a batch takes, which is what a caller who missed this one would wait for. */
export const GATHER_MS = 3;
/**
 * Calls to an upstream that are enough for a group, of claims or of outcomes. Most of what a batch costs is shared by then;
 * more would bring callers into step, who then wait for the upstream all at once, and all at once for us.
 */
export const GATHER_CALLS = 6;
/** The shortest that a timer can be: answers that came together are read from their sockets within one or two. */
export const OUTCOME_GATHER_MS = 1;
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

/** An upstream's answer beyond this goes through once and is not kept: PDFs and reports fit, dumps do not. */
export const GATEWAY_RESPONSE_BYTES_MAX = 8 * 1024 * 1024;
/** What one row holds of an answer, and one exchange of it in memory: a row may have 2 MB, and 32 rows are the whole. */
export const ANSWER_CHUNK_BYTES = 256 * 1024;
/** Exchanges under way in one object: each holds a chunk of its answer, together 32 MB of the object's 128. */
export const EXCHANGE_FLIGHTS_MAX = 128;
/** Exchanges that an object remembers, as text and as answers: retries come soon, and reading is the dearest part of a replay. */
export const EXCHANGES_REMEMBERED = 1_024;
/** Size of such a one, answer and all: usual ones have one or two thousand characters. All of them together take some 32 MB at most. */
export const EXCHANGE_REMEMBERED_MAX = 8_192;
/** And their requests together; the rest of the memory is for everything else. */
export const EXCHANGE_REQUEST_BYTES_MAX = 32 * 1024 * 1024;
/** Calls of one object to one upstream at a time: a slow upstream leaves half of the flights to the others. */
export const UPSTREAM_CALLS_MAX = 64;
/** Pause before the next try; doubled each time, up to the maximum, which is what an upstream's restart takes. */
export const EXCHANGE_PAUSE_MS = 1_000;
export const EXCHANGE_PAUSE_MS_MAX = 60_000;
/** What an upstream itself asks for is heard up to here: longer, and the key would outlast its clients' patience. */
export const UPSTREAM_RETRY_AFTER_MS_MAX = 10 * 60 * 1000;
/** Questions about one key. With the pauses that is a quarter of an hour: who does not know by then will not. */
export const EXCHANGE_ASKS_MAX = 20;
/** After a call's time-out, before the alarm takes it for interrupted: it has recorded its end by then. */
export const EXCHANGE_GRACE_MS = 5_000;
/** An alarm that is so late is lost: the handler before it has ended, or been ended, long before. */
export const ALARM_OVERDUE_MS = 20_000;
/** Exchanges that one alarm heals: one group of questions and calls. */
export const EXCHANGES_PER_ALARM_MAX = 64;
/** What one alarm waits for its heals. They go on by themselves; what else is due must not wait for a slow upstream. */
export const EXCHANGE_ALARM_MS = 20_000;
/** How long outcomes are gathered for the journal under load, unless there are 64, or one that a caller waits for: a batch costs nearly the same for one as for 64. */
export const SETTLE_GATHER_MS = 200;
/** When an outcome that the journal has not taken is sent again; doubled up to the pause's maximum. */
export const SETTLE_PAUSE_MS = 5_000;
/** Answers of 429 in a row after which an upstream is left alone for a while: fewer could be one client's burst. */
export const UPSTREAM_THROTTLES_MAX = 5;
/** For how long, and when to come back to one that is down, as long as nothing was learned of its outages: a client library's first pauses. */
export const UPSTREAM_PROBE_MS = 5_000;
/** So long before a call may no longer be sent it is due at the latest, whatever is advised: time to be sent in. */
export const HEAL_MARGIN_MS = 1_000;
/** Tries to tell a webhook, with pauses that double from the first to the last: about a day. */
export const WEBHOOK_ATTEMPTS_MAX = 12;
export const WEBHOOK_PAUSE_MS = 30_000;
export const WEBHOOK_PAUSE_MS_MAX = 6 * 60 * 60 * 1000;
/** Standard Webhooks: 15 to 30 seconds for a receiver to answer. */
export const WEBHOOK_TIMEOUT_MS = 15_000;
/** A claim in flight for so long without a word is asked after: longer than a claim and its intent can be apart. */
export const ORPHAN_AGE_MS = 10 * 60 * 1000;
/** Such claims that one step of the slow pass asks after: each is a call of an object. */
export const ORPHANS_PER_STEP_MAX = 20;
/** Why a person decided so: a sentence or two, and a link to the ticket. */
export const REASON_LENGTH_MAX = 1_000;

/** D1 holds 10 GB; the rest is for what is under way in every object, for tombstones and for indexes that split. */
export const DATABASE_BYTES_MAX_DEFAULT = 9_500_000_000;
/** Before a request that met a full database is worth repeating: room comes from a sweep or an operator. */
export const RETRY_FULL_MS = 60_000;
/** Hosts that an isolate remembers to have been reached by: one name and port, or the few of its aliases. */
export const PLACES_REMEMBERED = 100;
/** Tenants whose database an isolate remembers; each is two short texts. */
export const ASSIGNED_TENANTS_MAX = 10_000;

/** A body through the gateway is kept in one row of the object (2 MB) while it is in flight, its headers beside it. */
export const GATEWAY_BODY_BYTES_MAX = 1024 * 1024;
/** The gateway takes the keys of the API behind it, and some of those are counters. */
export const GATEWAY_KEY_LENGTH_MIN = 1;
/** Members of a body that a mismatch can name; beyond it a mismatch says "(body)". Their hashes are stored with each key. */
export const GATEWAY_MEMBERS_MAX = 64;
/** And of their names together, bytes: a row of the journal stays small whatever a body calls its members. */
export const GATEWAY_MEMBER_NAMES_BYTES_MAX = 2_048;
/** As long as most clients wait; from then on the outcome is doubtful. */
export const UPSTREAM_TIMEOUT_MS_DEFAULT = 30_000;
/** Shorter, and a healthy upstream on another continent would be called doubtful. */
export const UPSTREAM_TIMEOUT_MS_MIN = 100;
/** An alarm may run for 15 minutes; a call of five leaves it room for others. */
export const UPSTREAM_TIMEOUT_MS_MAX = 5 * 60 * 1000;
/** With pauses that double this is a quarter of an hour of tries: longer than most deployments of an upstream. */
export const HEAL_ATTEMPTS_DEFAULT = 10;
/** More would be load, not patience. */
export const HEAL_ATTEMPTS_MAX = 100;
/** Longer than a restart or a failover; shorter than anybody waits for a payment without looking. */
export const HEAL_ELAPSED_SECONDS_DEFAULT = 15 * 60;
/** After a call's time-out, before "not found" is believed: a queue before the upstream may hold the call that long. */
export const STATUS_QUIET_MS_DEFAULT = 30_000;
/** Nobody promises that a call is lost after more than this. */
export const STATUS_QUIET_MS_MAX = 60 * 60 * 1000;
/** A key shorter lived than a client's own retries would be no help to it. */
export const ROUTE_KEY_LIFETIME_SECONDS_MIN = 60;
/** A year: what audits ask for. Longer tombstones are a database that only grows. */
export const ROUTE_TOMBSTONE_SECONDS_MAX = 366 * 24 * 60 * 60;
/** Routes are compared with every request, one after the other. */
export const ROUTES_MAX = 100;
/** Parts of a multipart body that are told apart; a body with more is compared by its bytes. */
export const GATEWAY_MULTIPART_PARTS_MAX = 1_000;
/** Classes of failure (`status:code`) that one origin × route group keeps: more codes than one API really has in use. */
export const ADVISOR_CLASSES_MAX = 64;
/** Origin × route groups kept of one tenant, and in one isolate: at some 10 KB each, a fiftieth of its memory. */
export const ADVISOR_GROUPS_MAX = 256;
/** A group's name: an origin and a route, as long as a URL that somebody typed. */
export const ADVISOR_GROUP_LENGTH_MAX = 200;
/** A failure's code in a class's name. Longer ones are cut, so that a message that is taken for a code costs little. */
export const ADVISOR_CODE_LENGTH_MAX = 64;
/** Past the tenth retry even a one in five chance has come up nine times in ten. */
export const ADVISOR_RETRIES_MAX = 10;
/** Retries that may go out before a first try succeeds: a burst of failures, not an outage of them. */
export const ADVISOR_TOKENS_MAX = 100;
/** Failures are learned from this late: by then an outage that caused them is seen. */
export const ADVISOR_HOLD_MS = 5_000;
/** Failures that wait to be learned from; more in five seconds are an outage. */
export const ADVISOR_HELD_MAX = 128;
/** What a bucket remembers at most: older experience gives way to newer within as many retries. */
export const ADVISOR_BUCKET_COUNT_MAX = 80;
/** Outages kept: their median is steady by then, and a change of habits shows within a few. */
export const ADVISOR_OUTAGES_MAX = 30;
/** What a bin of the calibration, or its line, remembers at most. */
export const ADVISOR_BIN_COUNT_MAX = 400;
/** A retry is worth waiting for no longer than this, unless the caller says for how long. */
export const ADVISOR_DEADLINE_MS = 600_000;
/** A snapshot that is longer is not one of ours: 64 classes with every count are some 70 KB. */
export const ADVISOR_SNAPSHOT_BYTES_MAX = 128 * 1024;
/** What was learned is told to the tenant's advisor object at most this often: a row written in ten seconds, and only while something fails. */
export const ADVISOR_TELL_MS = 10_000;
/** Advice may rest on what others knew this long ago; beyond it is refreshed, in the background. */
export const ADVISOR_AGE_MS_MAX = 60_000;
/** Keys whose last try failed, with how: so that the next try is known to be a retry, and what it tells is learned. */
export const ADVISOR_FAILED_KEYS_MAX = 4_096;
/** Said where learning finds that a retry hardly ever helps, and it is safe all the same. */
export const RETRY_DOUBTFUL_MS = 30_000;
/** A sentence of a model is a comfort: who asked for it waits this long for it, and no longer. */
export const EXPLANATION_TIMEOUT_MS = 2_000;
/** And takes this much of it. */
export const EXPLANATION_LENGTH_MAX = 400;
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

/** How long one who has stuck work taken up again waits to see what comes of it. It goes on. */
export const REDRIVE_WAIT_MS = 5_000;
/** Actions that an object remembers, so that two clicks at once are one try. Forgotten, the second would be a safe one more. */
export const REDRIVES_REMEMBERED = 200;
/** Stuck keys of one step of the reconciliation that are asked after: each is a call of an object, and perhaps of an upstream. */
export const NUDGES_PER_STEP = 10;

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

/** Readings of the boundary monitor in a minute, and the pause between two: what departs is an issue within a minute. */
export const MONITOR_READINGS = 4;
export const MONITOR_PAUSE_MS = 15_000;
