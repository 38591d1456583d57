/**
 * Path patterns of routes: segments apart by `/`, `*` for exactly one segment, `**` at the end for whatever follows, also
 * for nothing: `/v1/charges/**` matches `/v1/charges`, too. Compared segment by segment, so the time is that of reading
 * the path, whatever is sent.
 *
 * A segment is compared as it reads when decoded, so that `/v1/%63harges` is judged by the route of `/v1/charges`, as
 * most upstreams judge it. An encoded slash does not end a segment.
 */

export const isPathPattern = (text: string): boolean => {
  if (!text.startsWith("/") || /[\s?#]/.test(text)) return false;
  const segments = text.slice(1).split("/");
  return segments.every(
    (segment, i) =>
      !segment.includes("*") || segment === "*" || (segment === "**" && i === segments.length - 1),
  );
};

/** @param path as sent, without the query */
export const matchesPath = (pattern: string, path: string): boolean => {
  const wanted = pattern.slice(1).split("/");
  const given = path.slice(1).split("/");
  const takesRest = wanted.at(-1) === "**";
  if (takesRest) wanted.pop();
  if (takesRest ? given.length < wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, i) => {
    const one = given[i] ?? "";
    return segment === "*" ? one !== "" : segment === decoded(one);
  });
};

/**
 * Whether a path might mean another one to whoever resolves it: backslashes, `.` and `..`, also encoded, or behind an
 * encoded slash, which many servers decode before they resolve. What is matched must be what the upstream is asked for.
 */
export const isTrickPath = (path: string): boolean =>
  path.includes("\\") ||
  leniently(path)
    .split(/[/\\]/)
    .some((segment) => /^\.{1,2}(;|$)/.test(segment));

/** Many servers merge them: to those it is the path of another request. */
export const hasEmptySegments = (path: string): boolean => path.includes("//");

/** Byte by byte: who takes an escape that is no UTF-8, or none at all, still reads the dots and slashes beside it. */
const leniently = (path: string): string =>
  path.replace(/%([0-7][0-9a-f])/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );

const decoded = (segment: string): string => {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
};
