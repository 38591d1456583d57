/** Every bound of the client, each with the reason for its number. Names end in their unit. */

/** What Latchkey is asked to hold a request whose key is in flight: `WAIT_SECONDS_MAX`, under what proxies cut off. */
export const WAIT_SECONDS = 20;
/** One try: longer than the server holds it, and than a commit takes after that. */
export const ATTEMPT_TIMEOUT_MS = 30_000;
/** How long one call goes on: a person still waits, and the median outage is over. The intent outlives it. */
export const GIVE_UP_AFTER_MS = 120_000;

/** Before the first retry that nobody gave advice for; doubled each time, up to the maximum. */
export const BACKOFF_MS = 500;
/** A client that comes twice a minute costs a server nothing, and misses half a minute at most. */
export const BACKOFF_MS_MAX = 30_000;
/** Advice is a floor. This much of it is added at random, so that those who heard the same do not come back as one. */
export const ADVICE_SPREAD = 0.1;

/** Retries that an origin gets at once: ten requests fail together now and then; more of them is an outage. */
export const RETRY_TOKENS_MAX = 10;
/** What a success at the first try gives back: retries stay under a tenth of what works. */
export const TOKENS_PER_SUCCESS = 0.1;
/** Origins whose budget is remembered; the least recently used is forgotten, and begins with a full one. */
export const ORIGINS_MAX = 64;

/** How long a key stays good at an API that says nothing of it: Stripe's figure, past which a retry would run anew. */
export const KEY_SAFE_MS = 24 * 60 * 60 * 1000;
/** At a Latchkey: as long as its tombstones stand, which begin only when a key has expired. */
export const LATCHKEY_KEY_SAFE_MS = 30 * 24 * 60 * 60 * 1000;

/** Intents that one `resume` has under way at a time: enough to be done soon, too few to be a stampede. */
export const RESUME_PARALLEL = 4;
/** The longest that a timer can be set for (a 32-bit number of milliseconds). */
export const TIMER_MS_MAX = 2_147_483_647;
/** A file that was not renamed by then was left by a process that was killed while it wrote. */
export const UNFINISHED_FILE_MS = 60 * 60 * 1000;
