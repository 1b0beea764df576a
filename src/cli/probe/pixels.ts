/** @file `diffsight probe pixels`: what a small network learns to tell from the pictures themselves. */

import { type Command, Option } from "commander";
import type { PixelsPlan } from "../../evaluation/index.js";
import { misuse } from "../../tensor/index.js";
import { examples, outputFlags, threadsFlag, wholeNumber } from "../flags.js";
import { recipeProgress } from "../recipe-progress.js";
import type { OutputFlags, Shell } from "../shell.js";
import { publish } from "./publish.js";

export interface PixelsFlags extends OutputFlags {
  out: string;
  scenes?: number;
  updates?: number;
  tuning?: boolean;
  threads: number;
  json?: boolean;
}

/** Flags of the network that is taught on pixels; they name it, so that it is taught once. */
export function pixelsFlags(command: Command): void {
  command
    .option("--scenes <n>", "pictures that the network learns from (default: 98304)", wholeNumber)
    .option("--updates <n>", "updates of the network (default: 20000)", wholeNumber)
    .addOption(new Option("--tuning", "judge by validation scenes, not by the frozen test"));
  threadsFlag(command);
}

/** @throws DiffsightError RANGE */
export function pixelsPlan({ scenes, updates, tuning = false, threads }: PixelsFlags): PixelsPlan {
  for (const [flag, value] of Object.entries({ scenes, updates, threads })) {
    if (value !== undefined && value < 1)
      throw misuse("RANGE", `--${flag} must be at least 1, not ${value}.`);
  }
  const warmup = Math.min(200, Math.floor((updates ?? 0) / 10));
  return {
    tuning,
    scenes: {
      ...(scenes !== undefined && { train: scenes, validation: Math.ceil(scenes / 10) }),
    },
    settings:
      updates === undefined
        ? {}
        : { steps: updates, schedule: { kind: "cosine", warmup, hold: 0, to: 0.01 } },
  };
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("[-o <folder>] [flags]")
    .description(
      "Teaches a small convolutional network the questions on the pictures themselves, and what each place of them shows, " +
        "and says how many questions of each pattern it answers: what is in the picture at all. Call it again after an " +
        "interruption: it goes on.",
    )
    .optionsGroup("What:")
    .option("-o, --out <folder>", "where scenes, network and pixels.html go", "runs/probe")
    .optionsGroup("How much:")
    .option("--pairs <n>", "twins of each pattern", wholeNumber, 500)
    .option("--test <n>", "scenes that judge", wholeNumber, 2000);
  pixelsFlags(command);
  outputFlags(command, { json: "print the numbers as JSON" });
  examples(
    command,
    ["probe pixels", "the full lesson: an hour or so"],
    ["probe pixels --scenes 20000 --updates 2000 --tuning", "a shorter one"],
  );
  command.action((flags: PixelsFlags & { pairs: number; test: number }) => pixels(flags, shell));
}

async function pixels(flags: PixelsFlags & { pairs: number; test: number }, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { out, threads, pairs, test } = flags;
  for (const [flag, value] of Object.entries({ pairs, test }))
    if (value < 1) throw misuse("RANGE", `--${flag} must be at least 1, not ${value}.`);
  const plan = pixelsPlan(flags);
  const { runPixels, pixelsReport } = await import("../../evaluation/index.js");
  await shell.checkWritable(out, { folder: true });
  const progress = recipeProgress(shell, flags);
  const found = await runPixels(
    { ...plan, scenes: { ...plan.scenes, test, unseen: Math.ceil(test / 4), twins: pairs } },
    { out, threads, signal: shell.signal, onEvent: progress.event },
  ).finally(progress.end);
  await publish(pixelsReport(found), "pixels", flags, shell);
}
