/** A final outcome as it is kept and replayed: the same status, body bytes and headers, every time. */
import { JSON_TYPE, PROBLEM_TYPE } from "../contract/headers.ts";

export type StoredResponse = {
  readonly status: number;
  /** Only headers that may be replayed: `Content-Type`, `Location`, `ETag`, `Link`. Lower-case names. */
  readonly headers: { readonly [name: string]: string };
  readonly body: string;
};

export const answerHeaders = (status: number, link: string): StoredResponse["headers"] =>
  status === 201 ? { "content-type": JSON_TYPE, location: link } : { "content-type": JSON_TYPE };

export const REFUSAL_HEADERS: StoredResponse["headers"] = { "content-type": PROBLEM_TYPE };

/** What an outcome costs in memory, about: UTF-16 text and the objects around it. Bytes. */
export const responseBytes = (response: StoredResponse): number => response.body.length * 2 + 512;
