/** @file `diffsight generate`: a picture from a text. */

import { extname } from "node:path";
import { type Command, Option } from "commander";
import type { SchedulerName } from "../diffusion/index.js";
import { misuse } from "../tensor/index.js";
import {
  examples,
  type ModelFlags,
  modelFlags,
  outputFlags,
  realNumber,
  size,
  wholeNumber,
} from "./flags.js";
import { openEncoder } from "./open.js";
import type { Shell } from "./shell.js";
import { truncationWarner } from "./truncation.js";

const schedulers = ["ddim", "pndm", "euler", "dpm++"] as const satisfies readonly SchedulerName[];

interface GenerateFlags extends ModelFlags {
  out: string;
  negative?: string;
  steps: number;
  cfg: number;
  seed: number;
  size?: number | readonly [number, number];
  scheduler?: SchedulerName;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<prompt> -o <png> [flags]")
    .description("A picture from a text: the proof that the whole network is there and right.")
    .argument("<prompt>", "what the picture should show")
    .optionsGroup("What:")
    .requiredOption("-o, --out <png>", "where the picture goes; - for stdout")
    .option("--negative <text>", "what the picture should not be like")
    .option("--steps <n>", "steps of denoising", wholeNumber, 50)
    .option("--cfg <w>", "weight of the text (classifier-free guidance); 1 or less is none", realNumber, 7.5)
    .option("--seed <n>", "seed of the noise, as torch's", wholeNumber, 0)
    .option("--size <px|WxH>", "of the picture (default: the model's own)", size)
    .addOption(
      new Option("--scheduler <name>", "how the steps are taken, if not the model's own way").choices(
        schedulers,
      ),
    );
  modelFlags(command);
  outputFlags(command);
  examples(
    command,
    ['generate "three yellow stools in the square" -o stools.png', "a small picture by the embedded model"],
    [
      'generate "a photo of a red fox" --model path/to/sd --scheduler dpm++ --steps 20 --seed 7 -o fox.png',
      "20 quick steps with a real model",
    ],
  );
  command.action((prompt: string, flags: GenerateFlags) => generate(prompt, flags, shell));
}

async function generate(prompt: string, flags: GenerateFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { out, negative, steps, cfg, seed, scheduler } = flags;
  const ending = extname(out).toLowerCase();
  if (out !== "-" && ending !== ".png")
    throw misuse("OUT", `--out ${out}: the picture is a PNG; give a name that ends in .png.`);
  await shell.checkWritable(out);
  await using encoder = await openEncoder(flags, shell, steps * (cfg > 1 ? 2 : 1));
  const { encodePng } = await import("../image/index.js");
  const image = await encoder.generate(prompt, {
    ...(negative !== undefined && { negative }),
    steps,
    cfg,
    seed,
    ...(flags.size !== undefined && { size: flags.size }),
    ...(scheduler && { scheduler }),
    signal: shell.signal,
    onProgress: shell.progress.job,
    onTruncate: truncationWarner(shell),
  });
  await shell.write(out, encodePng(image));
  if (out !== "-") shell.line(out);
}
