/** A request as a command to send again: with its key and without its body, which is not kept. */

export type CurlRequest = {
  readonly origin: string;
  readonly method: string;
  /** Of the operation, `/v1/orders/{id}`. */
  readonly path: string;
  /** Path of what the request made, which names what the path leaves open. */
  readonly link: string | null;
  readonly key: string;
};

export const curlFor = ({ origin, method, path, link, key }: CurlRequest): string =>
  [
    `curl -X ${method} ${quoted(origin + filled(path, link))}`,
    // Not within single quotes: the shell puts the token in.
    `-H "Authorization: Bearer $TOKEN"`,
    `-H ${quoted(`Idempotency-Key: ${key}`)}`,
    `-H 'Content-Type: application/json'`,
    "--data @body.json",
  ].join(" \\\n  ");

/** A part that the link does not name stays as it is written, for a person to fill in. */
const filled = (path: string, link: string | null): string => {
  const made = (link ?? "").slice((link ?? "").indexOf("/v1/")).split("/");
  return path
    .split("/")
    .map((part, i) => (part.startsWith("{") ? (made[i] ?? part) : part))
    .join("/");
};

/** For a shell: nothing within single quotes means anything, but a single quote. */
const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
