/** @file Flags that several verbs share, and how their values are read. */

import { availableParallelism } from "node:os";
import { basename, resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { misuse } from "../tensor/index.js";
import type { OutputFlags } from "./shell.js";

/** What every verb that takes a model takes. */
export interface ModelFlags extends OutputFlags {
  model?: string;
  device: "auto" | "cpu" | "webgpu" | "cuda";
  dtype: "auto" | "f32" | "f16" | "bf16";
  threads?: number;
  memory: "auto" | "fast" | "mmap" | "low";
  revision?: string;
  variant?: string;
  localFilesOnly?: boolean;
  cacheDir?: string;
}

/** What every verb that looks at images takes. */
export interface ImageFlags {
  seed: number;
  size?: number | readonly [number, number];
  fit: "squash" | "crop" | "pad" | "native";
  vae: "mean" | "sample";
}

/** What the verbs that look at the cross-attention take. */
export interface AttentionFlags extends ModelFlags, ImageFlags {
  timestep?: number[];
  layer?: string[];
  json?: boolean;
}

/** Where models come from: --revision, --variant, --cache-dir, --local-files-only. */
export function sourceFlags(command: Command): Command {
  return command
    .optionsGroup("Model:")
    .option("--revision <name>", "branch, tag or commit of an id")
    .option("--variant <name>", "prefer weight files of this variant, such as fp16")
    .option("--cache-dir <folder>", "the hub's cache (default: HF_HUB_CACHE, or ~/.cache/huggingface/hub)")
    .option("--local-files-only", "never use the network");
}

/** -m, --device ... @param kind what a model is, for the help */
export function modelFlags(command: Command, kind = "a diffusers pipeline"): Command {
  command
    .optionsGroup("Model:")
    .option("-m, --model <path|id>", `folder of ${kind}, or its id on the hub (default: the embedded one)`);
  return computingFlags(sourceFlags(command)).addOption(
    new Option("--dtype <type>", "numbers to compute in: f32 for now, whatever the weights are stored in")
      .choices(["auto", "f32", "f16", "bf16"])
      .default("auto"),
  );
}

/** --device, --memory, --threads. */
export function computingFlags(command: Command): Command {
  return command
    .optionsGroup("Computing:")
    .addOption(
      new Option("--device <name>", "where to compute")
        .choices(["auto", "cpu", "webgpu", "cuda"])
        .default("auto"),
    )
    .addOption(
      new Option("--memory <preset>", "fast: prepared weights; mmap: starts at once; low: least memory")
        .choices(["auto", "fast", "mmap", "low"])
        .default("auto"),
    )
    .option("--threads <n>", "threads of the CPU (default: all)", wholeNumber);
}

/** --threads, of the verbs that train and judge. */
export function threadsFlag(command: Command): Command {
  return command
    .optionsGroup("Computing:")
    .option("--threads <n>", "threads that compute side by side", wholeNumber, availableParallelism());
}

/** --seed, --size, --fit, --vae. */
export function imageFlags(command: Command): Command {
  return command
    .optionsGroup("Image:")
    .option("--size <px|WxH>", "size at which the network sees the image (default: the model's own)", size)
    .addOption(
      new Option("--fit <way>", "how the image is brought to that size; native keeps its own")
        .choices(["squash", "crop", "pad", "native"])
        .default("squash"),
    )
    .addOption(
      new Option("--vae <way>", "take the mean of the encoded image, or a sample")
        .choices(["mean", "sample"])
        .default("mean"),
    )
    .option("--seed <n>", "seed of the noise, as torch's", wholeNumber, 0);
}

/** --timestep, --layer. @param timesteps those that are taken where none is named, for the help */
export function attentionFlags(command: Command, timesteps: string): Command {
  return command
    .option(
      "--timestep <t>",
      `how much noise, 0 to 999; repeatable, the mean is taken (default: ${timesteps})`,
      list(wholeNumber),
    )
    .option(
      "--layer <name>",
      "a cross-attention such as U-L1-R1-B0-Cross, or the beginning of several such as U-L1; repeatable (default: all)",
      list(String),
    );
}

/** --json where wanted, -q, --no-color. */
export function outputFlags(command: Command, { json }: { json?: string } = {}): Command {
  command.optionsGroup("Output:");
  if (json) command.option("--json", json);
  return command
    .option("-q, --quiet", "no progress and no notes")
    .option("--no-color", "no colours (also NO_COLOR)");
}

/** Adds examples below the help: pairs of a command line (without "diffsight") and what it does. */
export function examples(
  command: Command,
  ...pairs: readonly (readonly [line: string, what: string])[]
): Command {
  const lines = pairs.map(([line, what]) => `  $ diffsight ${line}\n      ${what}`);
  return command.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value))
    throw new InvalidArgumentError("A whole number is wanted.");
  return value;
}

export function realNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("A number is wanted.");
  return value;
}

/** "512" or "768x512". */
export function size(text: string): number | [number, number] {
  const sides = /^(\d+)(?:\s*[x×]\s*(\d+))?$/i.exec(text.trim());
  if (!sides) throw new InvalidArgumentError('A size is "512", or width x height such as "768x512".');
  const [, width, height] = sides;
  return height === undefined ? Number(width) : [Number(width), Number(height)];
}

/** Collects a flag that may be repeated and may hold several values with commas between them. */
export function list<T>(read: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  return (text, before = []) => [
    ...before,
    ...text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "")
      .map(read),
  ];
}

/** Collects a flag that may be repeated, each value as it is: texts hold commas. */
export function repeated(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/**
 * "with=runs/a" -> ["with", "runs/a"]; of a path alone its last part is the name.
 * @throws misuse MODELS where two are called alike
 */
export function namedModels(texts: readonly string[]): [name: string, source: string][] {
  const models = texts.map((text): [string, string] => {
    const [, name, source] = /^([\p{L}\p{N}][\p{L}\p{N} ._-]*)=(.+)$/u.exec(text) ?? [];
    return name && source ? [name, source] : [basename(resolve(text)), text];
  });
  const names = models.map(([name]) => name);
  if (new Set(names).size < names.length)
    throw misuse("MODELS", `Two models are called alike (${names.join(", ")}): -m name=path names them.`);
  return models;
}

export function oneOf<T extends string>(values: readonly T[]): (text: string) => T {
  return (text) => {
    if (!values.includes(text as T)) throw new InvalidArgumentError(`Allowed are ${values.join(", ")}.`);
    return text as T;
  };
}
