/** @file Charts of estimates: dots with their intervals, and heat maps, as SVG that follows the page's colours. */

import { colormapTable } from "../../image/index.js";
import type { Estimate } from "../statistics.js";
import { escapeHtml, percent } from "./html.js";

/** Told apart also by those who see few colours. @see Okabe and Ito 2008 */
export const colours = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#7f7f7f",
  "#8c6d1f",
];

/** Dots of series after the last colour are hollow. */
function paint(series: number): string {
  const colour = colours[series % colours.length];
  const fill = series < colours.length ? colour : "var(--paper)";
  return `fill="${fill}" stroke="${colour}" stroke-width="2"`;
}

export interface Series {
  name: string;
  /** By row of the chart. */
  values: Readonly<Record<string, Estimate | undefined>>;
}

/** Rows of dots with their 95 % intervals, a colour each series; `chance` is a dashed line. */
export function dotChart(rows: readonly string[], series: readonly Series[], chance: number): string {
  const [right, step, gap] = [20, 13, 16];
  const left = Math.max(130, 24 + 6.5 * Math.max(...rows.map(({ length }) => length)));
  const width = 860;
  const height = (series.length * step + gap) * rows.length;
  const x = (value: number) => left + (width - left - right) * Math.min(1, Math.max(0, value));
  // About 6.5 px a letter.
  const longest = Math.max(...series.map(({ name }) => name.length));
  const legendColumns = Math.max(1, Math.min(4, Math.floor((width - left) / (6.5 * longest + 24))));
  const pitch = (width - left) / legendColumns;
  const legend = series.map(({ name }, i) => {
    const [lx, ly] = [left + (i % legendColumns) * pitch, 14 + 18 * Math.floor(i / legendColumns)];
    return `<circle cx="${lx}" cy="${ly - 4}" r="5" ${paint(i)}/><text x="${lx + 10}" y="${ly}">${escapeHtml(name)}</text>`;
  });
  const top = 18 * Math.ceil(series.length / legendColumns) + 12;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    (value) =>
      `<line class="rule" x1="${x(value)}" x2="${x(value)}" y1="${top}" y2="${top + height}"/><text class="faint" x="${x(value)}" y="${top + height + 16}" text-anchor="middle">${100 * value} %</text>`,
  );
  const marks = rows.flatMap((row, r) => {
    const y0 = top + r * (series.length * step + gap) + gap / 2;
    const label = `<text x="${left - 12}" y="${y0 + (series.length * step) / 2 + 4}" text-anchor="end">${escapeHtml(row)}</text>`;
    const dots = series.flatMap(({ name, values }, i) => {
      const value = values[row];
      if (!value) return [];
      const y = y0 + i * step + step / 2;
      const colour = colours[i % colours.length];
      const told = `${name}, ${row}: ${percent(value.value)} % (${percent(value.low)} to ${percent(value.high)}, n = ${value.count})`;
      return [
        `<g><title>${escapeHtml(told)}</title><line x1="${x(value.low)}" x2="${x(value.high)}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="2"/><circle cx="${x(value.value)}" cy="${y}" r="4" ${paint(i)}/></g>`,
      ];
    });
    return [label, ...dots];
  });
  const guess = `<line x1="${x(chance)}" x2="${x(chance)}" y1="${top}" y2="${top + height}" stroke="currentColor" stroke-dasharray="4 3"/>`;
  return `<figure><svg viewBox="0 0 ${width} ${top + height + 24}" width="${width}" role="img" aria-label="Accuracy by pattern">${legend.join("")}${ticks.join("")}${guess}${marks.join("\n")}</svg><figcaption>Dots with 95 % intervals; the dashed line is guessing.</figcaption></figure>`;
}

/** A grid of estimates, darker to brighter over their range, the number in each cell. */
export function heatMap(
  rows: readonly string[],
  columns: readonly string[],
  value: (row: string, column: string) => Estimate | undefined,
): string {
  const [left, cell, line] = [190, 64, 30];
  const all = rows.flatMap((row) => columns.flatMap((column) => value(row, column)?.value ?? []));
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const palette = colormapTable("viridis");
  const cells = rows.flatMap((row, r) =>
    columns.flatMap((column, c) => {
      const found = value(row, column);
      if (!found) return [];
      const share = most > least ? (found.value - least) / (most - least) : 0.5;
      const at = 3 * Math.round(255 * share);
      const ink = share > 0.6 ? "#111" : "#fff";
      const told = `${row}, ${column}: ${percent(found.value)} % (${percent(found.low)} to ${percent(found.high)})`;
      return [
        `<g><title>${escapeHtml(told)}</title><rect x="${left + c * cell}" y="${line + r * line}" width="${cell - 2}" height="${line - 2}" fill="rgb(${palette[at]},${palette[at + 1]},${palette[at + 2]})"/><text x="${left + c * cell + cell / 2 - 1}" y="${line + r * line + 18}" text-anchor="middle" style="fill:${ink}">${percent(found.value)}</text></g>`,
      ];
    }),
  );
  const heads = columns.map(
    (column, c) =>
      `<text x="${left + c * cell + cell / 2 - 1}" y="${line - 10}" text-anchor="middle">${escapeHtml(column)}</text>`,
  );
  const names = rows.map(
    (row, r) =>
      `<text x="${left - 10}" y="${line + r * line + 18}" text-anchor="end">${escapeHtml(row)}</text>`,
  );
  const [width, height] = [left + columns.length * cell, line + rows.length * line];
  return `<figure><svg viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="Heat map">${heads.join("")}${names.join("")}${cells.join("\n")}</svg></figure>`;
}
