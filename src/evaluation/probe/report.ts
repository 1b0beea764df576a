/** @file What probes found, as a page, as JSON and as CSV. */

import { shortId } from "../../diffusion/index.js";
import { crossedDifference } from "../crossed.js";
import { type Accuracy, graded, gradedAccuracy, gradedDifference, type Outcome } from "../graded.js";
import { accuracyChart, accuracyTable } from "../report/accuracy.js";
import { heatMap } from "../report/charts.js";
import { estimatesCsv } from "../report/csv.js";
import {
  differenceCell,
  escapeHtml,
  probability,
  reportPage,
  type Section,
  table,
  tunedNote,
} from "../report/html.js";
import { leavesError, type PairedComparison } from "../statistics.js";
import type { Looks } from "./looks.js";
import type { Judged, ProbeFindings, ProbeOutcome } from "./plan.js";
import { type Answer, accuracy, comparePatterns, pairsOf } from "./probe.js";
import { alikenessSection, blindSection, looksSection, twinCosineSection } from "./report-sections.js";

export interface ProbeReport {
  html: string;
  json: string;
  csv: string;
}

/** One way of seeing: a row of the tables. */
interface Way {
  name: string;
  features: string;
  column: string;
  /** Of each head: they differ by their seed alone. */
  heads: Record<Judged, readonly Answer[]>[];
}

function waysOf(outcomes: readonly ProbeOutcome[]): Way[] {
  const ways = new Map<string, Way>();
  const columns = new Map<string, Set<string>>();
  for (const { features, column } of outcomes)
    columns.set(features, (columns.get(features) ?? new Set()).add(column));
  for (const { features, column, answers } of outcomes) {
    const key = `${features} ${column}`;
    const name = columns.get(features)!.size > 1 ? `${features} ${shortColumn(column)}` : features;
    const way = ways.get(key) ?? { name, features, column, heads: [] };
    way.heads.push(answers);
    ways.set(key, way);
  }
  return [...ways.values()];
}

/** "up-level1-repeat1-res-out/t50" -> "U-L1-R1-Res-Out t50" */
function shortColumn(column: string): string {
  const [tap, time] = column.split("/");
  return time ? `${shortId(tap!)} ${time}` : column;
}

const patternsOf = (ways: readonly Way[], set: Judged) => [
  ...new Set(ways.flatMap(({ heads }) => heads[0]![set].map(({ pattern }) => pattern))),
];

/** What counts of a head's answers, in the same order for every head. */
type Items = (answers: Way["heads"][number]) => readonly Outcome[];

type Judge = (way: Way) => Accuracy;

/** With one head the interval covers the items, with several the training too. */
const judgeOf =
  (items: Items): Judge =>
  ({ heads }) =>
    heads.length === 1 ? accuracy(items(heads[0]!)) : gradedAccuracy(graded(heads.map(items)));

/** By how much the first way is right more often; where each way has one head, with McNemar's test. */
export type PairedDifference = Pick<PairedComparison, "difference"> & Partial<PairedComparison>;

export interface Contrast {
  first: string;
  second: string;
  /** By pattern and over all: questions of the test, and twins of which both are right. */
  questions: Record<string, PairedDifference>;
  twins: Record<string, PairedDifference>;
  /** Of the twins, those that CLIP is blind to; none without a CLIP. */
  blind: Record<string, PairedDifference>;
}

function compared(first: Way, second: Way, items: Items): Record<string, PairedDifference> {
  const [a, b] = [first, second].map(({ heads }) => heads.map(items)) as [Outcome[][], Outcome[][]];
  if (a[0]!.length === 0) return {};
  if (a.length === 1 && b.length === 1) return comparePatterns(a[0]!, b[0]!);
  const [own, other] = [graded(a), graded(b)];
  const { patterns } = gradedDifference(own, other);
  // Every item alike, whatever its pattern.
  const all = crossedDifference(
    own.runs,
    other.runs,
    own.patterns.map(() => ""),
  );
  return Object.fromEntries(
    Object.entries({ all, ...patterns }).map(([pattern, difference]) => [pattern, { difference }]),
  );
}

/** Of more taps and timesteps the heat map tells. */
const contrastedColumns = 4;

/** Features of several taps and timesteps: place by place where both have them, else each against the only one. */
function contrastedWays(ways: readonly Way[], [first, second]: readonly [string, string]): [Way, Way][] {
  const [a, b] = [first, second].map((name) => ways.filter(({ features }) => features === name)) as [
    Way[],
    Way[],
  ];
  if (Math.max(a.length, b.length) > contrastedColumns) return [];
  const several = a.length > 1 && b.length > 1;
  return a.flatMap((one) =>
    b.filter(({ column }) => !several || column === one.column).map((other): [Way, Way] => [one, other]),
  );
}

