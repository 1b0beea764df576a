/** @file `diffsight probe leakage`: whether a model reads its answer from the text that diffusion was told. */

import { dirname, join } from "node:path";
import { type Command, Option } from "commander";
import type { LeakageRequest, MeasuredModel } from "../../evaluation/index.js";
import { misuse } from "../../tensor/index.js";
import {
  computingFlags,
  examples,
  list,
  type ModelFlags,
  namedModels,
  outputFlags,
  realNumber,
  repeated,
  wholeNumber,
} from "../flags.js";
import type { Shell } from "../shell.js";
import { version } from "../version.js";
import { publish } from "./publish.js";

interface LeakageFlags extends Pick<ModelFlags, "device" | "memory" | "quiet" | "color"> {
  model: string[];
  out: string;
  captions?: string;
  images?: string;
  faulty: "error" | "skip";
  caption: "full" | "loose";
  pictures: number;
  test?: boolean;
  guidance?: number[];
  layers?: string[];
  question?: string;
  template?: string;
  maxTokens: number;
  seed: number;
  examples: number;
  threads?: number;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("-m <name=path> [-m ...] [-o <folder>] [flags]")
    .description(
      "Lets vision-language models caption pictures while diffusion is told the true caption, nothing, or another " +
        "picture's, and tells how much of the prompt comes back: the gap, the mismatch score, the likelihood of the " +
        "prompt, over guidance and by the layers that hear it. Call it again after an interruption: it goes on.",
    )
    .optionsGroup("What:")
    .requiredOption(
      "-m, --model <name=path|id>",
      "a vision-language model with a diffusion encoder; repeatable, to be compared",
      repeated,
    )
    .option("-o, --out <folder>", "where records and leakage.html go", "runs/leakage")
    .option("--captions <json>", "a LLaVA's JSON of captions (default: the embedded world's scenes)")
    .option("--images <folder>", "where that JSON's paths of images begin (default: beside it)")
    .addOption(
      new Option(
        "--faulty <how>",
        "rows of that JSON that are needed and cannot be used: an error, or left out",
      )
        .choices(["error", "skip"])
        .default("error"),
    )
    .addOption(
      new Option("--caption <kind>", "of a scene: every fact, or what is there")
        .choices(["full", "loose"])
        .default("full"),
    )
    .option("--question <text>", "asks for the caption so (default: the picture alone, as LLaVA's stage 1)")
    .option("--template <name>", "how that is written (default: plain; with --question the model's own)")
    .option("--guidance <s>", "repeatable (default: 0, 1, 1.5, 4)", list(realNumber))
    .option(
      "--layers <names>",
      "cross-attentions that hear the text: all, down, mid, up, U-L1, up+mid ...; repeatable (default: all)",
      list(String),
    )
    .optionsGroup("How much:")
    .option("--pictures <n>", "pictures to caption", wholeNumber, 200)
    .option("--max-tokens <n>", "the longest caption", wholeNumber, 48)
    .option("--examples <n>", "pictures that the page shows", wholeNumber, 6)
    .addOption(
      new Option("--test", "judge by the frozen test's scenes: once nothing is to be chosen any more"),
    )
    .option("--seed <n>", "of who gets whose caption", wholeNumber, 0);
  computingFlags(command);
  outputFlags(command, { json: "print the numbers as JSON" });
  examples(
    command,
    [
      "probe leakage -m with=runs/a/models/vlm -m without=runs/b/models/vlm",
      "two models on validation scenes",
    ],
    [
      'probe leakage -m my-vlm --captions coco.json --images coco --layers all,down,mid,up --question "Describe the image."',
      "on pictures of your own, by the layers that hear the caption",
    ],
  );
  command.action((flags: LeakageFlags) => leakage(flags, shell));
}

/** @throws misuse RANGE, USAGE */
function check({ pictures, maxTokens, threads = 1, caption, captions, test }: LeakageFlags): void {
  const least = { pictures: [pictures, 2], "max-tokens": [maxTokens, 1], threads: [threads, 1] } as const;
  for (const [flag, [value, from]] of Object.entries(least))
    if (value < from) throw misuse("RANGE", `--${flag} must be at least ${from}, not ${value}.`);
  if (captions !== undefined && (test || caption !== "full"))
    throw misuse("USAGE", "--test and --caption are of the embedded world's scenes, not of --captions.");
}

async function picturesOf(flags: LeakageFlags, shell: Shell) {
  const { captions, images, faulty, pictures: count, caption, test, seed } = flags;
  const { conversationPictures, mismatch, scenePictures } = await import("../../evaluation/index.js");
  const found =
    captions === undefined
      ? await scenePictures({ count, caption, split: test ? "test" : "validation" })
      : await conversationPictures(captions, {
          count,
          images: images ?? dirname(captions),
          faulty,
          onWarning: (message) => shell.warn(message),
          signal: shell.signal,
        });
  return mismatch(found, seed);
}

async function leakage(flags: LeakageFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  check(flags);
  const models = namedModels(flags.model);
  const { out, question, maxTokens, layers: groups = ["all"] } = flags;
  await shell.checkWritable(out, { folder: true });
  const { contentKey, hashFolder } = await import("../../data/index.js");
  const { findLeakage, leakageReport, measureLeakage } = await import("../../evaluation/index.js");
  const { VisionLanguageModel } = await import("../../vlm/index.js");
  const pictures = await picturesOf(flags, shell);
  const template = flags.template ?? (question === undefined ? "plain" : undefined);
  const request: Omit<LeakageRequest, "pictures"> = {
    guidances: flags.guidance ?? [0, 1, 1.5, 4],
    layers: Object.fromEntries(groups.map((name) => [name, name === "all" ? undefined : name.split("+")])),
    question,
    maxTokens,
  };
  const measured: MeasuredModel[] = [];
  for (const [name, source] of models) {
    await using speaker = await VisionLanguageModel.fromPretrained(source, {
      device: flags.device,
      memory: flags.memory,
      ...(flags.threads !== undefined && { threads: flags.threads }),
      template,
      signal: shell.signal,
    });
    const told = pictures.map(({ id, caption, mismatched }) => ({ id, caption, mismatched }));
    const model = await hashFolder(source);
    const key = contentKey({ version, model, template, ...request, groups, told });
    const records = await measureLeakage(speaker, {
      ...request,
      pictures,
      ledger: join(out, `records-${key.slice(0, 16)}.jsonl`),
      signal: shell.signal,
      onProgress: (done, total) => shell.progress.show(`${name}: captions`, done, total),
    });
    const findings = findLeakage(name, records, pictures, { world: flags.captions === undefined });
    measured.push({ findings, records });
  }
  const report = await leakageReport(measured, pictures, {
    lead: leadOf(flags, pictures.length),
    request: { version, ...request, layers: groups, template, sources: Object.fromEntries(models) },
    examples: flags.examples,
  });
  await publish(report, "leakage", flags, shell);
}

function leadOf({ captions, test = false, question }: LeakageFlags, count: number): string {
  const what =
    captions !== undefined
      ? `${count} pictures with captions`
      : `${count} ${test ? "scenes of the frozen test" : "validation scenes, on which settings may be chosen"}`;
  const how =
    question === undefined
      ? "without a question, as LLaVA’s first stage shows pictures"
      : "asked for a caption";
  return `A model that is told a caption through diffusion may see better, or may read the caption back. ${what}, ${how}: what it says when diffusion is told the picture’s caption, nothing, or another picture’s caption.`;
}
