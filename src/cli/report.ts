/** @file `diffsight report`: what a run has done so far, as one page. */

import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import type { LoggedStep, StageState } from "../training/index.js";
import { examples, outputFlags } from "./flags.js";
import { formatDuration } from "./progress.js";
import type { OutputFlags, Shell } from "./shell.js";

interface ReportFlags extends OutputFlags {
  out?: string;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<run> [flags]")
    .description(
      "Writes a page about a run: which stages are done, their loss curves, what validation says, and the models that came " +
        "out, with the run's other pages. It reads files only, so the run may go on meanwhile.",
    )
    .argument("<run>", "the folder that train, probe, sweep or eval has written")
    .optionsGroup("What:")
    .option("-o, --out <file>", "the page (default: report.html in the run)");
  outputFlags(command, { json: "print the stages as JSON, and write nothing" });
  examples(
    command,
    ["report runs/diorama-quick", "a training, while it goes on or when it is done"],
    ["report runs/diorama-quick -o quick.html", "the page in another place"],
  );
  command.action((run: string, flags: ReportFlags) => report(run, flags, shell));
}

async function report(run: string, flags: ReportFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { json = false, out = join(run, "report.html") } = flags;
  if (!json) await shell.checkWritable(out);
  const { readRun } = await import("../training/index.js");
  const { everyRegistry, reportPage, escapeHtml } = await import("../evaluation/index.js");
  const { recipe, stages } = await readRun(run, everyRegistry);
  if (json) {
    const told = stages.map(({ steps, ...stage }) => ({
      ...stage,
      ...(steps?.length && { step: steps.length }),
    }));
    return shell.json({ recipe: recipe.name, stages: told });
  }
  const sections = [
    ...(await pageSection(run, out)),
    { title: "Stages", body: await stageTable(stages) },
    ...(await modelSections(stages)),
    ...(await curveSections(stages)),
  ];
  const done = stages.filter(({ status }) => status === "done").length;
  const lead = `${escapeHtml(`${recipe.name}: ${recipe.description}`)} ${done === stages.length ? "All stages are done." : `${done} of ${stages.length} stages are done.`}`;
  await shell.write(out, reportPage(basename(resolve(run)), lead, sections));
  shell.line(out);
}

const seconds = (count: number) => formatDuration(1000 * count);
const short = (value: number) => value.toPrecision(3);

/** Of finished stages how long they took, of others how long they will, by the steps so far. */
function timeOf({ result, steps, wanted }: StageState): string {
  if (result) return seconds(result.seconds);
  const last = steps?.at(-1);
  if (!steps || !last) return "";
  if (wanted === undefined) return `${seconds(last.seconds)} so far`;
  return `${seconds(pace(steps) * (wanted - last.step))} left`;
}

/** Seconds of a step, by the middle one of the last: some may have waited for other work. */
function pace(steps: readonly LoggedStep[]): number {
  const recent = steps.slice(-201);
  const each = recent.slice(1).map((step, i) => step.seconds - recent[i]!.seconds);
  return each.sort((a, b) => a - b)[each.length >> 1] ?? recent[0]!.seconds;
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

async function stageTable(stages: readonly StageState[]): Promise<string> {
  const { table } = await import("../evaluation/index.js");
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
async function curveSections(stages: readonly StageState[]) {
  const { table, escapeHtml } = await import("../evaluation/index.js");
  const { toSvg } = await import("../training/index.js");
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
async function modelSections(stages: readonly StageState[]) {
  const { escapeHtml } = await import("../evaluation/index.js");
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
async function pageSection(run: string, own: string) {
  const { escapeHtml } = await import("../evaluation/index.js");
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
