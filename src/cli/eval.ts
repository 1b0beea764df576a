/** @file `diffsight eval`: vision-language models judged by a benchmark's questions. */

import type { Command } from "commander";
import type { Judgement } from "../evaluation/index.js";
import { misuse } from "../tensor/index.js";
import { examples, namedModels, outputFlags, repeated, threadsFlag, wholeNumber } from "./flags.js";
import { publish } from "./probe/publish.js";
import { checkThreads, resumable } from "./recipe-files.js";
import { recipeProgress } from "./recipe-progress.js";
import type { OutputFlags, Shell } from "./shell.js";

interface EvalFlags extends OutputFlags {
  model?: string[];
  out: string;
  scenes: number;
  pairs: number;
  unseen: number;
  options: boolean;
  test?: boolean;
  threads: number;
  json?: boolean;
}

const benchmarks = ["diorama"] as const;

export function define(command: Command, shell: Shell): void {
  command
    .usage("<benchmark> [-m <name=path> ...] [--test] [flags]")
    .description(
      "Lets vision-language models answer a benchmark's questions, and writes a page with intervals by pattern, each model " +
        "held against the first. Call it again after an interruption: what is done is left alone.",
    )
    .argument("<benchmark>", "diorama: two-option questions about the embedded world, and twins")
    .optionsGroup("What:")
    .option(
      "-m, --model <name=path|id>",
      "a vision-language model; repeatable, to be compared (default: embedded:vlm)",
      repeated,
    )
    .option("-o, --out <folder>", "where features, answers and <benchmark>.html go", "runs/eval")
    .option("--test", "judge by the frozen test (default: by validation scenes, for whoever still chooses)")
    .option("--no-options", "questions do not name their two options")
    .optionsGroup("How much:")
    .option("--scenes <n>", "pictures with questions of their own", wholeNumber, 2000)
    .option("--pairs <n>", "twins of each pattern", wholeNumber, 500)
    .option("--unseen <n>", "pictures of combinations that training never shows", wholeNumber, 500);
  threadsFlag(command);
  outputFlags(command, { json: "print the numbers as JSON" });
  examples(
    command,
    ["eval diorama", "the embedded model, by validation scenes"],
    ["eval diorama --test", "by the frozen test"],
    ["eval diorama -m clip=runs/a/models/vlm -m both=runs/b/models/vlm", "two models of yours"],
  );
  command.action((benchmark: string, flags: EvalFlags) => evaluate(benchmark, flags, shell));
}

async function evaluate(benchmark: string, flags: EvalFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { out, scenes, pairs, unseen, options, test = false, threads } = flags;
  if (!(benchmarks as readonly string[]).includes(benchmark))
    throw misuse("BENCHMARK", `There is no benchmark "${benchmark}": there are ${benchmarks.join(", ")}.`);
  for (const [flag, value] of Object.entries({ scenes, pairs, unseen }))
    if (value < 1) throw misuse("RANGE", `--${flag} must be at least 1, not ${value}.`);
  checkThreads(threads);
  const models = namedModels(flags.model ?? ["vlm=embedded:vlm"]);
  const { judge, judgedReport } = await import("../evaluation/index.js");
  const { modelPath } = await import("../weights/index.js");
  await shell.checkWritable(out, { folder: true });
  const progress = recipeProgress(shell, flags);
  const request = {
    scenes: { test: scenes, twins: pairs, unseen },
    tuning: !test,
    clip: "embedded:clip",
    options,
  };
  await resumable(shell, async () => {
    const found: Record<string, { model: string; judgement: Judgement }> = {};
    for (const [name, source] of models) {
      shell.note(name);
      const model = modelPath(source);
      const run = { out, threads, signal: shell.signal, onEvent: progress.event };
      found[name] = { model, judgement: await judge(model, request, run).finally(progress.end) };
    }
    const title = "Questions about the diorama";
    await publish(judgedReport(found, { title, tuning: !test, options }), benchmark, flags, shell);
  });
}
