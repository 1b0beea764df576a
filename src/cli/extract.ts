/** @file `diffsight extract`: features of images, written as safetensors or npy. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import type { DiffusionEncoder, EncodeOptions, Features, Part } from "../diffusion/index.js";
import type { RawImage } from "../image/index.js";
import { failure, misuse } from "../tensor/index.js";
import {
  chooseTarget,
  currentEntry,
  type Entry,
  type Manifest,
  readManifest,
  type Target,
  writeFeatures,
} from "./feature-files.js";
import {
  examples,
  type ImageFlags,
  imageFlags,
  list,
  type ModelFlags,
  modelFlags,
  oneOf,
  outputFlags,
  realNumber,
  wholeNumber,
} from "./flags.js";
import { expandImages, isOfImage, type NamedImage, readImage } from "./images.js";
import { openEncoder } from "./open.js";
import { imageOptions } from "./request.js";
import type { Shell } from "./shell.js";
import { version } from "./version.js";

const partNames = ["guided", "conditional", "unconditional", "delta"] as const satisfies readonly Part[];

interface ExtractFlags extends ModelFlags, ImageFlags {
  out: string;
  prompt?: string;
  prompts?: string;
  tap?: string[];
  timestep?: number[];
  guidance?: number;
  part?: Part[];
  ensemble: number;
  pool?: number;
  format?: "safetensors" | "npy";
  resume?: boolean;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<image...> -o <path> [flags]")
    .description(
      "Features of images: what the U-Net computes inside while it looks at each image under a text.\n\n" +
        "The tensors are called <tap>/t<timestep>/<part>, of shape [channels, height, width].",
    )
    .argument("<image...>", 'files, folders, patterns such as "photos/*.jpg", addresses, or - for stdin')
    .optionsGroup("What:")
    .requiredOption(
      "-o, --out <path>",
      "a file for one image, else a folder (gets manifest.json); - for stdout",
    )
    .option("-p, --prompt <text>", "what to look for: a caption or a question")
    .option("--prompts <file>", "one prompt per image: the lines of this file, in the order of the images")
    .option(
      "-t, --tap <name>",
      "where in the network (see diffsight taps); repeatable (default: U-L1-R1-B0-Cross-Q)",
      list(String),
    )
    .option("--timestep <t>", "how much noise, 0 to 999; repeatable (default: 50)", list(wholeNumber))
    .option(
      "-g, --guidance <s>",
      "strength s of the text: u + s (c - u) (default: 4 with a prompt, else 0)",
      realNumber,
    )
    .option("--part <name>", `${partNames.join(", ")}; repeatable (default: guided)`, list(oneOf(partNames)))
    .option("--ensemble <n>", "average over n draws of noise", wholeNumber, 1)
    .option("--pool <n>", "bring every grid to n x n", wholeNumber);
  imageFlags(command);
  modelFlags(command);
  outputFlags(command, { json: "print the manifest as JSON" })
    .addOption(
      new Option("--format <type>", "of the files")
        .choices(["safetensors", "npy"])
        .default(undefined, "by the ending of --out, else safetensors"),
    )
    .option("--resume", "skip images whose features are there already, from an equal request");
  examples(
    command,
    [
      'extract photo.jpg --prompt "is the dog facing left?" -o photo.safetensors',
      "features steered by a question",
    ],
    [
      "extract photos/ --tap U-L1-R1-B0-Cross-Q,U-L2-R2-Res-Out --timestep 50,250 -o features/",
      "two taps at two timesteps for a whole folder, without a text",
    ],
  );
  command.action((images: string[], flags: ExtractFlags) => extract(images, flags, shell));
}

/** Images that are encoded together when memory is low: a part of the model is loaded once for all of them. */
const lowMemoryBatch = 8;

/** Milliseconds between two savings of the manifest. */
const saveEvery = 5_000;

/** An image that has been read. */
interface Job {
  image: NamedImage;
  prompt: string | undefined;
  pixels: RawImage;
}

