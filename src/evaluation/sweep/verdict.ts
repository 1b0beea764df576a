/** @file What a sweep found, in sentences: which differences leave the error. */

import { signed } from "../report/html.js";
import { leavesError } from "../statistics.js";
import type { Measure, SweepContrast } from "./findings.js";

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

/** A sentence for each kind of items, from the means over patterns; and on captions that diffusion was told. */
export function verdicts(contrasts: readonly SweepContrast[]): string[] {
  return [...onItems(contrasts), ...onCaptions(contrasts)];
}

/** Of several variants against one baseline, which is that of the first contrast. */
function onItems(contrasts: readonly SweepContrast[]): string[] {
  const baseline = contrasts[0]?.second;
  if (baseline === undefined) return [];
  const against = contrasts.filter(({ second }) => second === baseline);
  return (Object.keys(titles) as Measure[]).flatMap((measure) => {
    const found = against.flatMap(({ first, compared }) => {
      const macro = compared[measure]?.macro;
      return macro ? [{ first, macro }] : [];
    });
    if (found.length === 0) return [];
    const open = found.filter(({ macro }) => !leavesError(macro));
    const sure = (sign: number) =>
      found.filter(({ macro }) => leavesError(macro) && Math.sign(macro.value) === sign);
    const named = (those: typeof found) =>
      listed(those.map(({ first, macro }) => `${first} (${signed(macro.value)})`));
    const clauses = [
      ...(sure(1).length > 0 ? [`better than ${baseline}: ${named(sure(1))}`] : []),
      ...(sure(-1).length > 0 ? [`worse than ${baseline}: ${named(sure(-1))}`] : []),
      ...(open.length > 0 ? [`not told apart from ${baseline}: ${named(open)}`] : []),
    ];
    return [`${titles[measure]}, ${clauses.join("; ")}.`];
  });
}

/** How much more, or less, of a picture's own caption comes back at the largest guidance: of every pair that differs. */
function onCaptions(contrasts: readonly SweepContrast[]): string[] {
  const found = contrasts.flatMap(({ first, second, leakage }) => {
    const told = leakage?.told.toSorted((a, b) => a.guidance - b.guidance).at(-1);
    return told && leavesError(told.gap) ? [{ first, second, ...told }] : [];
  });
  const others = [...new Set(found.map(({ second }) => second))];
  return others.flatMap((other) =>
    [1, -1].flatMap((sign) => {
      const those = found.filter(({ second, gap }) => second === other && Math.sign(gap.value) === sign);
      if (those.length === 0) return [];
      const named = listed(those.map(({ first, gap }) => `${first} (${signed(gap.value)})`));
      const { guidance } = those[0]!;
      const much = sign > 0 ? "more" : "less";
      return [
        `Of a caption that is told at s = ${guidance}, ${much} comes back than from ${other}: ${named}.`,
      ];
    }),
  );
}
