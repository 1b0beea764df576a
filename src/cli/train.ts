/** @file `diffsight train`: a recipe from its first stage to its last, or on from where it was. */

import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import type { Command } from "commander";
import type { Recipe, StageEstimate, StageSummary } from "../training/index.js";
import { examples, outputFlags, threadsFlag } from "./flags.js";
import { formatBytes, formatDuration } from "./progress.js";
import { checkThreads, readRecipe, resumable } from "./recipe-files.js";
import { recipeProgress } from "./recipe-progress.js";
import type { OutputFlags, Shell } from "./shell.js";

interface TrainFlags extends OutputFlags {
  plan?: boolean;
  out?: string;
  threads: number;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<recipe> [--plan] [flags]")
    .description(
      "Runs a recipe: makes data, trains networks, writes models. What is done already is left alone, and what was cut off " +
        "goes on where it was: call it again after anything. The weights do not depend on interruptions or threads.",
    )
    .argument(
      "<recipe>",
      "a JSON file, or the name of one that comes along: quick, standard, long, speaker, llava",
    )
    .optionsGroup("What:")
    .option("--plan", "say what each stage will take, and do nothing")
    .option("-o, --out <folder>", "where everything goes (default: runs/<the recipe's name>)");
  threadsFlag(command);
  outputFlags(command, { json: "print what came out, or the plan, as JSON" });
  examples(
    command,
    ["train quick --plan", "how long it would take here, and how much memory and disk"],
    ["train my-recipe.json --out runs/mine --threads 4", "train, or go on training"],
  );
  command.action((recipe: string, flags: TrainFlags) => train(recipe, flags, shell));
}

async function train(name: string, flags: TrainFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { threads, json, plan } = flags;
  checkThreads(threads);
  const training = await import("../training/index.js");
  const recipe = training.parseRecipe(await readRecipe(name));
  const out = flags.out ?? join("runs", recipe.name);
  if (plan) {
    const estimates: StageEstimate[] = [];
    for (const stage of await training.planStages(recipe, out, training.builtIn)) {
      shell.progress.show(`trying ${stage.stage.name}`);
      estimates.push(await training.estimateStage(stage, threads));
    }
    return json
      ? shell.json({ recipe: recipe.name, out, threads, stages: estimates })
      : printPlan(estimates, shell);
  }
  await shell.checkWritable(out, { folder: true });
  const report = recipeProgress(shell, flags);
  await resumable(shell, async () => {
    const stages = await training
      .runRecipe(recipe, { out, threads, signal: shell.signal, onEvent: report.event })
      .finally(report.end);
    if (json) shell.json({ recipe: recipe.name, out, stages });
    else printSummaries(recipe, stages, shell);
  });
}

/** A line a stage, and what they take together. */
export function printPlan(estimates: readonly StageEstimate[], shell: Shell): void {
  const rows = estimates.map((one) => {
    const time =
      one.status === "done" ? "-" : one.seconds === undefined ? "?" : formatDuration(one.seconds * 1000);
    const bytes = (count: number | undefined) => (count === undefined ? "-" : formatBytes(count));
    const rate = one.flops && `${(one.flops.perSecond / 1e9).toFixed(1)} GFLOP/s a thread`;
    return [one.name, one.status, one.work, time, bytes(one.memory), bytes(one.disk), rate ?? ""];
  });
  const table = [["stage", "state", "work", "time left", "memory", "disk", ""], ...rows];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
  for (const [i, row] of table.entries()) {
    const line = row
      .map((cell, j) => cell.padEnd(widths[j]!))
      .join("  ")
      .trimEnd();
    shell.line(i === 0 ? shell.bold(line) : line);
  }
  for (const { name, warnings = [] } of estimates)
    for (const warning of warnings) shell.warn(`${name}: ${warning}`);
  const sum = (of: (one: StageEstimate) => number | undefined) =>
    estimates.reduce((total, one) => total + (of(one) ?? 0), 0);
  const open = estimates.some(({ status, seconds }) => status !== "done" && seconds === undefined);
  const memory = Math.max(0, ...estimates.map(({ memory }) => memory ?? 0));
  shell.line();
  shell.line(
    `In all ${open ? "at least " : ""}${formatDuration(1000 * sum(({ seconds }) => seconds))}, ` +
      `${formatBytes(memory)} of memory, ${formatBytes(sum(({ disk }) => disk))} of disk.`,
  );
}

function printSummaries({ stages }: Recipe, summaries: readonly StageSummary[], shell: Shell): void {
  for (const [i, { name, kind, folder, result }] of summaries.entries()) {
    const place = relative("", folder) || ".";
    if (kind !== "train") shell.line(`${name}: ${place}`);
    else {
      const judged = Object.entries(result!.validation?.metrics ?? {}).map(
        ([what, value]) => `${what} ${value.toPrecision(3)}`,
      );
      const facts = [
        `loss ${result!.loss!.toPrecision(3)}`,
        ...judged,
        formatDuration(1000 * result!.seconds),
      ];
      shell.line(`${name}: ${facts.join(", ")}; ${place}`);
    }
    if (stages[i]!.kind !== "export") continue;
    if (existsSync(join(folder, "unet")))
      shell.note(`  try: diffsight generate "a dog in the park" --model ${place} -o dog.png`);
    else if (existsSync(join(folder, "diffsight.json")))
      shell.note(`  try: diffsight ask picture.png "Where is this?" --model ${place}`);
    else shell.note(`  try: diffsight inspect ${place}`);
  }
}