async function extract(args: readonly string[], flags: ExtractFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const images = await expandImages(args);
  const target = await chooseTarget(flags.out, images.length, flags.format);
  await shell.checkWritable(target.path, { folder: target.isFolder });
  const prompts = await promptsFor(images, flags);
  const timesteps = flags.timestep ?? [50];
  const { ensemble, tap } = flags;
  const encoding: EncodeOptions = {
    ...(tap && { taps: tap }),
    timesteps,
    guidance: flags.guidance,
    parts: flags.part ?? ["guided"],
    ensemble,
    pool: flags.pool,
    ...imageOptions(flags, shell),
  };

  const passes = images.length * timesteps.length * ensemble * (prompts[0] === undefined ? 1 : 2);
  await using encoder = await openEncoder(flags, shell, passes);
  const { decodeImage } = await import("../image/index.js");
  const before = flags.resume ? await readManifest(target) : undefined;
  const wanted = flags.resume ? await wantedRequest(encoder, encoding, prompts[0]) : {};

  // What an earlier run did stays listed until it is done anew.
  const entries = new Map((before?.images ?? []).map((entry) => [entry.image, entry]));
  const failed: Manifest["failed"] = [];
  const manifest = (): Manifest => ({
    format: "diffsight-features",
    version,
    images: [...entries.values()],
    failed,
  });
  let saved = Date.now();
  let done = 0;
  let skipped = 0;
  const save = async () => {
    saved = Date.now();
    const text = `${JSON.stringify(manifest(), null, 1)}\n`;
    if (target.isFolder) await shell.write(join(target.path, "manifest.json"), text);
  };
  const fail = (image: NamedImage, error: unknown) => {
    if (images.length === 1 || !isOfImage(error)) throw error;
    entries.delete(image.source);
    failed.push({ image: image.source, error: error.message });
    shell.error(error);
  };
  const encode = async (jobs: readonly Job[]): Promise<void> => {
    const pixels = jobs.map((job) => job.pixels);
    const prompt = prompts[0] === undefined ? undefined : jobs.map((job) => job.prompt!);
    let results: Features[] = [];
    try {
      if (jobs.length > 0) results = await encoder.encode(pixels, { ...encoding, prompt });
    } catch (error) {
      // Of several, one may be to blame: it is found by taking each alone.
      if (jobs.length > 1 && isOfImage(error)) for (const job of jobs) await encode([job]);
      else fail(jobs[0]!.image, error);
    }
    for (const [i, features] of results.entries()) {
      const entry = await writeFeatures(jobs[i]!.image, features, target, shell);
      entries.set(entry.image, entry);
      done++;
      if (!flags.json && target.path !== "-") print(entry, target, images.length, shell);
    }
  };

  const batch = flags.memory === "low" ? lowMemoryBatch : 1;
  let waiting: Job[] = [];
  try {
    for (const [i, image] of images.entries()) {
      const prompt = prompts[i];
      const there =
        flags.resume && (await currentEntry(image, { ...wanted, prompt: prompt ?? null }, target, before));
      if (there) {
        entries.set(there.image, there);
        skipped++;
        continue;
      }
      shell.progress.item(i, images.length, image.source);
      try {
        const name = image.source === "-" ? "from stdin" : `"${image.source}"`;
        const pixels = await decodeImage(await readImage(image.source), { name, signal: shell.signal });
        waiting.push({ image, prompt, pixels: { ...pixels, channels: 3 } });
      } catch (error) {
        fail(image, error);
      }
      if (waiting.length >= batch) {
        await encode(waiting);
        waiting = [];
      }
      if (Date.now() - saved > saveEvery) await save();
    }
    await encode(waiting);
  } finally {
    if (done + skipped > 0) await save();
  }
  if (flags.json) shell.json(manifest());
  if (images.length > 1 || skipped > 0) {
    const counts = [`${done} of ${images.length} images done`];
    if (skipped > 0) counts.push(`${skipped} already there`);
    if (failed.length > 0) counts.push(`${failed.length} failed`);
    shell.note(`${counts.join(", ")}.`);
  }
  if (failed.length > 0) process.exitCode = 1;
}

function print({ file, tensors }: Entry, { path, isFolder }: Target, images: number, shell: Shell): void {
  shell.line(isFolder ? join(path, file) : path);
  if (images > 1) return;
  for (const [name, { shape }] of Object.entries(tensors))
    shell.line(shell.dim(`  ${name}  [${shape.join(", ")}]`));
}

/** What a request's record must say so that its features need not be computed again. */
async function wantedRequest(
  encoder: DiffusionEncoder,
  { taps, timesteps, guidance, parts, seed, ensemble, vae, size = encoder.size, fit, pool }: EncodeOptions,
  prompt: string | undefined,
): Promise<Record<string, unknown>> {
  const { defaultTap, normalizeId } = await import("../diffusion/index.js");
  return {
    version,
    model: encoder.source,
    taps: (taps ?? [defaultTap]).map(normalizeId),
    timesteps,
    guidance: guidance ?? (prompt === undefined ? 0 : 4),
    parts,
    seed,
    ensemble,
    vae,
    ...(fit !== "native" && { size: typeof size === "number" ? [size, size] : size }),
    fit,
    pool: pool ?? null,
  };
}

async function promptsFor(
  images: readonly NamedImage[],
  { prompt, prompts }: ExtractFlags,
): Promise<(string | undefined)[]> {
  if (prompts === undefined) return images.map(() => prompt);
  if (prompt !== undefined) throw misuse("PROMPT", "Give --prompt or --prompts, not both.");
  const text = await readFile(prompts, "utf8").catch(() => {
    throw failure("FILE_NOT_FOUND", `The file of prompts ${prompts} cannot be read.`);
  });
  const lines = text.replace(/\r?\n$/, "").split(/\r?\n/);
  if (lines.length !== images.length)
    throw misuse("PROMPT", `${prompts} has ${lines.length} lines, and there are ${images.length} images.`);
  return lines;
}
