/** How the console writes times, money, keys and numbers. */
import type { FC } from "hono/jsx";

/** In UTC; the script can show it in the reader's own zone. */
export const Time: FC<{ ms: number }> = ({ ms }) => {
  const iso = new Date(ms).toISOString();
  return (
    <time datetime={iso} data-time>
      {iso.slice(0, 19).replace("T", " ")}
    </time>
  );
};

/** `2.50 EUR`, from minor units. */
export const money = (minor: number, currency: string): string => {
  const digits = digitsOf(currency);
  const whole = (Math.abs(minor) / 10 ** digits).toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return `${minor < 0 ? "−" : ""}${whole} ${currency}`;
};

const digitsOf = (currency: string): number => {
  try {
    const format = new Intl.NumberFormat("en", { style: "currency", currency });
    return format.resolvedOptions().maximumFractionDigits ?? 2;
  } catch {
    // Not a code: as it is stored.
    return 0;
  }
};

export const count = (number: number): string => number.toLocaleString("en");

/** `412 ms`, `3.2 s`, `14 min`. */
export const duration = (ms: number): string => {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 2 * 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 48 * 3_600_000
    ? `${Math.round(ms / 3_600_000)} h`
    : `${Math.round(ms / 86_400_000)} days`;
};

export const plural = (number: number, one: string, many = `${one}s`): string =>
  `${count(number)} ${number === 1 ? one : many}`;

const SHORT = 13;

/** A key, shortened, with a button that copies the whole; without the script it is in the title. */
export const Key: FC<{ value: string }> = ({ value }) => {
  const short = value.length > SHORT + 4 ? `${value.slice(0, SHORT)}…` : value;
  return (
    <span class="key-cell">
      <code title={value}>{short}</code>
      <button type="button" class="copy" data-copy={value} hidden>
        Copy<span class="unseen"> the key {short}</span>
      </button>
    </span>
  );
};

/** Of a key that nothing tells but its hash. */
export const KeyHash: FC<{ value: string }> = ({ value }) => (
  <code class="quiet" title={`Hash of the key: ${value}`}>
    #{value.slice(0, 10)}
  </code>
);

/** `/console/requests?state=refused`, from what the URL says now and a change of it. */
export const linkTo = (
  path: string,
  now: Readonly<Record<string, string | number | undefined>>,
  change: Readonly<Record<string, string | number | undefined>> = {},
): string => {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...now, ...change })) {
    if (value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text === "" ? path : `${path}?${text}`;
};
