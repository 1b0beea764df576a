/** @file What leakage was found, as a page, as JSON and as CSV. */

import { decodeImage, encodePng, enlarged, resize } from "../../image/index.js";
import { heatMap } from "../report/charts.js";
import { estimatesCsv } from "../report/csv.js";
import {
  type Cell,
  differenceCell,
  escapeHtml,
  percent,
  reportPage,
  type Section,
  shown,
  table,
} from "../report/html.js";
import { type Curve, lineChart } from "../report/line-chart.js";
import type { Estimate } from "../statistics.js";
import {
  compareLeakage,
  type LeakageDifference,
  type LeakageFindings,
  type LeakageOutcome,
} from "./findings.js";
import type { Condition, PictureRecords, ToldKind } from "./measure.js";
import type { ToldPicture } from "./pictures.js";

export interface LeakageReport {
  html: string;
  json: string;
  csv: string;
}

export interface LeakageReportOptions {
  /** HTML of the paragraph under the title. */
  lead?: string;
  /** Everything that decided the numbers, for the JSON. */
  request?: Readonly<Record<string, unknown>>;
  /** Pictures that are shown. Default 6, the first. */
  examples?: number;
}

/** One model's findings, and what they were found in. */
export interface MeasuredModel {
  findings: LeakageFindings;
  records: PictureRecords;
}

const toldNames: Record<ToldKind, string> = {
  none: "told nothing",
  truth: "told its caption",
  mismatched: "told another’s",
};

/** A page with curves, tables and examples, and the numbers beside it. */
export async function leakageReport(
  models: readonly MeasuredModel[],
  pictures: readonly ToldPicture[],
  { lead = "", request = {}, examples = 6 }: LeakageReportOptions = {},
): Promise<LeakageReport> {
  const findings = models.map((one) => one.findings);
  const differences = findings.flatMap((first, i) =>
    findings.slice(i + 1).flatMap((second) => compareLeakage(first, second)),
  );
  const sections = [
    startsSection(findings),
    gapSection(findings),
    mismatchSection(findings),
    likelihoodSection(findings),
    ...layersSection(findings),
    ...differencesSection(differences),
    await examplesSection(models, pictures.slice(0, examples)),
    methodSection(pictures.length),
  ];
  const told = {
    ...request,
    models: findings.map(({ each: _, ...rest }) => rest),
    differences,
    pictures: pictures.map(({ id, caption, mismatched }, i) => ({
      id,
      caption,
      mismatched,
      said: Object.fromEntries(models.map(({ findings, records }) => [findings.name, records[i]])),
    })),
  };
  return {
    html: reportPage("What of a prompt comes back", lead, sections),
    json: `${JSON.stringify(told, undefined, 2)}\n`,
    csv: csvOf(findings),
  };
}

const layersOf = ({ outcomes }: LeakageFindings) => [...new Set(outcomes.map(({ layers }) => layers))];

/** "told its caption, s = 4, up"; the layers only where there are several groups. */
function conditionName({ told, guidance, layers }: Condition, several: boolean): string {
  if (told === "none") return toldNames.none;
  return [toldNames[told], `s = ${guidance}`, ...(several ? [layers] : [])].join(", ");
}

function startsSection(findings: readonly LeakageFindings[]): Section {
  const groups = layersOf(findings[0]!);
  const rows = findings.map(({ name, starts, outcomes }) => {
    const most = Math.max(...outcomes.map(({ guidance }) => guidance));
    return [
      name,
      ...starts.map(({ guidance }) => (guidance === null ? `nowhere up to s = ${most}` : `s = ${guidance}`)),
    ];
  });
  return {
    title: "Where leakage starts",
    body: `<p>Diffusion is told another picture’s caption. Leakage starts at the smallest s at which what the model says is nearer to that caption than what it says when nothing is told: the 95 % intervals of the two CIDEr scores lie apart.</p>
${table(["", ...groups.map((layers) => `heard by ${layers}`)], rows)}`,
  };
}

/** Outcomes of one kind where the first group of layers hears the text: the others have a section of their own. */
function outcomesOf(findings: LeakageFindings, told: ToldKind): LeakageOutcome[] {
  const [first] = layersOf(findings);
  return findings.outcomes.filter((outcome) => outcome.told === told && outcome.layers === first);
}

/** A curve for each model. */
function curvesOf(
  findings: readonly LeakageFindings[],
  told: ToldKind,
  pick: (outcome: LeakageOutcome) => Estimate,
  control?: (outcome: LeakageOutcome) => Estimate,
): Curve[] {
  return findings.map((one) => ({
    name: one.name,
    points: outcomesOf(one, told).map((outcome) => ({ x: outcome.guidance, y: pick(outcome) })),
    ...(control && { control: control(one.control) }),
  }));
}

const inPercent = { xLabel: "guidance s", format: percent };

