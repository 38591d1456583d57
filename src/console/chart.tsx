/**
 * A chart as SVG, with a table of the same numbers beside it: the picture is for a glance, the table for those who read
 * or hear it. Places and lengths are attributes; there is no style in the page.
 */
import type { FC, PropsWithChildren } from "hono/jsx";
import { count } from "./format.tsx";

export type Series = {
  readonly name: string;
  /** A class of the stylesheet: `new`, `replayed`. */
  readonly tone: string;
  /** One for each label; null where nothing was measured. */
  readonly values: readonly (number | null)[];
};

export type ChartProps = {
  readonly title: string;
  readonly labels: readonly string[];
  readonly series: readonly Series[];
  readonly unit: string;
};

const WIDTH = 600;
const HEIGHT = 180;
const LEFT = 44;
const BOTTOM = 22;
const TOP = 8;

/** The round number at or above: 1, 2 or 5 times a power of ten. */
export const roundUp = (number: number): number => {
  if (number <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= number) ?? number;
};

const yOf = (value: number, top: number): number =>
  Math.round((TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)) * 10) / 10;

const written = (value: number | null): string => (value === null ? "–" : count(value));

const Frame: FC<PropsWithChildren<ChartProps & { top: number }>> = ({
  title,
  labels,
  series,
  unit,
  top,
  children,
}) => {
  const step = (WIDTH - LEFT) / Math.max(1, labels.length);
  const shown = [0, Math.floor(labels.length / 2), labels.length - 1];
  return (
    <figure class="chart">
      <figcaption>
        {title}
        <ul class="legend">
          {series.map(({ name, tone }) => (
            <li class={`tone-${tone}`}>{name}</li>
          ))}
        </ul>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true" focusable="false">
        {[0, top / 2, top].map((value) => (
          <>
            <line class="grid" x1={LEFT} x2={WIDTH} y1={yOf(value, top)} y2={yOf(value, top)} />
            <text x={LEFT - 6} y={yOf(value, top) + 4} text-anchor="end">
              {count(value)}
            </text>
          </>
        ))}
        {children}
        {labels.length > 0 &&
          shown.map((i, place) => (
            <text
              x={place === 2 ? WIDTH : LEFT + i * step + (place === 0 ? 0 : step / 2)}
              y={HEIGHT - 6}
              text-anchor={place === 0 ? "start" : place === 1 ? "middle" : "end"}
            >
              {labels[i] ?? ""}
            </text>
          ))}
      </svg>
      <details>
        <summary>As a table</summary>
        <div class="wide" tabindex={0} role="region" aria-label={`${title}, as a table`}>
          <table>
            <thead>
              <tr>
                <th scope="col">From (UTC)</th>
                {series.map(({ name }) => (
                  <th scope="col" class="number">
                    {name}
                    {unit === "" ? "" : `, ${unit}`}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {labels.map((label, i) => (
                <tr>
                  <th scope="row">{label}</th>
                  {series.map(({ values }) => (
                    <td class="number">{written(values[i] ?? null)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
};

/** Bars, one series on the other. */
export const StackedBars: FC<ChartProps> = (props) => {
  const { labels, series } = props;
  const sums = labels.map((_, i) => series.reduce((sum, { values }) => sum + (values[i] ?? 0), 0));
  const top = roundUp(Math.max(0, ...sums));
  const step = (WIDTH - LEFT) / Math.max(1, labels.length);
  return (
    <Frame {...props} top={top}>
      {labels.map((_, i) => {
        let below = 0;
        return series.map(({ tone, values }) => {
          const value = values[i] ?? 0;
          const y = yOf(below + value, top);
          const height = Math.max(0, yOf(below, top) - y);
          below += value;
          return value === 0 ? (
            <></>
          ) : (
            <rect
              class={`tone-${tone}`}
              x={Math.round((LEFT + i * step + step * 0.12) * 10) / 10}
              y={y}
              width={Math.round(step * 0.76 * 10) / 10}
              height={Math.round(height * 10) / 10}
            />
          );
        });
      })}
    </Frame>
  );
};

/** A line for each series, broken where nothing was measured; a point where it stands alone. */
export const Lines: FC<ChartProps> = (props) => {
  const { labels, series } = props;
  const top = roundUp(
    Math.max(0, ...series.flatMap(({ values }) => values.map((one) => one ?? 0))),
  );
  const step = (WIDTH - LEFT) / Math.max(1, labels.length);
  const xOf = (i: number): number => Math.round((LEFT + (i + 0.5) * step) * 10) / 10;
  return (
    <Frame {...props} top={top}>
      {series.map(({ tone, values }) => {
        let path = "";
        values.forEach((value, i) => {
          if (value === null) return;
          const isOn = i > 0 && values[i - 1] !== null && values[i - 1] !== undefined;
          path += `${isOn ? "L" : "M"}${xOf(i)} ${yOf(value, top)}`;
        });
        return (
          <>
            <path class={`line tone-${tone}`} d={path} />
            {values.map((value, i) =>
              value === null ? (
                <></>
              ) : (
                <circle class={`tone-${tone}`} cx={xOf(i)} cy={yOf(value, top)} r="2.5" />
              ),
            )}
          </>
        );
      })}
    </Frame>
  );
};
