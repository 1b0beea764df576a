/** @file `diffsight probe drawn`: draws captions, and asks a network of pixels what the drawings show. */

import type { Command } from "commander";
import { misuse } from "../../tensor/index.js";
import { examples, outputFlags, realNumber, wholeNumber } from "../flags.js";
import { recipeProgress } from "../recipe-progress.js";
import type { Shell } from "../shell.js";
import { type PixelsFlags, pixelsFlags, pixelsPlan } from "./pixels.js";
import { publish } from "./publish.js";

interface DrawnFlags extends PixelsFlags {
  model: string;
  drawings: number;
  steps: number;
  cfg: number;
  seed: number;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("[-o <folder>] [flags]")
    .description(
      "Draws the captions of scenes that no training has seen, and asks the network of `probe pixels` the scenes' questions " +
        "about the drawings and about the rendered pictures. The page shows each drawing beside the picture that it should be.",
    )
    .optionsGroup("What:")
    .option("-o, --out <folder>", "where drawings, network and drawn.html go", "runs/probe")
    .option("-m, --model <path>", "folder of a diffusers pipeline", "embedded:sd")
    .option("--drawings <n>", "captions to draw", wholeNumber, 500)
    .option("--steps <n>", "steps of each drawing", wholeNumber, 25)
    .option("--cfg <w>", "weight of classifier-free guidance", realNumber, 4)
    .option("--seed <n>", "of the drawings' noise", wholeNumber, 0)
    .optionsGroup("How much:");
  pixelsFlags(command);
  outputFlags(command, { json: "print the numbers as JSON" });
  examples(
    command,
    ["probe drawn", "the embedded model's drawings"],
    ["probe drawn -m my-pipeline --drawings 100 --tuning", "another's, of validation captions"],
  );
  command.action((flags: DrawnFlags) => drawn(flags, shell));
}

async function drawn(flags: DrawnFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { out, threads, model, drawings, steps, cfg, seed } = flags;
  for (const [flag, value] of Object.entries({ drawings, steps }))
    if (value < 1) throw misuse("RANGE", `--${flag} must be at least 1, not ${value}.`);
  const plan = pixelsPlan(flags);
  const { runPixels, drawnReport } = await import("../../evaluation/index.js");
  await shell.checkWritable(out, { folder: true });
  const progress = recipeProgress(shell, flags);
  const found = await runPixels(
    {
      ...plan,
      scenes: { ...plan.scenes, test: drawings, unseen: 1, twins: 1 },
      drawings: { model, steps, cfg, seed },
    },
    { out, threads, signal: shell.signal, onEvent: progress.event },
  ).finally(progress.end);
  await publish(await drawnReport(found), "drawn", flags, shell);
}
