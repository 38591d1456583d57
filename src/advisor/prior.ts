/**
 * What is believed of a failure before any was seen: which share of its kind recovers, and how soon. Figures from the
 * design; they only have to be near enough that learning starts well.
 */
export type Prior = {
  /** Of all failures of this status, those that a later retry would find gone. 0 to 1. */
  readonly share: number;
  /** Half of those are gone by then. */
  readonly medianMs: number;
};

const PRIORS: Readonly<Record<number, Prior>> = {
  0: { share: 0.7, medianMs: 2_000 },
  402: { share: 0.08, medianMs: 30_000 },
  404: { share: 0.06, medianMs: 2_000 },
  408: { share: 0.8, medianMs: 1_000 },
  409: { share: 0.7, medianMs: 500 },
  423: { share: 0.7, medianMs: 500 },
  425: { share: 0.8, medianMs: 1_000 },
  429: { share: 0.8, medianMs: 5_000 },
  500: { share: 0.35, medianMs: 3_000 },
  502: { share: 0.75, medianMs: 1_500 },
  503: { share: 0.75, medianMs: 4_000 },
  504: { share: 0.6, medianMs: 8_000 },
};

const CLIENT_ERROR: Prior = { share: 0.04, medianMs: 5_000 };
const OTHER: Prior = { share: 0.35, medianMs: 3_000 };

/** Of those that recover, this part was gone before anybody could look: the next try of a blip succeeds. */
export const AT_ONCE = 0.6;

export const priorOf = (status: number): Prior =>
  PRIORS[status] ?? (status >= 400 && status < 500 ? CLIENT_ERROR : OTHER);