/** A row for each pair of ways; bold where chance alone would hardly have made it so. */
function contrastTable(
  contrasts: readonly Contrast[],
  of: (contrast: Contrast) => Record<string, PairedDifference>,
): string {
  const patterns = [...new Set(contrasts.flatMap((one) => Object.keys(of(one))))];
  const rows = contrasts.flatMap((one) => {
    const found = of(one);
    if (!found.all) return [];
    const cells = patterns.map((pattern) =>
      differenceCell(found[pattern]?.difference, isSure(found[pattern])),
    );
    const name = `${escapeHtml(one.first)}<small>against ${escapeHtml(one.second)}</small>`;
    return [[{ html: name }, ...cells, ...(found.all.p === undefined ? [] : [probability(found.all.p)])]];
  });
  const tested = contrasts.some((one) => of(one).all?.p !== undefined);
  return table(["", ...patterns, ...(tested ? ["p of all"] : [])], rows);
}

function isSure(found: PairedDifference | undefined): boolean {
  if (!found) return false;
  return found.p === undefined ? leavesError(found.difference) : found.p < 0.05;
}

/** Ways held against each other, on the same items. */
function contrastSections(contrasts: readonly Contrast[], several: boolean): Section[] {
  if (contrasts.length === 0) return [];
  const anyBlind = contrasts.some(({ blind }) => "all" in blind);
  const how = several
    ? "95 % intervals over heads and items, in bold where they leave zero out"
    : "95 % intervals by bootstrap, in bold where McNemar’s exact test gives less than 0.05";
  return [
    {
      title: "Held against each other",
      body: `<p>Paired, on the same items: points by which the first is right more often, ${how}, as happens for one in twenty where there is no difference.</p>
<h3>Twins</h3>${contrastTable(contrasts, ({ twins }) => twins)}${anyBlind ? `<h3>Twins that CLIP is blind to</h3>${contrastTable(contrasts, ({ blind }) => blind)}` : ""}<h3>Questions</h3>${contrastTable(contrasts, ({ questions }) => questions)}`,
    },
  ];
}

/** Taps by timesteps, where a way of seeing was tried at several: of each judge, by what it judges. */
function heatMaps(ways: readonly Way[], judges: Readonly<Record<string, Judge>>): Section[] {
  const features = [...new Set(ways.map((way) => way.features))];
  return features.flatMap((name) => {
    const those = ways.filter((way) => way.features === name && way.column.includes("/t"));
    if (those.length < 2) return [];
    const part = (way: Way, i: number) => way.column.split("/")[i]!;
    const taps = [...new Set(those.map((way) => part(way, 0)))];
    const times = [...new Set(those.map((way) => part(way, 1)))].sort((a, b) => +a.slice(1) - +b.slice(1));
    const short = new Map(taps.map((tap) => [shortId(tap), tap]));
    const map = (judge: Judge) =>
      heatMap([...short.keys()], times, (row, column) => {
        const way = those.find((one) => part(one, 0) === short.get(row) && part(one, 1) === column);
        return way && judge(way).macro;
      });
    const maps = Object.entries(judges).map(
      ([what, judge]) =>
        `<p>${what} of which both are right, mean over patterns, in per cent.</p>${map(judge)}`,
    );
    return [{ title: `${name}: tap by timestep`, body: maps.join("\n") }];
  });
}

export interface ReportOptions {
  title?: string;
  /** Whether validation scenes judged, which makes it no result. */
  tuning?: boolean;
  /** What a reader must know first; sentences under the title. */
  notes?: readonly string[];
  /** Features to be held against each other, by name: [["sd", "clip"], ...]. Of up to four taps and timesteps each. */
  contrasts?: readonly (readonly [string, string])[];
  /** Where the diffusion model looks. */
  looks?: Looks;
}