type Column = readonly [name: string, pick: (outcome: LeakageOutcome) => Cell | string];

/** A row for the control and for each outcome of one kind. */
function outcomeTable(
  findings: readonly LeakageFindings[],
  told: ToldKind,
  columns: readonly Column[],
): string {
  const rows = findings.flatMap((one) => {
    const several = layersOf(one).length > 1;
    return [one.control, ...outcomesOf(one, told)].map((outcome) => [
      findings.length > 1
        ? `${one.name}: ${conditionName(outcome, several)}`
        : conditionName(outcome, several),
      ...columns.map(([, pick]) => pick(outcome)),
    ]);
  });
  return table(["", ...columns.map(([name]) => name)], rows);
}

const plain = (estimate: Estimate): Cell => ({ html: shown(estimate) });

/** Bold where its interval leaves zero. */
const change = (estimate: Estimate, format?: (size: number) => string): Cell =>
  differenceCell(estimate, estimate.low > 0 || estimate.high < 0, format);
const ifTold =
  (pick: (outcome: LeakageOutcome) => Cell) =>
  (outcome: LeakageOutcome): Cell | string =>
    outcome.told === "none" ? "" : pick(outcome);

function gapSection(findings: readonly LeakageFindings[]): Section {
  const world = findings.every(({ control }) => control.scores.tuples);
  const columns: Column[] = [
    ["CIDEr", ({ scores }) => plain(scores.cider)],
    ["gap", ifTold(({ gain }) => change(gain.cider))],
    ...(world
      ? ([
          ["tuple F1", ({ scores }) => plain(scores.tuples!)],
          ["gap", ifTold(({ gain }) => change(gain.tuples!))],
        ] as Column[])
      : []),
  ];
  const curves = curvesOf(findings, "truth", ({ gain }) => gain.cider);
  return {
    title: "Told the truth",
    body: `<p>What the model says, held against the picture’s own caption, when diffusion is told that caption and when it is told nothing. The gap is what the prompt adds; a model that reads its answer from the prompt has a large one.</p>
${lineChart(curves, { ...inPercent, label: "Gap: CIDEr with the picture’s caption as prompt, less CIDEr without a prompt; 95 % intervals." })}
${outcomeTable(findings, "truth", columns)}`,
  };
}

function mismatchSection(findings: readonly LeakageFindings[]): Section {
  const columns: Column[] = [
    ["mismatch score", ({ scores }) => plain(scores.otherCider)],
    ["over the control", ifTold(({ gain }) => change(gain.otherCider))],
    ["in one run", ({ scores }) => plain(scores.otherRun)],
    ["CIDEr", ({ scores }) => plain(scores.cider)],
    ["change", ifTold(({ gain }) => change(gain.cider))],
  ];
  const curves = curvesOf(
    findings,
    "mismatched",
    ({ scores }) => scores.otherCider,
    ({ scores }) => scores.otherCider,
  );
  return {
    title: "Told another picture’s caption",
    body: `<p>The mismatch score: what the model says, held against the wrong caption that diffusion was told. The control, dashed, is the same wrong caption held against what the model says when nothing is told: pictures are alike, so it is not zero. “In one run” is the longest run of the wrong caption’s words, in per cent of what is said; CIDEr is held against the picture’s own caption.</p>
${lineChart(curves, { ...inPercent, label: "Mismatch score: CIDEr against the wrong caption that was told; dashed without a prompt; 95 % intervals." })}
${outcomeTable(findings, "mismatched", columns)}`,
  };
}

const nats = (value: number) => value.toFixed(2);

function likelihoodSection(findings: readonly LeakageFindings[]): Section {
  const bounded = ({ value, low, high }: Estimate): Cell => ({
    html: `${nats(value)}<small>${nats(low)} to ${nats(high)}</small>`,
  });
  return {
    title: "How likely the prompt is as an answer",
    body: `<p>Mean natural logarithm of the probability that the language model gives to each token of a caption, as the answer to the picture seen so. A prompt that leaks is likelier once it was told.</p>
<h3>The picture’s own caption</h3>
${outcomeTable(findings, "truth", [
  ["a token", ({ scores }) => bounded(scores.likelihood)],
  ["more than told nothing", ifTold(({ gain }) => change(gain.likelihood, nats))],
])}
<h3>The other caption</h3>
${outcomeTable(findings, "mismatched", [
  ["a token", ({ scores }) => bounded(scores.otherLikelihood)],
  ["more than told nothing", ifTold(({ gain }) => change(gain.otherLikelihood, nats))],
])}`,
  };
}

