/** The charts of the report, as SVG that reads on light and on dark pages. */
import type { Foretold, Outcome } from "./world.ts";

const COLOURS = ["#2563eb", "#9ca3af", "#f59e0b", "#dc2626", "#059669"];
const WIDTH = 760;
const HEIGHT = 300;
const LEFT = 48;
const BOTTOM = 40;
const TOP = 34;

const svg = (title: string, parts: readonly string[]): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="${title}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="16" font-weight="600" fill="#111827">${title}</text>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");

const text = (x: number, y: number, words: string, anchor = "middle"): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="#374151">${words}</text>`;

const legend = (names: readonly string[]): string[] =>
  names.flatMap((name, at) => [
    `<rect x="${LEFT + at * 170}" y="22" width="10" height="10" fill="${COLOURS[at] ?? "#000"}"/>`,
    text(LEFT + 14 + at * 170, 31, name, "start"),
  ]);

const scaleY = (value: number, low: number, high: number): number =>
  HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - BOTTOM - TOP - 10);

const gridLines = (values: readonly number[], low: number, high: number): string[] =>
  values.flatMap((value) => {
    const y = scaleY(value, low, high);
    return [
      `<line x1="${LEFT}" x2="${WIDTH - 10}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}" stroke="#e5e7eb"/>`,
      text(LEFT - 6, y + 4, String(value), "end"),
    ];
  });

/** Success by workload, in hundredths. */
export const barChart = (
  title: string,
  groups: readonly string[],
  series: readonly { readonly name: string; readonly values: readonly number[] }[],
): string => {
  const span = (WIDTH - LEFT - 10) / groups.length;
  const wide = (span - 14) / series.length;
  return svg(title, [
    ...legend(series.map(({ name }) => name)),
    ...gridLines([0, 25, 50, 75, 100], 0, 100),
    ...groups.map((group, at) => text(LEFT + (at + 0.5) * span, HEIGHT - BOTTOM + 18, group)),
    ...series.flatMap(({ values }, of) =>
      values.map((value, at) => {
        const y = scaleY(value, 0, 100);
        return `<rect x="${(LEFT + at * span + 7 + of * wide).toFixed(1)}" y="${y.toFixed(1)}" width="${(wide - 1).toFixed(1)}" height="${(HEIGHT - BOTTOM - y).toFixed(1)}" fill="${COLOURS[of] ?? "#000"}"/>`;
      }),
    ),
  ]);
};

/** Attempts a second over time, over what arrivals alone make. */
export const loadChart = (
  title: string,
  series: readonly { readonly name: string; readonly outcome: Outcome }[],
): string => {
  const STEP_S = 5;
  const curves = series.map(({ outcome: { sent, perSecond } }) => {
    const points: number[] = [];
    for (let from = 0; from < sent.length; from += STEP_S) {
      let within = 0;
      for (let second = from; second < from + STEP_S; second++) within += sent[second] ?? 0;
      points.push(within / STEP_S / perSecond);
    }
    return points;
  });
  const seconds = Math.max(...series.map(({ outcome }) => outcome.sent.length));
  const high = Math.ceil(Math.max(2, ...curves.flat()));
  const xAt = (at: number): number => LEFT + ((at * STEP_S) / seconds) * (WIDTH - LEFT - 10);
  return svg(title, [
    ...legend(series.map(({ name }) => name)),
    ...gridLines([0, 1, Math.round(high / 2), high], 0, high),
    ...[0, 0.25, 0.5, 0.75, 1].map((part) =>
      text(
        LEFT + part * (WIDTH - LEFT - 30),
        HEIGHT - BOTTOM + 18,
        `${Math.round((part * seconds) / 60)} min`,
      ),
    ),
    ...curves
      .map((points, of) => {
        const path = points.map(
          (value, at) => `${xAt(at).toFixed(1)},${scaleY(value, 0, high).toFixed(1)}`,
        );
        return `<polyline fill="none" stroke="${COLOURS[of] ?? "#000"}" stroke-width="1.5" points="${path.join(" ")}"/>`;
      })
      .toReversed(),
  ]);
};

const x = (value: number): number => LEFT + value * (WIDTH - LEFT - 20);

/** What was foretold against what came of it. */
export const calibrationChart = (
  title: string,
  series: readonly { readonly name: string; readonly foretold: readonly Foretold[] }[],
): string => {
  const BINS = 10;
  return svg(title, [
    ...legend(series.map(({ name }) => name)),
    ...gridLines([0, 0.25, 0.5, 0.75, 1], 0, 1),
    ...[0, 0.25, 0.5, 0.75, 1].map((value) => text(x(value), HEIGHT - BOTTOM + 18, String(value))),
    `<line x1="${x(0)}" y1="${scaleY(0, 0, 1)}" x2="${x(1)}" y2="${scaleY(1, 0, 1)}" stroke="#9ca3af" stroke-dasharray="4 4"/>`,
    ...series.flatMap(({ foretold }, of) =>
      Array.from({ length: BINS }, (_, bin) =>
        foretold.filter(
          ({ probability }) => Math.min(BINS - 1, Math.floor(probability * BINS)) === bin,
        ),
      )
        .filter((within) => within.length >= 20)
        .map((within) => {
          const said =
            within.reduce((sum, { probability }) => sum + probability, 0) / within.length;
          const came = within.filter(({ succeeded }) => succeeded).length / within.length;
          const size = 2 + Math.log10(within.length);
          return `<circle cx="${x(said).toFixed(1)}" cy="${scaleY(came, 0, 1).toFixed(1)}" r="${size.toFixed(1)}" fill="${COLOURS[of] ?? "#000"}" fill-opacity="0.75"/>`;
        }),
    ),
  ]);
};
