/** @file A report's page: one file, readable without a network, in light and dark. */

import type { Estimate } from "../statistics.js";

/** "84.1" of 0.841. */
export const percent = (value: number): string => (100 * value).toFixed(1);

export function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

export interface Section {
  title: string;
  /** HTML. */
  body: string;
}

/** Tables, charts and prose as one HTML file. */
export function reportPage(title: string, lead: string, sections: readonly Section[]): string {
  const parts = sections.map(
    ({ title, body }) => `<section>\n<h2>${escapeHtml(title)}</h2>\n${body}\n</section>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<p class="lead">${lead}</p>
</header>
<main>
${parts.join("\n")}
</main>
</body>
</html>
`;
}

/** Said of what validation scenes have judged. */
export const tunedNote =
  "<strong>Judged by validation scenes, on which settings may be chosen: no result.</strong>";

/** An estimate in per cent, its bounds below it. */
export const shown = ({ value, low, high }: Estimate): string =>
  `${percent(value)}<small>${percent(low)}–${percent(high)}</small>`;

export interface Cell {
  /** HTML. */
  html: string;
  /** Of the column: the best are set in bold. */
  best?: boolean;
}

/** "+4.2" of 0.042, in points unless `format` says otherwise; what comes to zero has no sign. */
export function signed(value: number, format: (size: number) => string = percent): string {
  const size = format(Math.abs(value));
  return Number(size) === 0 ? size : `${value > 0 ? "+" : "−"}${size}`;
}

/** A difference with its interval; empty where there is none. @param sure prints it bold */
export function differenceCell(
  one: Estimate | undefined,
  sure: boolean,
  format: (size: number) => string = percent,
): Cell {
  if (!one) return { html: "" };
  const [value, low, high] = [one.value, one.low, one.high].map((number) => signed(number, format));
  return { html: `${value}<small>${low} to ${high}</small>`, best: sure };
}

/** A p value. */
export const probability = (p: number): string => (p < 0.001 ? "< 0.001" : p.toFixed(3));

/** @param columns head of each column, the first of which names the rows */
export function table(columns: readonly string[], rows: readonly (readonly (string | Cell)[])[]): string {
  const head = columns.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join("");
  const body = rows.map((row) => {
    const cells = row.map((cell, i) => {
      const { html, best = false } = typeof cell === "string" ? { html: escapeHtml(cell) } : cell;
      return i === 0 ? `<th scope="row">${html}</th>` : `<td${best ? ' class="best"' : ""}>${html}</td>`;
    });
    return `<tr>${cells.join("")}</tr>`;
  });
  return `<div class="scroll"><table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body.join("\n")}\n</tbody>\n</table></div>`;
}

const style = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #6a737d; --rule: #d8dde3; --accent: #0b62d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --paper: #14171b; --faint: #98a2ad; --rule: #333a42; --accent: #6aa9ff; } }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; }
p { max-width: 46rem; margin: .5rem 0; }
.lead { font-size: 1.1rem; }
.small, small { color: var(--faint); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .75rem 0; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 600; }
th:first-child { text-align: left; }
thead th { border-bottom: 2px solid var(--rule); font-size: .9rem; }
td.best { font-weight: 700; }
td small, th small { display: block; line-height: 1.2; }
figure { margin: 1rem 0; }
figcaption { color: var(--faint); font-size: .85rem; }
svg, img { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .faint { fill: var(--faint); }
svg .rule { stroke: var(--rule); }
code { font-size: .9em; }
`;
