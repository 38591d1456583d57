/** An operation's call as an exchange, and the exchange's reply as the operation's. */
import { memberHashes } from "../idempotency/fingerprint.ts";
import type { ExchangeReply, OperationCall } from "./exchange-call.ts";
import type { KeyCall, KeyReply } from "./key-call.ts";

/** @param hashSecret keys the hashes of members */
export const operationCallOf = (
  { request, ...asked }: KeyCall,
  hashSecret: string,
): OperationCall => ({
  ...asked,
  operation: request,
  members: memberHashes(request, hashSecret),
});

/** An operation's answers are short texts: none is a stream that goes through once. */
export const keyReplyOf = async (reply: ExchangeReply): Promise<KeyReply> => {
  switch (reply.kind) {
    case "accepted":
    case "problem":
      return reply;
    case "answer":
    case "stream":
      return {
        kind: "outcome",
        response: {
          status: reply.status,
          headers: Object.fromEntries(reply.headers),
          body: await new Response(reply.body).text(),
        },
        expiresAtS: reply.expiresAtS,
        replayed: reply.kind === "answer" && reply.replayed,
      };
  }
};
