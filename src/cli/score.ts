/** @file `diffsight score`: how well texts describe images. */

import { type Command, Option } from "commander";
import {
  type AttentionFlags,
  attentionFlags,
  examples,
  imageFlags,
  modelFlags,
  outputFlags,
  repeated,
  wholeNumber,
} from "./flags.js";
import { expandImages, isOfImage, readImage } from "./images.js";
import { openEncoder } from "./open.js";
import { imageOptions } from "./request.js";
import type { Shell } from "./shell.js";

interface ScoreFlags extends AttentionFlags {
  text: string[];
  padding: boolean;
  trials: number;
  pooling: "keys" | "positions";
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<image...> --text <text> [--text <text>]... [flags]")
    .description(
      "How well texts describe images, from the U-Net's cross-attention alone; higher is better.\n\n" +
        "Scores compare texts for one image. A text's own wording shifts its score: compare texts that differ in little.",
    )
    .argument("<image...>", 'files, folders, patterns such as "photos/*.jpg", addresses, or - for stdin')
    .optionsGroup("What:")
    .requiredOption("-t, --text <text>", "a text; repeat the flag for several", repeated);
  attentionFlags(command, "189,389,589,789,989")
    .option("--trials <n>", "average over n draws of noise", wholeNumber, 1)
    .option("--no-padding", "leave the padding tokens out")
    .addOption(
      new Option("--pooling <over>", "LogSumExp over the text's keys, or over the image's positions")
        .choices(["keys", "positions"])
        .default("keys"),
    );
  imageFlags(command);
  modelFlags(command);
  outputFlags(command, { json: 'print [{"image", "scores": [{"text", "score"}]}]' });
  examples(
    command,
    [
      'score photo.jpg --text "a dog left of a cat" --text "a cat left of a dog"',
      "which of two captions fits better",
    ],
    [
      'score photos/*.jpg --text "a dog" --text "a cat" --trials 4 --json',
      "less noise, for a program to read",
    ],
  );
  command.action((images: string[], flags: ScoreFlags) => score(images, flags, shell));
}

async function score(args: readonly string[], flags: ScoreFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const images = await expandImages(args);
  const { scoreTimesteps } = await import("../diffusion/index.js");
  const timesteps = flags.timestep ?? scoreTimesteps;
  const passes = images.length * flags.text.length * timesteps.length * flags.trials;
  await using encoder = await openEncoder(flags, shell, passes);
  const options = {
    timesteps,
    ...(flags.layer && { layers: flags.layer }),
    trials: flags.trials,
    padding: flags.padding,
    pooling: flags.pooling,
    ...imageOptions(flags, shell),
  };
  const results = [];
  for (const [i, { source }] of images.entries()) {
    shell.progress.item(i, images.length, source);
    try {
      const scores = (await encoder.score(await readImage(source), flags.text, options)).map(
        ({ text, score }) => ({
          text,
          score,
        }),
      );
      results.push({ image: source, scores });
      if (!flags.json) print(source, scores, i > 0, shell);
    } catch (error) {
      // One image that cannot be read does not stop the others.
      if (images.length === 1 || !isOfImage(error)) throw error;
      shell.error(error);
      process.exitCode = 1;
    }
  }
  if (flags.json) shell.json(results);
}

function print(
  image: string,
  scores: readonly { text: string; score: number }[],
  apart: boolean,
  shell: Shell,
): void {
  const best = Math.max(...scores.map(({ score }) => score));
  if (apart) shell.line();
  shell.line(shell.bold(image));
  for (const { text, score } of scores) {
    const mark = scores.length > 1 && score === best ? "*" : " ";
    shell.line(`${mark} ${score.toFixed(4).padStart(9)}  ${text === "" ? shell.dim("(no text)") : text}`);
  }
}
