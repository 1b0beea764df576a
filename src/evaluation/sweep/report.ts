/** @file What a sweep found, as a page, as JSON and as CSV. */

import { misuse } from "../../tensor/index.js";
import { accuracyChart, accuracyTable } from "../report/accuracy.js";
import { estimatesCsv } from "../report/csv.js";
import { escapeHtml, reportPage, type Section, tunedNote } from "../report/html.js";
import { findingsOf, type Measure, measures, type SweepFindings, type VariantFindings } from "./findings.js";
import type { SweepOutcome } from "./outcomes.js";
import type { SweepPlan } from "./plan.js";
import {
  contrastSections,
  heatSections,
  judgedHow,
  leakageSection,
  methodSection,
  printedSection,
  saidSection,
  sampledOver,
  seedsSection,
} from "./report-sections.js";
import { verdicts } from "./verdict.js";

export interface SweepReport {
  html: string;
  json: string;
  csv: string;
}

const chapters: Record<Measure, { title: string; chance: number; lead: string }> = {
  twins: {
    title: "Twins",
    chance: 0.25,
    lead: "The same scene twice with one fact changed, asked the same question: a pair counts when both answers are right. Guessing gives 25 %, always saying the same 0 %.",
  },
  blind: {
    title: "Twins that CLIP is blind to",
    chance: 0.25,
    lead: "Pairs whose pictures CLIP takes for the same (cosine of their embeddings above 0.95) although at least 1 % of their pixels differ visibly.",
  },
  test: {
    title: "Questions",
    chance: 0.5,
    lead: "Questions about scenes of their own, each with two options; guessing gives 50 %.",
  },
  unseen: {
    title: "Combinations never seen in training",
    chance: 0.5,
    lead: "Questions about scenes in which things are combined as in no picture that was learned from.",
  },
};

/**
 * A page with tables, charts and comparisons, and the numbers beside it.
 * @param tuning whether validation scenes judged
 */
export function sweepReport(
  plan: SweepPlan,
  outcomes: readonly SweepOutcome[],
  { tuning }: { tuning: boolean },
): SweepReport {
  const findings = findingsOf(plan, outcomes);
  const { variants } = findings;
  const title = plan.title ?? plan.name;
  const baseline = plan.variants[plan.baseline]!.title ?? plan.baseline;
  const sections: Section[] = [
    ...verdictSection(findings),
    ...heatSections(plan, variants),
    ...accuracySections(variants),
    ...contrastSections(baseline, findings),
    ...printedSection(plan, variants),
    saidSection(variants),
    ...leakageSection(findings),
    seedsSection(variants),
    methodSection(plan, variants),
  ];
  const numbers = { title, tuning, ...findings, verdicts: verdicts(findings.contrasts) };
  return {
    html: reportPage(title, leadOf(plan, tuning), sections),
    json: `${JSON.stringify(numbers, undefined, 2)}\n`,
    csv: csvOf(variants),
  };
}

export interface JudgedReportOptions {
  title: string;
  /** Whether validation scenes judged. */
  tuning: boolean;
  /** Whether questions named their two options. */
  options: boolean;
}

/**
 * A page on models that were judged as they are: what each answers, and the others held against the first.
 * @param models by the name that each goes by
 */
export function judgedReport(
  models: Readonly<Record<string, Pick<SweepOutcome, "model" | "judgement">>>,
  { title, tuning, options }: JudgedReportOptions,
): SweepReport {
  const [baseline] = Object.keys(models);
  if (baseline === undefined) throw misuse("MODELS", "No model was judged.");
  const variants = Object.fromEntries(Object.keys(models).map((name) => [name, {}]));
  const outcomes = Object.entries(models).map(([variant, one]) => ({ variant, seed: 0, ...one }));
  const findings = findingsOf({ variants, baseline, contrasts: [] }, outcomes);
  const sections: Section[] = [
    ...verdictSection(findings),
    ...accuracySections(findings.variants),
    ...contrastSections(baseline, findings),
    saidSection(findings.variants),
    {
      title: "How it was done",
      body: `<p>Intervals cover the questions alone, not what another training would have made of a model. ${judgedHow({ options })}</p>`,
    },
  ];
  return {
    html: reportPage(title, leadOf({ description: "" }, tuning), sections),
    json: `${JSON.stringify({ title, tuning, ...findings }, undefined, 2)}\n`,
    csv: csvOf(findings.variants),
  };
}

/** A chapter for each kind of items of which there are any. */
function accuracySections(variants: readonly VariantFindings[]): Section[] {
  return measures.flatMap((measure) => {
    if (!variants.some(({ accuracy }) => accuracy[measure])) return [];
    const { title, lead, chance } = chapters[measure];
    return [{ title, body: `<p>${lead}</p>\n${charted(variants, measure, chance)}` }];
  });
}

function leadOf({ description }: Pick<SweepPlan, "description">, tuning: boolean): string {
  const said = escapeHtml(description);
  const kind = tuning ? tunedNote : "Judged by the frozen test.";
  return `${said} ${kind}`.trim();
}

function verdictSection({ contrasts, variants }: SweepFindings): Section[] {
  const found = verdicts(contrasts);
  if (found.length === 0) return [];
  const items = found.map((sentence) => `<li>${escapeHtml(sentence)}</li>`);
  const captions = contrasts.some(({ leakage }) => leakage)
    ? "; of captions how much more of the told one comes back, CIDEr times 100"
    : "";
  const body = `<ul>\n${items.join("\n")}\n</ul>
<p class="small">In brackets the points between the means over patterns${captions}. Better and worse: the 95 % interval of that difference ${sampledOver(variants)} leaves zero out, as one in twenty does where there is no difference; the intervals are below.</p>`;
  return [{ title: "What came out", body }];
}

function charted(variants: readonly VariantFindings[], measure: Measure, chance: number): string {
  const found = variants.flatMap(({ title, accuracy }) => {
    const own = accuracy[measure];
    return own ? [{ name: title, accuracy: own }] : [];
  });
  const patterns = [...new Set(found.flatMap(({ accuracy }) => Object.keys(accuracy.patterns)))];
  return `${accuracyChart(found, patterns, chance)}
${accuracyTable("variant", found, patterns)}`;
}

function csvOf(variants: readonly VariantFindings[]): string {
  const rows = variants.flatMap(({ variant, accuracy, seeds, said }) =>
    measures.flatMap((measure) => {
      const own = accuracy[measure];
      if (!own) return [];
      const over = Object.entries({ mean: own.macro, ...own.patterns });
      return [
        ...over.map(([pattern, found]) => ({ keys: [variant, "all", measure, pattern], found })),
        ...seeds.map(({ seed, accuracy }) => ({
          keys: [variant, String(seed), measure, "mean"],
          found: accuracy[measure]!,
        })),
        ...(measure === "test"
          ? Object.entries(said).map(([kind, found]) => ({ keys: [variant, "all", "said", kind], found }))
          : []),
      ];
    }),
  );
  return estimatesCsv(["variant", "seed", "set", "pattern"], rows);
}
