/** @file The look of the demo's page: light and dark, wide and narrow, on paper. */

export const style = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1b1d22; --soft: #5d626c; --line: #e3e0da; --accent: #b4430f;
  --up: #d9601a; --down: #3f77b5; --code: #f2efe9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131519; --card: #1b1e24; --ink: #eceae6; --soft: #a2a6ae; --line: #2d3139; --accent: #ff9a5c;
    --up: #f07f35; --down: #5b93d1; --code: #22262d;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  text-rendering: optimizeLegibility;
}
main, header, footer { max-width: 1060px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 56px; }
h1 { font-size: clamp(1.9rem, 5.2vw, 3rem); line-height: 1.12; letter-spacing: -0.02em; margin: 0 0 18px; text-wrap: balance; }
h2 { font-size: 1.55rem; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 10px; }
h3 { font-size: 1rem; margin: 28px 0 10px; font-weight: 600; }
h3 small { font-weight: 400; color: var(--soft); margin-left: 8px; }
p { margin: 0 0 14px; max-width: 68ch; }
a { color: var(--accent); text-underline-offset: 3px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: 4px; }
.lead { font-size: 1.15rem; color: var(--soft); }
.lead strong { color: var(--ink); font-weight: 600; }
.skip { position: absolute; left: -9999px; }
.skip:focus { left: 16px; top: 12px; background: var(--card); padding: 8px 14px; z-index: 1; }
nav ul { display: flex; flex-wrap: wrap; gap: 6px 20px; list-style: none; padding: 14px 0; margin: 26px 0 0; border-block: 1px solid var(--line); }
nav a { text-decoration: none; font-size: 0.95rem; }
nav a:hover { text-decoration: underline; }
section { padding: 52px 0 0; }
.row { display: grid; gap: 16px; grid-template-columns: repeat(var(--columns, 4), minmax(0, 1fr)); margin: 18px 0 10px; }
.words { grid-template-columns: repeat(auto-fill, minmax(98px, 1fr)); gap: 12px; }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 8px; border: 1px solid var(--line); background: #000; }
figcaption { font-size: 0.92rem; line-height: 1.4; margin-top: 7px; }
figcaption small { display: block; }
figcaption small, .small { color: var(--soft); font-size: 0.84rem; }
.pixels { image-rendering: pixelated; }
.asked { font-weight: 600; }
.told figcaption small { margin-top: 6px; }
.answer { display: block; font-weight: 600; }
.yes { color: #2e8b57; }
.no { color: #c0392b; }
.note { border-left: 3px solid var(--line); padding: 2px 0 2px 16px; color: var(--soft); font-size: 0.95rem; }
.note p:last-child { margin: 0; }
.scale { display: inline-flex; align-items: center; gap: 8px; font-size: 0.84rem; color: var(--soft); }
.scale i { width: 120px; height: 9px; border-radius: 5px; display: inline-block; }
pre {
  background: var(--code); border-radius: 8px; padding: 14px 16px; margin: 16px 0 18px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 0.86rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; font-size: 0.9em; }
pre code { font-size: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.scores th { font-weight: 400; text-align: left; font-size: 0.88rem; line-height: 1.25; padding: 3px 12px 3px 0; min-width: 120px; }
.scores thead th { padding: 0 2px 5px; min-width: 0; }
.scores thead img { display: block; width: 100%; max-width: 62px; margin: 0 auto; border-radius: 5px; }
.scores td { padding: 2px; width: 9%; }
.scores td span {
  display: block; text-align: center; font-size: 0.8rem; line-height: 2.3; border-radius: 5px; position: relative;
  background: color-mix(in oklab, var(--tint) calc(var(--v) * 1%), transparent);
}
.scores .up { --tint: var(--up); }
.scores .down { --tint: var(--down); }
.scores .right { box-shadow: inset 0 0 0 2px var(--ink); }
.scores .best::after { content: ""; position: absolute; right: 4px; top: 4px; width: 6px; height: 6px; border-radius: 50%; background: var(--ink); }
.facts td, .facts th { border-bottom: 1px solid var(--line); padding: 9px 0; text-align: left; font-weight: 400; vertical-align: top; }
.facts td:last-child { text-align: right; white-space: nowrap; padding-left: 16px; font-weight: 600; }
ul.limits { padding-left: 20px; max-width: 70ch; }
ul.limits li { margin-bottom: 8px; }
footer { padding: 56px 24px 64px; color: var(--soft); font-size: 0.9rem; }
@media (max-width: 700px) {
  body { font-size: 16px; }
  main, header { padding-inline: 16px; }
  header { padding-top: 32px; }
  footer { padding-inline: 16px; }
  .row { --columns: 2 !important; gap: 12px; }
  .row.many { --columns: 4 !important; gap: 8px; }
  .words { grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 8px; }
  .words figcaption { font-size: 0.8rem; }
  .scores th { font-size: 0.72rem; min-width: 84px; padding-right: 6px; }
  .scores td span { font-size: 0; line-height: 0; padding: 13px 0; }
  pre { font-size: 0.78rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --accent: #000; --code: #f4f4f4; --up: #d9601a; --down: #3f77b5; color-scheme: light; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 10.5pt; }
  nav, .skip { display: none; }
  section { padding-top: 24px; }
  figure, tr, pre, .note { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
`;
