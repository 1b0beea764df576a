/** @file Estimates as CSV. */

import type { Estimate } from "../statistics.js";

const quoted = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** A line an estimate: its keys under `columns`, then its value, low, high, n. */
export function estimatesCsv(
  columns: readonly string[],
  rows: readonly { keys: readonly string[]; found: Estimate }[],
  { value: named = "accuracy" }: { value?: string } = {},
): string {
  const head = [...columns, named, "low", "high", "n"].join(",");
  const lines = rows.map(({ keys, found: { value, low, high, count } }) =>
    [...keys.map(quoted), value, low, high, count].join(","),
  );
  return `${[head, ...lines].join("\n")}\n`;
}
