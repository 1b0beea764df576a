/** @file `diffsight sweep`: variants of a recipe, each trained with several seeds, judged and held against each other. */

import { join } from "node:path";
import type { Command } from "commander";
import type { OpenPlan, SweepEvent, SweepOutcome } from "../evaluation/index.js";
import { examples, list, outputFlags, threadsFlag, wholeNumber } from "./flags.js";
import { publish } from "./probe/publish.js";
import { checkThreads, recipePath, resumable } from "./recipe-files.js";
import { recipeProgress } from "./recipe-progress.js";
import type { OutputFlags, Shell } from "./shell.js";

interface SweepFlags extends OutputFlags {
  plan?: boolean;
  test?: boolean;
  only?: string[];
  seeds?: number;
  out?: string;
  threads: number;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<plan> [--plan] [--test] [flags]")
    .description(
      "Trains every variant of a plan with every seed, lets each model answer two-option questions of the embedded world, " +
        "and writes a page with intervals over seeds and questions and paired comparisons by pattern. What variants share " +
        "is made once. Call it again after an interruption: what is done is left alone.",
    )
    .argument(
      "<plan>",
      "a JSON file, or the name of one that comes along: sweep-taps, sweep-guidance, sweep-fusion, sweep-origin",
    )
    .optionsGroup("What:")
    .option("--plan", "say what each stage will take, and do nothing")
    .option("--test", "judge by the frozen test (default: by validation scenes, for whoever still chooses)")
    .option("--only <variant>", "repeatable (default: all variants)", list(String))
    .option("--seeds <n>", "the first so many of the plan's seeds (default: all)", wholeNumber)
    .option("-o, --out <folder>", "where everything goes (default: runs/<the plan's name>)");
  threadsFlag(command);
  outputFlags(command, { json: "print the numbers, or the plan, as JSON" });
  examples(
    command,
    ["sweep sweep-fusion --plan", "how long it would take here, and how much memory and disk"],
    ["sweep sweep-fusion --only clip,cross-attention --seeds 1", "a first look, on validation scenes"],
    ["sweep sweep-fusion --test", "the experiment"],
  );
  command.action((plan: string, flags: SweepFlags) => sweep(plan, flags, shell));
}

async function sweep(name: string, flags: SweepFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { threads, json, only, seeds } = flags;
  checkThreads(threads);
  const evaluation = await import("../evaluation/index.js");
  const opened = await evaluation.openPlan(recipePath(name));
  const out = flags.out ?? join("runs", opened.plan.name);
  const common = { out, threads, tuning: !flags.test, only, seeds };
  if (flags.plan) {
    const onStage = (stage: string) => shell.progress.show(`trying ${stage}`);
    const stages = await evaluation.estimateSweep(opened, { ...common, onStage });
    if (json) return shell.json({ plan: opened.plan.name, out, threads, stages });
    const { printPlan } = await import("./train.js");
    return printPlan(stages, shell);
  }
  // What is wrong with any variant is said before the first is trained.
  evaluation.expandPlan(opened, { only, seeds });
  await shell.checkWritable(out, { folder: true });
  const progress = sweepProgress(shell, flags);
  const write = (outcomes: readonly SweepOutcome[], show: boolean) =>
    report(opened, outcomes, { ...flags, out, show }, shell);
  await resumable(shell, async () => {
    const outcomes = await evaluation
      .runSweep(opened, {
        ...common,
        signal: shell.signal,
        onEvent: progress.event,
        onOutcome: (finished) => write(finished, false),
      })
      .finally(progress.end);
    await write(outcomes, true);
  });
}

/** Writes the page after each run; says so after the last. */
async function report(
  { plan }: OpenPlan,
  outcomes: readonly SweepOutcome[],
  { test = false, out, json = false, show }: SweepFlags & { out: string; show: boolean },
  shell: Shell,
): Promise<void> {
  const { sweepReport } = await import("../evaluation/index.js");
  const made = sweepReport(plan, outcomes, { tuning: !test });
  const name = test ? "sweep" : "sweep-tuning";
  if (show) return publish(made, name, { out, json }, shell);
  const { writeFileAtomic } = await import("../weights/index.js");
  for (const [ending, text] of Object.entries(made))
    await writeFileAtomic(join(out, `${name}.${ending}`), text);
}

/** Progress of recipes, each stage with the variant and seed that it is for. */
function sweepProgress(shell: Shell, flags: OutputFlags) {
  const recipes = recipeProgress(shell, flags);
  let run = "";
  return {
    event(event: SweepEvent): void {
      if (event.kind === "run") {
        run = `${event.variant}-${event.seed}`;
        shell.note(`${run} (${event.index + 1} of ${event.runs})`);
      } else if (event.kind !== "stage" || !event.done) {
        recipes.event({ ...event, name: `${run} ${event.name}` });
      }
    },
    end: recipes.end,
  };
}
