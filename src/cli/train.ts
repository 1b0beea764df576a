/** @file `diffsight train`: a recipe from its first stage to its last, or on from where it was. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { type DiffsightError, failure, misuse } from "../tensor/index.js";
import type { Recipe, StageEstimate, StageSummary } from "../training/index.js";
import { examples, outputFlags, wholeNumber } from "./flags.js";
import { formatBytes, formatDuration } from "./progress.js";
import { recipeProgress } from "./recipe-progress.js";
import type { OutputFlags, Shell } from "./shell.js";

interface TrainFlags extends OutputFlags {
  plan?: boolean;
  out?: string;
  threads: number;
  json?: boolean;
}

/** Recipes that come with the package, by name. */
const recipesFolder = fileURLToPath(new URL("../../recipes", import.meta.url));

/** Milliseconds that a step, and the checkpoint after Ctrl-C, may take. */
const patience = 120_000;

export function define(command: Command, shell: Shell): void {
  command
    .usage("<recipe> [--plan] [flags]")
    .description(
      "Runs a recipe: makes data, trains networks, writes models. What is done already is left alone, and what was cut off " +
        "goes on where it was: call it again after anything. The weights do not depend on interruptions or threads.",
    )
    .argument("<recipe>", "a JSON file, or the name of one that comes along: quick, standard, long, llava")
    .optionsGroup("What:")
    .option("--plan", "say what each stage will take, and do nothing")
    .option("-o, --out <folder>", "where everything goes (default: runs/<the recipe's name>)")
    .optionsGroup("Computing:")
    .option("--threads <n>", "threads that compute side by side", wholeNumber, availableParallelism());
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
  if (threads < 1 || threads > 1024)
    throw misuse("THREADS", `--threads goes from 1 to 1024, not ${threads}.`);
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
  shell.grace = patience;
  const report = recipeProgress(shell, flags);
  let summaries: StageSummary[];
  try {
    summaries = await training.runRecipe(recipe, {
      out,
      threads,
      signal: shell.signal,
      onEvent: report.event,
    });
  } catch (error) {
    report.end();
    if ((error as DiffsightError).code !== "ABORTED") throw error;
    shell.note(`Everything is saved: call it again to go on.`);
    return;
  }
  report.end();
  if (json) shell.json({ recipe: recipe.name, out, stages: summaries });
  else printSummaries(recipe, summaries, shell);
}

async function readRecipe(name: string): Promise<string> {
  const own = join(recipesFolder, `${name}.json`);
  const path =
    !existsSync(name) && extname(name) === "" && basename(name) === name && existsSync(own) ? own : name;
  return readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    const what =
      cause.code === "ENOENT" ? "there is no such file, and no recipe of that name" : cause.message;
    throw failure("FILE_MISSING", `${name} cannot be read: ${what}.`, cause);
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
    else shell.note(`  try: diffsight inspect ${place}`);
  }
}
