/** @file What a sweep found, in sentences: which differences leave the error. */

import { percent } from "../report/html.js";
import type { Estimate } from "../statistics.js";
import { type Contrast, leavesError, type Measure } from "./findings.js";

/** "+4.2" of 0.042, in points. */
export const signed = (value: number): string => `${value >= 0 ? "+" : "−"}${percent(Math.abs(value))}`;

/** "+4.2 points (+1.0 to +7.4)" */
const told = ({ value, low, high }: Estimate) =>
  `${signed(value)} points (${signed(low)} to ${signed(high)})`;

const titles: Record<Measure, string> = {
  twins: "On twins",
  blind: "On twins that CLIP is blind to",
  test: "On single questions",
  unseen: "On combinations never seen in training",
};

/** Names as a sentence has them: "a, b and c". */
function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/**
 * A sentence for each kind of items, from the means over patterns.
 * @param contrasts of several variants with one baseline
 */
export function verdicts(contrasts: readonly Contrast[]): string[] {
  const baseline = contrasts[0]?.second;
  if (baseline === undefined) return [];
  const against = contrasts.filter(({ second }) => second === baseline);
  return (Object.keys(titles) as Measure[]).flatMap((measure) => {
    const found = against.flatMap(({ first, compared }) => {
      const macro = compared[measure]?.macro;
      return macro ? [{ first, macro }] : [];
    });
    if (found.length === 0) return [];
    const sure = found.filter(({ macro }) => leavesError(macro));
    const said = (those: typeof found) => listed(those.map(({ first, macro }) => `${first} ${told(macro)}`));
    const more = sure.filter(({ macro }) => macro.value > 0);
    const fewer = sure.filter(({ macro }) => macro.value < 0);
    const open = found.filter(({ macro }) => !leavesError(macro)).map(({ first }) => first);
    const clauses = [
      ...(more.length > 0 ? [`more is answered than by ${baseline} by ${said(more)}`] : []),
      ...(fewer.length > 0 ? [`less by ${said(fewer)}`] : []),
      ...(open.length > 0 ? [`no difference to ${baseline} is shown for ${listed(open)}`] : []),
    ];
    return [`${titles[measure]} ${clauses.join("; ")}.`];
  });
}
