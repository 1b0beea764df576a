/** @file Curves of estimates over a number, with their intervals, as SVG that follows the page's colours. */

import type { Estimate } from "../statistics.js";
import { colours } from "./charts.js";
import { escapeHtml } from "./html.js";

export interface Curve {
  name: string;
  points: readonly { x: number; y: Estimate }[];
  /** Drawn as a dashed line from end to end: what the curve of this number is held against. */
  control?: Estimate;
}

export interface LineChartOptions {
  /** What is drawn, for who cannot see it and below the axis. */
  label: string;
  xLabel: string;
  /** How a value is written. */
  format: (value: number) => string;
}

const [width, height, left, right, bottom] = [860, 300, 70, 20, 44];
const legendColumns = 3;

export function lineChart(curves: readonly Curve[], { label, xLabel, format }: LineChartOptions): string {
  const top = 18 * Math.ceil(curves.length / legendColumns) + 12;
  const xs = [...new Set(curves.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b);
  const all = curves.flatMap(({ points, control }) => [
    ...points.map(({ y }) => y),
    ...(control ? [control] : []),
  ]);
  const ticks = niceTicks(
    Math.min(0, ...all.map(({ low }) => low)),
    Math.max(0, ...all.map(({ high }) => high)),
  );
  const [least, most] = [ticks[0]!, ticks.at(-1)!];
  const span = xs.at(-1)! - xs[0]! || 1;
  const px = (x: number) => round(left + 20 + ((x - xs[0]!) / span) * (width - left - right - 40));
  const py = (y: number) => round(top + height - ((y - least) / (most - least)) * height);

  const grid = ticks.map(
    (value) =>
      `<line class="rule" x1="${left}" x2="${width - right}" y1="${py(value)}" y2="${py(value)}"/><text class="faint" x="${left - 8}" y="${py(value) + 4}" text-anchor="end">${format(value)}</text>`,
  );
  const marks = xs.map(
    (x) =>
      `<text class="faint" x="${px(x)}" y="${top + height + 18}" text-anchor="middle">${escapeHtml(String(x))}</text>`,
  );
  const drawn = curves.map(({ name, points, control }, i) => {
    const colour = colours[i % colours.length];
    // Side by side, so that intervals at one place can be told apart.
    const aside = (i - (curves.length - 1) / 2) * 5;
    const at = points.map(({ x, y }) => ({ x: round(px(x) + aside), y }));
    const line = at.map(({ x, y }) => `${x},${py(y.value)}`).join(" ");
    const dots = at.map(({ x, y }, k) => {
      const told = `${name}, ${xLabel} ${points[k]!.x}: ${format(y.value)} (${format(y.low)} to ${format(y.high)}, n = ${y.count})`;
      return `<g><title>${escapeHtml(told)}</title><line x1="${x}" x2="${x}" y1="${py(y.low)}" y2="${py(y.high)}" stroke="${colour}" stroke-width="2"/><circle cx="${x}" cy="${py(y.value)}" r="4" fill="${colour}"/></g>`;
    });
    const held = control
      ? `<line x1="${left}" x2="${width - right}" y1="${py(control.value)}" y2="${py(control.value)}" stroke="${colour}" stroke-dasharray="5 4"/>`
      : "";
    return `${held}<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="2"/>${dots.join("")}`;
  });
  const legend = curves.map(({ name }, i) => {
    const [x, y] = [left + (i % legendColumns) * 250, 14 + 18 * Math.floor(i / legendColumns)];
    return `<circle cx="${x}" cy="${y - 4}" r="5" fill="${colours[i % colours.length]}"/><text x="${x + 10}" y="${y}">${escapeHtml(name)}</text>`;
  });
  const axis = `<text class="faint" x="${(left + width - right) / 2}" y="${top + height + 38}" text-anchor="middle">${escapeHtml(xLabel)}</text>`;
  return `<figure><svg viewBox="0 0 ${width} ${top + height + bottom}" width="${width}" role="img" aria-label="${escapeHtml(label)}">${[legend, grid, marks, [axis], drawn].flat().join("\n")}</svg><figcaption>${escapeHtml(label)}</figcaption></figure>`;
}

const round = (value: number) => Math.round(10 * value) / 10;

/** Round numbers that hold a range between them: steps of 1, 2 or 5 times a power of ten. */
function niceTicks(low: number, high: number): number[] {
  const range = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(range / 4));
  const step = power * (([1, 2, 5, 10] as const).find((times) => range / (times * power) <= 5) ?? 10);
  const [first, last] = [Math.floor(low / step), Math.ceil(high / step)];
  return Array.from({ length: Math.max(1, last - first) + 1 }, (_, i) => (first + i) * step);
}
