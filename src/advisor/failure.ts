/**
 * A failed attempt, as far as retrying is concerned: its metadata, never its content. What cannot be told from a status
 * and a code is not asked for.
 */
import { ADVISOR_CODE_LENGTH_MAX } from "../kernel/limits.ts";

export type Failure = {
  /** HTTP status; 0 if no answer came. */
  readonly status: number;
  /** The error's own code, or of the transport: `timeout`, `reset`, `refused`. Empty if there is none. */
  readonly code: string;
};

/** What is learned together: failures of one status and code recover alike. */
export const classOf = ({ status, code }: Failure): string =>
  `${status}:${code.slice(0, ADVISOR_CODE_LENGTH_MAX)}`;

/** That the whole origin suffers from, not one request: it counts against the origin's health. */
export const isSystemic = ({ status }: Failure): boolean =>
  status === 0 || status === 500 || (status >= 502 && status <= 504);

/** The origin asks for less, and is well. */
export const isThrottle = ({ status }: Failure): boolean => status === 429;

/** That came too late: the sign of an overload, where a failure at once is that of an outage. */
export const isTimeOut = ({ status, code }: Failure): boolean =>
  (status === 0 && code === "timeout") || status === 504 || status === 408;
