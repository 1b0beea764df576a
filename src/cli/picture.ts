/** @file `diffsight picture`: what extracted features look like. */

import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { FeatureKind, Fit, RgbImage } from "../image/index.js";
import { decodeNpy, decodeSafetensors, failure, misuse, type Tensor } from "../tensor/index.js";
import { examples, list, oneOf, outputFlags, repeated, wholeNumber } from "./flags.js";
import { readImage } from "./images.js";
import type { OutputFlags, Shell } from "./shell.js";

const kinds = ["pca", "norm", "delta", "similarity"] as const satisfies readonly FeatureKind[];

interface PictureFlags extends OutputFlags {
  out: string;
  kind?: FeatureKind[];
  tensor?: string[];
  image?: string;
  point?: { x: number; y: number };
  side: number;
  smooth?: boolean;
  title?: string;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<features> -o <png> [flags]")
    .description(
      "A picture of features, one row per tensor: principal components as colours, norms, what the text changed, and the " +
        "similarity of all places to one.",
    )
    .argument(
      "<features>",
      "a file of `extract`, or any .safetensors or .npy with [channels, height, width] tensors",
    )
    .optionsGroup("What:")
    .requiredOption("-o, --out <png>", "where the picture goes; - for stdout")
    .option("-k, --kind <name>", `${kinds.join(", ")}; repeatable (default: all)`, list(oneOf(kinds)))
    .option("--tensor <text>", "only tensors whose name holds this; repeatable", repeated)
    .option("--image <file>", "the image that the features are of, to show beside them")
    .option(
      "--point <x,y>",
      "the place for similarity, as shares of width and height (default: 0.5,0.5)",
      point,
    )
    .option("--side <px>", "longer side of each picture", wholeNumber, 192)
    .option("--smooth", "smooth between the cells")
    .option("--title <text>", "above the picture (default: the prompt, or the file's name)");
  outputFlags(command);
  examples(
    command,
    ["picture photo.safetensors --image photo.jpg -o photo-features.png", "all kinds, beside the photo"],
    [
      "picture photo.safetensors --kind similarity --point 0.3,0.6 --smooth -o like-the-dog.png",
      "which places resemble one",
    ],
  );
  command.action((file: string, flags: PictureFlags) => picture(file, flags, shell));
}

function point(text: string): { x: number; y: number } {
  const parts = text.split(",").map(Number);
  const [x, y] = parts;
  if (parts.length !== 2 || !(x! >= 0 && x! <= 1 && y! >= 0 && y! <= 1))
    throw new InvalidArgumentError('A point is two shares from 0 to 1, such as "0.3,0.6".');
  return { x: x!, y: y! };
}

async function picture(file: string, flags: PictureFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { out, kind, side, point, smooth } = flags;
  if (out !== "-" && extname(out).toLowerCase() !== ".png")
    throw misuse("OUT", `--out ${out}: the picture is a PNG; give a name that ends in .png.`);
  await shell.checkWritable(out);
  if (side < 16 || side > 4096) throw misuse("RANGE", `--side goes from 16 to 4096 pixels, not ${side}.`);
  const { tensors, request } = await readFeatures(file);
  const chosen = [...tensors].filter(
    ([name]) => flags.tensor === undefined || flags.tensor.some((text) => name.includes(text)),
  );
  if (chosen.length === 0) {
    const names = [...tensors.keys()].join(", ");
    throw misuse(
      "UNKNOWN_TENSOR",
      `No tensor's name holds "${flags.tensor?.join('", "')}". There are: ${names}.`,
    );
  }
  const { encodePng, featureSheet } = await import("../image/index.js");
  const sheet = featureSheet(new Map(chosen), {
    ...(flags.image !== undefined && { image: await asSeen(flags.image, request) }),
    ...(kind && { kinds: kind }),
    ...(point && { point }),
    side,
    smooth: smooth ?? false,
    title: flags.title ?? (typeof request.prompt === "string" ? `“${request.prompt}”` : basename(file)),
  });
  await shell.write(out, encodePng(sheet));
  if (out !== "-") shell.line(out);
}

/** What an `extract` recorded of its request, as far as it is needed here. */
interface Request {
  prompt?: unknown;
  size?: unknown;
  fit?: unknown;
}

async function readFeatures(file: string): Promise<{ tensors: Map<string, Tensor>; request: Request }> {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    const what = cause.code === "ENOENT" ? "there is no such file" : cause.message;
    throw failure("FILE_NOT_FOUND", `${file} cannot be read: ${what}.`, cause);
  });
  if (bytes.subarray(1, 6).toString("latin1") === "NUMPY")
    return { tensors: new Map([[basename(file, extname(file)), decodeNpy(bytes)]]), request: {} };
  const { tensors, metadata } = decodeSafetensors(bytes);
  return { tensors, request: parseRequest(metadata.diffsight) };
}

function parseRequest(text: string | undefined): Request {
  try {
    const request: unknown = JSON.parse(text ?? "{}");
    return typeof request === "object" && request !== null ? request : {};
  } catch {
    return {};
  }
}

/** The image in the geometry in which the network saw it, if the features tell. */
async function asSeen(file: string, { size, fit }: Request): Promise<RgbImage> {
  const { decodeImage, fitImage, fits } = await import("../image/index.js");
  const image = await decodeImage(await readImage(file));
  if (!Array.isArray(size) || !size.every((side) => Number.isInteger(side) && side > 0)) return image;
  const [width, height] = size as [number, number];
  const way = fits.includes(fit as Fit) ? (fit as Fit) : "squash";
  return fitImage(image, { width, height, fit: way, filter: "lanczos" });
}
