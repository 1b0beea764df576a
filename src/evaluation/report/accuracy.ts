/** @file Shares of right answers of several that have a name: as dots, and as a table. */

import type { Estimate } from "../statistics.js";
import { dotChart } from "./charts.js";
import { type Cell, shown, table } from "./html.js";

/** Shares of right answers of something that has a name. */
export interface NamedAccuracy {
  name: string;
  accuracy: { macro: Estimate; patterns: Readonly<Record<string, Estimate | undefined>> };
}

/** So many series of dots can be told apart at a glance. */
const fewSeries = 8;

/** The means as dots, a row each; below them the patterns, folded away where there are too many to be read at once. */
export function accuracyChart(
  found: readonly NamedAccuracy[],
  patterns: readonly string[],
  chance: number,
): string {
  const means = Object.fromEntries(found.map(({ name, accuracy }) => [name, accuracy.macro]));
  const series = found.map(({ name, accuracy }) => ({ name, values: accuracy.patterns }));
  return `${dotChart(Object.keys(means), [{ name: "mean over patterns", values: means }], chance)}
<details${found.length > fewSeries ? "" : " open"}><summary>By pattern</summary>${dotChart(patterns, series, chance)}</details>`;
}

/** A row each, the mean before the patterns; the best of a column in bold. @param what heads the names */
export function accuracyTable(
  what: string,
  found: readonly NamedAccuracy[],
  patterns: readonly string[],
): string {
  const cells = (of: (own: NamedAccuracy["accuracy"]) => Estimate | undefined): Cell[] => {
    const values = found.map(({ accuracy }) => of(accuracy));
    const most = Math.max(...values.map((one) => one?.value ?? 0));
    const isAlike = values.every((one) => one?.value === most);
    return values.map((one) =>
      one ? { html: shown(one), best: !isAlike && one.value === most } : { html: "" },
    );
  };
  const columns = [
    cells(({ macro }) => macro),
    ...patterns.map((pattern) => cells((own) => own.patterns[pattern])),
  ];
  return table(
    [what, "mean", ...patterns],
    found.map(({ name }, i) => [name, ...columns.map((column) => column[i]!)]),
  );
}
