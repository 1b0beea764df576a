/** @file `diffsight quantize`: a language model's weights in 4 or 8 bits, once, into a folder. */

import type { Command } from "commander";
import { firstOf, misuse } from "../tensor/index.js";
import type { QuantizeReport } from "../weights/index.js";
import { examples, type ModelFlags, outputFlags, sourceFlags, wholeNumber } from "./flags.js";
import { openOptions } from "./open.js";
import { formatBytes } from "./progress.js";
import type { Shell } from "./shell.js";

interface QuantizeFlags extends ModelFlags {
  out: string;
  bits: number;
  block: number;
  keepHead?: boolean;
  json?: boolean;
}

/** Milliseconds that the tensor at hand may take after Ctrl-C. */
const patience = 60_000;

export function define(command: Command, shell: Shell): void {
  command
    .usage("<model> -o <folder> [flags]")
    .description(
      "Writes a language model (LLaMA, Qwen2), or a LLaVA, with the linear layers of the language model in few bits: less " +
        "to read for each token, and so faster answers. One tensor is in memory at a time; embeddings, norms, projectors " +
        "and vision encoders stay as they are.",
    )
    .argument("<model>", "a folder in transformers' layout, or an id on the hub")
    .optionsGroup("What:")
    .requiredOption("-o, --out <folder>", "a new folder")
    .option("--bits <n>", "4, or 8", wholeNumber, 4)
    .option("--block <n>", "weights that share a scale: 16, 32, 64, 128 or 256", wholeNumber, 64)
    .option("--keep-head", "leave the head, which scores the next token, as it is");
  sourceFlags(command);
  outputFlags(command, { json: "print what it cost and gained as JSON" });
  examples(
    command,
    ["quantize path/to/vicuna -o vicuna-4bit", "4 bits, in blocks of 64"],
    [
      "quantize path/to/llava --bits 8 --block 128 -o llava-8bit --json",
      "8 bits, and the numbers for a program",
    ],
  );
  command.action((model: string, flags: QuantizeFlags) => quantize(model, flags, shell));
}

async function quantize(model: string, flags: QuantizeFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { out, bits, block, keepHead = false } = flags;
  await shell.checkWritable(out, { folder: true });
  shell.grace = patience;
  const { openModel } = await import("../weights/index.js");
  const { descriptionFile, quantizeLanguageModel, readDescription, resolveModel } = await import(
    "../vlm/index.js"
  );
  const folder = await openModel(model, openOptions(flags, shell));
  if (await folder.has(descriptionFile)) {
    const { language } = await readDescription(folder);
    const { source } = resolveModel(language.model, model);
    throw misuse(
      "CONFIG",
      `${model} has its language model in a folder of its own: quantize ${source} instead.`,
    );
  }
  const report = await quantizeLanguageModel(folder, out, {
    // What is neither is refused by name.
    bits: bits as 4 | 8,
    block,
    keepHead,
    signal: shell.signal,
    onProgress: ({ key, done, total }) => shell.progress.show(key, done, total),
  });
  if (report.whole.length > 0)
    shell.warn(
      `${report.whole.length} linear layers stay as they are, as their inputs do not divide into blocks of ${block} (${firstOf(report.whole, 3)}): --block says another size.`,
    );
  if (flags.json) return shell.json({ out, bits, block, ...report });
  print(report, { out, bits, block }, shell);
}

function print(
  { bytes, error, tensors }: QuantizeReport,
  { out, bits, block }: { out: string; bits: number; block: number },
  shell: Shell,
): void {
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const worst = tensors.reduce((most, one) => (one.error > most.error ? one : most));
  shell.line(shell.bold(`${out}: ${tensors.length} matrices of ${bits} bits in blocks of ${block}`));
  shell.line(`${formatBytes(bytes.before)} before, ${formatBytes(bytes.after)} now`);
  shell.line(`off by ${percent(error)} of the weights' size, ${worst.key} most: ${percent(worst.error)}`);
}
