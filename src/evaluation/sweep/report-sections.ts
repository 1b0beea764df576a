/** @file Sections of a sweep's page beside the accuracies: contrasts, the heat map, printed numbers, seeds, method. */

import { heatMap } from "../report/charts.js";
import {
  type Cell,
  differenceCell,
  escapeHtml,
  percent,
  probability,
  type Section,
  shown,
  table,
} from "../report/html.js";
import { type Estimate, leavesError } from "../statistics.js";
import {
  type Compared,
  type Measure,
  measures,
  type SweepContrast,
  type SweepFindings,
  type VariantFindings,
} from "./findings.js";
import type { SweepPlan } from "./plan.js";
import type { ToldFindings } from "./told.js";

const names: Record<Measure, string> = {
  twins: "Twins",
  blind: "Twins that CLIP is blind to",
  test: "Questions",
  unseen: "Combinations never seen in training",
};

const difference = (one: Estimate | undefined) => differenceCell(one, one !== undefined && leavesError(one));

/** What intervals tell of: one training of each variant says nothing of another. */
export const sampledOver = (variants: readonly VariantFindings[]) =>
  variants.some(({ seeds }) => seeds.length > 1)
    ? "(over seeds and items)"
    : "(over items alone, not over trainings)";

/**
 * All variants against the baseline, then each of the plan's own pairs.
 * @param baseline its title
 */
export function contrastSections(baseline: string, { contrasts, variants }: SweepFindings): Section[] {
  const against = contrasts.filter(({ second }) => second === baseline);
  const others = contrasts.filter(({ second }) => second !== baseline);
  const lead = (what: string) =>
    `<p>Points by which ${what} is right more often, on the same items; 95 % intervals ${sampledOver(variants)}, in bold where they leave zero out. The last column has McNemar’s exact p over all items, seed by seed: what the items alone can tell of two given models.</p>`;
  return [
    ...(against.length > 0
      ? [{ title: `Against ${baseline}`, body: `${lead("each")}\n${contrastTables(against)}` }]
      : []),
    ...(others.length > 0
      ? [{ title: "Other pairs", body: `${lead("the first")}\n${contrastTables(others, true)}` }]
      : []),
  ];
}

function contrastTables(contrasts: readonly SweepContrast[], withSecond = false): string {
  return measures
    .flatMap((measure) => {
      const rows = contrasts.flatMap(({ first, second, compared }) => {
        const own = compared[measure];
        return own ? [{ name: withSecond ? `${first} against ${second}` : first, own }] : [];
      });
      if (rows.length === 0) return [];
      const patterns = [...new Set(rows.flatMap(({ own }) => Object.keys(own.patterns)))];
      const body = table(
        ["variant", "mean", ...patterns, "p by seed"],
        rows.map(({ name, own }) => [
          name,
          difference(own.macro),
          ...patterns.map((pattern) => difference(own.patterns[pattern])),
          seedsOf(own),
        ]),
      );
      return [`<h3>${names[measure]}</h3>${body}`];
    })
    .join("\n");
}

const seedsOf = ({ seeds }: Compared) => seeds.map(({ p }) => probability(p)).join(", ");

/** Where variants have a cell: rows by columns, for each kind of items. */
export function heatSections(plan: SweepPlan, variants: readonly VariantFindings[]): Section[] {
  const placed = variants.flatMap((one) => {
    const cell = plan.variants[one.variant]!.cell;
    return cell ? [{ ...one, cell }] : [];
  });
  if (placed.length < 2) return [];
  const [rows, columns] = (["row", "column"] as const).map((side) => [
    ...new Set(placed.map(({ cell }) => cell[side])),
  ]) as [string[], string[]];
  const maps = measures.flatMap((measure) => {
    const at = (row: string, column: string) =>
      placed.find(({ cell }) => cell.row === row && cell.column === column)?.accuracy[measure]?.macro;
    const isThere = placed.some(({ accuracy }) => accuracy[measure]);
    return isThere ? [`<h3>${names[measure]}</h3>${heatMap(rows, columns, at)}`] : [];
  });
  return [
    { title: "All at one glance", body: `<p>Means over patterns, in per cent.</p>\n${maps.join("\n")}` },
  ];
}

/** Numbers that a paper prints of the like, beside those that mean the same here. */
export function printedSection(
  { printed, variants: planned }: SweepPlan,
  variants: readonly VariantFindings[],
): Section[] {
  const rows = variants.filter(({ variant }) => planned[variant]!.printed);
  if (!printed || rows.length === 0) return [];
  const benchmarks = [...new Set(rows.flatMap(({ variant }) => Object.keys(planned[variant]!.printed!)))];
  const own = (["twins", "blind"] as const).filter((measure) =>
    rows.some(({ accuracy }) => accuracy[measure]),
  );
  const body = table(
    ["variant", ...own.map((measure) => `${names[measure]}, here`), ...benchmarks],
    [
      ...rows.map(({ variant, title, accuracy }) => [
        title,
        ...own.map((measure) => ({ html: accuracy[measure] ? shown(accuracy[measure].macro) : "" })),
        ...benchmarks.map((name) => planned[variant]!.printed![name]?.toString() ?? ""),
      ]),
      [
        "guessing",
        ...own.map(() => "25.0"),
        ...benchmarks.map((name) => printed.chance[name]?.toString() ?? ""),
      ],
    ],
  );
  return [
    {
      title: "Beside the printed numbers",
      body: `<p>${escapeHtml(`${printed.source}. ${printed.note}`.trim())}</p>\n${body}`,
    },
  ];
}

