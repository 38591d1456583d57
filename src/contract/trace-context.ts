/**
 * W3C Trace Context (level 1, section 3.2): which trace a request belongs to. It is passed on and written into log lines,
 * and never decides anything. A header that is not well-formed is as if it were not there.
 */
const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/;

export type TraceContext = {
  /** The header as it came: what an upstream is sent. */
  readonly traceparent: string;
  /** 32 hex digits. */
  readonly traceId: string;
};

export const parseTraceparent = (header: string | undefined): TraceContext | undefined => {
  const traceId = TRACEPARENT.exec(header ?? "")?.[1];
  return header === undefined || traceId === undefined
    ? undefined
    : { traceparent: header, traceId };
};
