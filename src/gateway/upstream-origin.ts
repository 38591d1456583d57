/**
 * Which origins may be configured. Money does not travel in clear: `http` is for this machine alone, and what is reached
 * by a private network comes in by a service binding or a tunnel. What clouds keep for their machines' own secrets is
 * never an upstream.
 */
import type { Upstream } from "./exchange.ts";

/** Why it cannot be one, to be read after the setting's name; undefined if it can. */
export const originFault = (text: string): string | undefined => {
  const url = URL.parse(text);
  if (url === null || url.origin !== text)
    return "is not an origin such as https://api.example.com";
  if (isReserved(url.hostname)) return "is an address for a machine's own secrets";
  if (url.protocol === "https:") return undefined;
  if (url.protocol === "http:" && isLoopback(url.hostname)) return undefined;
  return "is not https";
};

/** A service binding has no host of its own; this one cannot exist elsewhere (RFC 2606). */
const SERVICE_ORIGIN = "https://upstream.invalid";

/**
 * Where a request goes.
 * @param target path and query; throws an Error if it does not begin with a slash
 */
export const upstreamUrl = (upstream: Upstream, target: string): string => {
  // Anything else could end up in the host: "@elsewhere".
  if (!target.startsWith("/")) throw new Error("A target begins with a slash.");
  return (upstream.kind === "origin" ? upstream.origin : SERVICE_ORIGIN) + target;
};

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);

/** A URL writes an IPv4 address in one way only, whatever was typed, and IPv6 in its shortest. */
const isReserved = (host: string): boolean =>
  /^(169\.254\.|0\.|192\.0\.0\.192$|100\.100\.100\.200$)/.test(host) ||
  /^\[(fe[89ab][0-9a-f]:|fd00:ec2:|::ffff:a9fe:|::ffff:0:a9fe:|64:ff9b::a9fe:)/.test(host) ||
  /^(metadata|instance-data|metadata\.google\.internal)\.?$/.test(host);
