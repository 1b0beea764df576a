/** @file The page of a run: its stages, curves, models, and the pages that its own verb has written. */

import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { escapeHtml, reportPage, type Section, table } from "../../evaluation/index.js";
import { medianSeconds, type Recipe, type StageState, toSvg } from "../../training/index.js";
import { formatDuration } from "../progress.js";

/** @param own where the page will lie: links begin there */
export async function runPage(
  run: string,
  { recipe, stages }: { recipe: Recipe; stages: readonly StageState[] },
  own: string,
): Promise<string> {
  const sections = [
    ...(await pageSection(run, own)),
    { title: "Stages", body: stageTable(stages) },
    ...(await modelSections(stages)),
    ...curveSections(stages),
  ];
  const done = stages.filter(({ status }) => status === "done").length;
  const state =
    done === stages.length ? "All stages are done." : `${done} of ${stages.length} stages are done.`;
  const lead = `${escapeHtml(`${recipe.name}: ${recipe.description}`)} ${state}`;
  return reportPage(basename(resolve(run)), lead, sections);
}

const seconds = (count: number) => formatDuration(1000 * count);
const short = (value: number) => value.toPrecision(3);

/** Of finished stages how long they took, of others how long they will, by the steps so far. */
function timeOf({ result, steps, wanted }: StageState): string {
  if (result) return seconds(result.seconds);
  const last = steps?.at(-1);
  if (!steps || !last) return "";
  if (wanted === undefined) return `${seconds(last.seconds)} so far`;
  // Of the last ones: some may have waited for other work.
  const step = medianSeconds(steps.slice(-201)) ?? last.seconds;
  return `${seconds(step * (wanted - last.step))} left`;
}

function workOf({ rows, steps, wanted, title }: StageState): string {
  if (title !== undefined) return title;
  if (rows !== undefined) return `${rows} rows`;
  const step = steps?.at(-1)?.step;
  if (step !== undefined) return wanted === undefined ? `step ${step}` : `step ${step} of ${wanted}`;
  return wanted === undefined ? "" : `${wanted} steps`;
}

const validationOf = ({ result, steps }: StageState) =>
  result?.validation ?? steps?.findLast(({ validation }) => validation)?.validation;

function stageTable(stages: readonly StageState[]): string {
  const rows = stages.map((stage) => {
    const loss = stage.result?.loss ?? stage.steps?.at(-1)?.loss;
    const validation = validationOf(stage)?.loss;
    return [
      stage.name,
      stage.kind,
      stage.status,
      workOf(stage),
      timeOf(stage),
      loss === undefined ? "" : short(loss),
      validation === undefined ? "" : short(validation),
    ];
  });
  return table(["stage", "kind", "state", "what", "time", "loss", "validation"], rows);
}

const picture = (type: string, bytes: Uint8Array | string, alt: string) =>
  `<figure><img alt="${alt}" src="data:${type};base64,${Buffer.from(bytes).toString("base64")}"></figure>`;

/** Loss curves, and the last validation's numbers. */
function curveSections(stages: readonly StageState[]): Section[] {
  return stages.flatMap((stage) => {
    const { name, steps } = stage;
    if (!steps?.length) return [];
    const judged = Object.entries(validationOf(stage)?.metrics ?? {});
    const curve = picture("image/svg+xml", toSvg(steps, name), `Loss of ${escapeHtml(name)} by step`);
    const numbers = judged.map(([what, value]) => [what, short(value)]);
    return [{ title: name, body: `${curve}${numbers.length > 0 ? table(["validation", ""], numbers) : ""}` }];
  });
}

/** The models, with drawings where their cards have some. */
async function modelSections(stages: readonly StageState[]): Promise<Section[]> {
  const models = stages.filter(({ kind, status }) => kind === "export" && status === "done");
  if (models.length === 0) return [];
  const shown = models.map(async ({ folder, title }) => {
    const samples = join(folder, "samples.png");
    const drawings = existsSync(samples)
      ? picture("image/png", await readFile(samples), "Drawings with their prompts")
      : "";
    return `<h3>${escapeHtml(title!)}</h3><p><code>${escapeHtml(relative("", folder) || ".")}</code></p>${drawings}`;
  });
  return [{ title: "Models", body: (await Promise.all(shown)).join("\n") }];
}

/** The pages that the run's own verb has written. */
async function pageSection(run: string, own: string): Promise<Section[]> {
  const pages = (await readdir(run)).filter(
    (name) => name.endsWith(".html") && resolve(run, name) !== resolve(own),
  );
  if (pages.length === 0) return [];
  const links = pages
    .sort()
    .map(
      (name) =>
        `<li><a href="${escapeHtml(encodeURI(relative(dirname(own), join(run, name))))}">${escapeHtml(name)}</a></li>`,
    );
  return [{ title: "What it found", body: `<ul>${links.join("")}</ul>` }];
}