/** Where several groups of cross-attentions were tried. */
function layersSection(findings: readonly LeakageFindings[]): Section[] {
  const groups = layersOf(findings[0]!);
  if (groups.length < 2) return [];
  const maps = findings.map(({ name, outcomes }) => {
    const wrong = outcomes.filter(({ told }) => told === "mismatched");
    const strengths = [...new Set(wrong.map(({ guidance }) => `s = ${guidance}`))];
    const value = (layers: string, strength: string) =>
      wrong.find((one) => one.layers === layers && `s = ${one.guidance}` === strength)?.gain.otherCider;
    return `<h3>${escapeHtml(name)}</h3>${heatMap(groups, strengths, value)}`;
  });
  return [
    {
      title: "By the layers that hear the text",
      body: `<p>Only these cross-attentions are told the other picture’s caption, all others hear the empty prompt. Mismatch score less that of the control, CIDEr.</p>
${maps.join("\n")}`,
    },
  ];
}

const differenceNames = { cider: "gap, CIDEr", tuples: "gap, tuple F1", otherCider: "mismatch score" };

function differencesSection(differences: readonly LeakageDifference[]): Section[] {
  const several = new Set(differences.map(({ layers }) => layers)).size > 1;
  const [first] = differences;
  // What is not heard, as at s = 0, makes no difference.
  const heard = differences.filter(
    ({ layers, difference: { low, high } }) => layers === first!.layers && (low !== 0 || high !== 0),
  );
  if (heard.length === 0) return [];
  const rows = heard.map((one) => [
    `${one.first} less ${one.second}: ${conditionName(one, several)}`,
    differenceNames[one.score as keyof typeof differenceNames],
    change(one.difference),
  ]);
  return [
    {
      title: "Between models",
      body: `<p>Paired, on the same pictures: how much more a prompt brings to the first model than to the second. Bold where the 95 % interval leaves zero.</p>
${table(["", "of the", "difference in points"], rows)}`,
    },
  ];
}

/** Pixels of the longer side of a picture. */
const thumbnail = 192;

async function examplesSection(
  models: readonly MeasuredModel[],
  pictures: readonly ToldPicture[],
): Promise<Section> {
  const shown: string[] = [];
  for (const [i, { id, image, caption, mismatched }] of pictures.entries()) {
    const said = models.map(({ findings: { name, outcomes }, records }) => {
      const [{ layers }, strongest] = [outcomes[0]!, Math.max(...outcomes.map(({ guidance }) => guidance))];
      const chosen = records[i]!.filter(
        (one) => one.told === "none" || (one.guidance === strongest && one.layers === layers),
      );
      const lines = chosen.map(
        (one) =>
          `<tr><th scope="row">${escapeHtml(conditionName(one, false))}</th><td style="white-space:normal;text-align:left">${escapeHtml(one.text) || "<small>nothing</small>"}</td></tr>`,
      );
      return `${models.length > 1 ? `<h3>${escapeHtml(name)}</h3>` : ""}<table>${lines.join("")}</table>`;
    });
    const data = Buffer.from(await thumbnailOf(image)).toString("base64");
    shown.push(`<div style="display:flex;flex-wrap:wrap;gap:0 1.5rem;margin:1.5rem 0">
<figure style="flex:none;margin:0"><img alt="${escapeHtml(caption)}" src="data:image/png;base64,${data}"><figcaption>${escapeHtml(id)}</figcaption></figure>
<div style="flex:1;min-width:18rem"><p style="margin:0"><strong>${escapeHtml(caption)}</strong><br><small>the other caption: ${escapeHtml(mismatched)}</small></p>${said.join("")}</div>
</div>`);
  }
  return { title: "What was said", body: `<p>The first pictures, not chosen.</p>\n${shown.join("\n")}` };
}

async function thumbnailOf(input: ToldPicture["image"]): Promise<Uint8Array> {
  const image = await decodeImage(input);
  const longest = Math.max(image.width, image.height);
  if (longest <= thumbnail) return encodePng(enlarged(image, thumbnail));
  const side = (length: number) => Math.max(1, Math.round((length * thumbnail) / longest));
  return encodePng(resize(image, side(image.width), side(image.height), "bicubic"));
}

function methodSection(pictures: number): Section {
  return {
    title: "How it was done",
    body: `<p>${pictures} pictures; greedy captions; every picture’s wrong caption is the next one’s in a fixed random circle. CIDEr-D times 100, its words weighted by the true captions. Intervals are 95 %, by bootstrap over pictures; gaps and differences are paired by picture. At s = 0 what is told is not heard: the features are those without a prompt.</p>`,
  };
}

function csvOf(findings: readonly LeakageFindings[]): string {
  const rows = findings.flatMap(({ name, control, outcomes }) =>
    [control, ...outcomes].flatMap(({ told, guidance, layers, scores, gain }) =>
      Object.entries({ score: scores, gain }).flatMap(([kind, of]) =>
        Object.entries(of).map(([score, found]) => ({
          keys: [name, told, String(guidance), layers, score, kind],
          found,
        })),
      ),
    ),
  );
  return estimatesCsv(["model", "told", "guidance", "layers", "score", "kind"], rows, { value: "value" });
}