/** A page with tables, charts and comparisons, and the numbers beside it. */
export function probeReport(findings: ProbeFindings, options: ReportOptions = {}): ProbeReport {
  const { title = "What frozen features tell", tuning = false, notes = [], looks } = options;
  const lead = [
    "The same small head learned to answer two-option questions from each way of seeing the same pictures. What differs is what the features hold.",
    ...notes.map(escapeHtml),
    ...(tuning ? [tunedNote] : []),
  ].join(" ");
  const ways = waysOf(findings.outcomes);
  const seeds = Math.max(...ways.map(({ heads }) => heads.length));
  const blindPairs = new Set(findings.blind.filter(({ blind }) => blind).map(({ pair }) => pair));
  const items = {
    questions: ({ test }) => test,
    twins: ({ twins }) => pairsOf(twins).filter(({ pair }) => pair < findings.firstTwins),
    blind: ({ twins }) => pairsOf(twins).filter(({ pair }) => blindPairs.has(pair)),
    unseen: ({ unseen }) => unseen,
  } satisfies Record<string, Items>;
  const contrasts = (options.contrasts ?? []).flatMap((named) =>
    contrastedWays(ways, named).map(
      ([a, b]): Contrast => ({
        first: a.name,
        second: b.name,
        questions: compared(a, b, items.questions),
        twins: compared(a, b, items.twins),
        blind: compared(a, b, items.blind),
      }),
    ),
  );
  const single = judgeOf(items.questions);
  const pairs = judgeOf(items.twins);
  const blind = judgeOf(items.blind);
  const fresh = judgeOf(items.unseen);
  const named = (judge: Judge) => ways.map((way) => ({ name: way.name, accuracy: judge(way) }));
  const charted = (set: Judged, judge: Judge, chance: number, patterns = patternsOf(ways, set)) => {
    const found = named(judge);
    return `${accuracyChart(found, patterns, chance)}\n${accuracyTable("features", found, patterns)}`;
  };
  const nameOf = ({ features, column }: { features: string; column: string }) =>
    ways.find((way) => way.features === features && way.column === column)!.name;
  const blindPatterns = patternsOf(ways, "twins").filter((pattern) =>
    findings.blind.some((one) => one.blind && one.pattern === pattern),
  );
  const sections: Section[] = [
    ...heatMaps(ways, {
      Twins: pairs,
      ...(blindPatterns.length > 0 && { "Twins that CLIP is blind to": blind }),
    }),
    {
      title: "Twins",
      body: `<p>The same scene twice with one fact changed, asked the same question: a pair counts when both answers are right. Guessing gives 25 %, always saying the same 0 %.</p>
${charted("twins", pairs, 0.25)}`,
    },
    ...(findings.blind.length > 0
      ? [
          blindSection(
            findings.blind,
            findings.firstTwins,
            blindPatterns.length > 0 ? charted("twins", blind, 0.25, blindPatterns) : "",
          ),
        ]
      : []),
    {
      title: "Questions",
      body: `<p>Questions about scenes of their own; the words alone tell nothing, guessing gives 50 %.</p>
${charted("test", single, 0.5)}`,
    },
    ...contrastSections(contrasts, seeds > 1),
    {
      title: "Combinations never seen in training",
      body: accuracyTable("features", named(fresh), patternsOf(ways, "unseen")),
    },
    ...(looks ? [looksSection(looks)] : []),
    twinCosineSection(findings.statistics, nameOf),
    ...alikenessSection(findings.alike, nameOf),
    { title: "How it was done", body: method(seeds) },
  ];
  const numbers = ways.map((way) => ({
    name: way.name,
    features: way.features,
    column: way.column,
    seeds: way.heads.length,
    twins: pairs(way),
    ...(blindPatterns.length > 0 && { blind: blind(way) }),
    test: single(way),
    unseen: fresh(way),
  }));
  const { statistics, alike } = findings;
  const told = {
    title,
    ways: numbers,
    contrasts,
    blind: findings.blind,
    statistics: statistics.map((one) => ({ name: nameOf(one), ...one })),
    alike: { names: alike.ways.map(nameOf), cka: alike.cka },
    ...(looks && { looks }),
  };
  return {
    html: reportPage(title, lead, sections),
    json: `${JSON.stringify(told, undefined, 2)}\n`,
    csv: csvOf(numbers),
  };
}

function method(seeds: number): string {
  const [heads, intervals] =
    seeds > 1
      ? [
          `${seeds} heads of different seeds`,
          "Intervals cover both what training by chance makes of a head and which items are asked, as those of a sweep do.",
        ]
      : ["one head", "Intervals of shares are Wilson’s: they cover the items, not the head’s training."];
  return `<p>Features are frozen, standardised by channel, and read by ${heads} for each way of seeing: tokens of the features, a question and an option as bags of words, two steps of attention, a score for each option. ${intervals}</p>`;
}

function csvOf(
  ways: readonly {
    name: string;
    twins: ReturnType<Judge>;
    blind?: ReturnType<Judge>;
    test: ReturnType<Judge>;
    unseen: ReturnType<Judge>;
  }[],
): string {
  return estimatesCsv(
    ["features", "set", "pattern"],
    ways.flatMap(({ name, twins, blind, test, unseen }) =>
      Object.entries({ twins, ...(blind && { blind }), test, unseen }).flatMap(([set, { patterns, macro }]) =>
        Object.entries({ mean: macro, ...patterns }).map(([pattern, found]) => ({
          keys: [name, set, pattern],
          found,
        })),
      ),
    ),
  );
}