/** What the models say by themselves, held against which option they find likelier. */
export function saidSection(variants: readonly VariantFindings[]): Section {
  const rows = variants.map(({ title, accuracy, said }) => [
    title,
    { html: shown(accuracy.test!.macro) },
    { html: shown(said.right) },
    { html: shown(said.other) },
  ]);
  return {
    title: "What they say by themselves",
    body: `<p>Everything above counts which of the two options is likelier as the whole answer. Here beside it is the greedy answer, token by token: whether it is the right option, or neither of the two. Mean over the patterns of the questions.</p>
${table(["variant", "likelier option right", "says the right one", "says neither"], rows)}`,
  };
}

/** Where the plan has captions told to diffusion. */
export function leakageSection({ variants, contrasts }: SweepFindings): Section[] {
  const there = variants.flatMap(({ title, leakage }) => (leakage ? [{ title, leakage }] : []));
  if (there.length === 0) return [];
  const compared = contrasts.flatMap(({ first, second, leakage }) =>
    leakage ? [{ title: `${first} against ${second}`, leakage }] : [],
  );
  const strengths = there[0]!.leakage.told.map(({ guidance }) => guidance);
  const heads = ["told nothing", ...strengths.flatMap((s) => [`gap, s = ${s}`, `mismatch, s = ${s}`])];
  const row = (title: string, { told }: ToldFindings, first: Cell) => [
    title,
    first,
    ...told.flatMap(({ gap, mismatch }) => [difference(gap), difference(mismatch)]),
  ];
  const pairs = compared.map(({ title, leakage }) => row(title, leakage, difference(leakage.unprompted)));
  return [
    {
      title: "What comes back of a caption that diffusion is told",
      body: `<p>Models caption pictures while diffusion is told nothing, the picture’s own caption, or another picture’s. CIDEr times 100: what is said without a prompt, against the picture’s own caption; the gap, by which it comes nearer when that caption is told; and the mismatch, by which what is said comes nearer to the other caption when that one is told. A caption that is read back rather than seen makes both large.</p>
${table(
  ["variant", ...heads],
  there.map(({ title, leakage }) => row(title, leakage, { html: shown(leakage.unprompted) })),
)}
${pairs.length > 0 ? `<h3>Pairs</h3>${table(["first against second", ...heads], pairs)}` : ""}`,
    },
  ];
}

export function seedsSection(variants: readonly VariantFindings[]): Section {
  const there = measures.filter((measure) => variants.some(({ accuracy }) => accuracy[measure]));
  const rows = variants.flatMap(({ title, seeds }) =>
    seeds.map(({ seed, accuracy, loss, validation, seconds }) => [
      title,
      String(seed),
      ...there.map((measure) => (accuracy[measure] ? percent(accuracy[measure].value) : "")),
      loss?.toFixed(3) ?? "",
      validation?.toFixed(3) ?? "",
      seconds === undefined ? "" : `${(seconds / 60).toFixed(1)} min`,
    ]),
  );
  const heads = there.map(
    (measure) => ({ twins: "twins", blind: "blind twins", test: "questions", unseen: "unseen" })[measure],
  );
  return {
    title: "Seed by seed",
    body: table(["variant", "seed", ...heads, "loss", "validation loss", "trained in"], rows),
  };
}

export function methodSection({ judge, seeds }: SweepPlan, variants: readonly VariantFindings[]): Section {
  const most = Math.max(...variants.map((one) => one.seeds.length));
  const several =
    most > 1
      ? `Each variant was trained with ${most} seeds. An interval’s half width has two parts that add in squares: what the seeds’ means differ by (Student’s t with as few degrees of freedom as there are seeds; for differences Welch’s) and what another draw of questions would change (normal).`
      : "Each variant was trained with one seed: intervals cover the questions alone, not what training by chance makes of a model.";
  return {
    title: "How it was done",
    body: `<p>Every variant is an ordinary recipe; stages that several have in common were made once, and the stages ${escapeHtml(seeds.stages.join(", "))} began anew with each seed. ${several} ${judgedHow(judge)}</p>`,
  };
}

/** How models are judged, for whoever reads their numbers. */
export function judgedHow({ options }: { options: boolean }): string {
  const asked = options ? "names both options in its words" : "does not name its options";
  return `A question ${asked}; an answer is right when the right option has the higher probability as the whole answer. Features are kept in half precision. Shares near 0 and 1 have Wilson’s interval for as many independent answers as would be so sure. Each pattern counts alike in a mean.`;
}
