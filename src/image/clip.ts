/** @file Pixels for CLIP and its kin, as a `preprocessor_config.json` asks (transformers' processors of the PIL backend). */

import { z } from "zod";
import { failure, misuse, type Tensor } from "../tensor/index.js";
import { coveringSize, cropCentre, type Fit, padToSquare, type Size } from "./fit.js";
import type { Colour, RgbImage } from "./image.js";
import { type ByteTables, planes } from "./planes.js";
import { processorDefaults } from "./processors.js";
import { type ResizeFilter, resize } from "./resize.js";

/** PIL's numbers of the filters. */
const filters: Record<number, ResizeFilter> = { 1: "lanczos", 2: "bilinear", 3: "bicubic" };

const side = z.number().int().positive();
const rectangle = z.strictObject({ height: side, width: side });
/** A single number is every channel's. */
const triple = z.union([
  z.tuple([z.number(), z.number(), z.number()]),
  z.number().transform((n): [number, number, number] => [n, n, n]),
]);

/** Older files give a plain number: for `size` see `withDefaults`, of `crop_size` both sides. */
const schema = z.object({
  do_resize: z.boolean().default(true),
  size: z.union([
    z.strictObject({ shortest_edge: side }),
    rectangle,
    side.transform((n) => ({ shortest_edge: n })),
  ]),
  resample: z.literal([1, 2, 3]).default(3),
  do_center_crop: z.boolean().nullish(),
  crop_size: z
    .union([rectangle, side.transform((n) => ({ height: n, width: n }))])
    .default({ height: 224, width: 224 }),
  do_rescale: z.boolean().default(true),
  rescale_factor: z.number().default(1 / 255),
  do_normalize: z.boolean().nullish().default(true),
  image_mean: triple,
  image_std: triple,
  /** LLaVA's alone: filled up to a square first. */
  do_pad: z.boolean().nullish(),
});

/** How an image becomes numbers; fields as in `preprocessor_config.json`. */
export type PreprocessorConfig = z.output<typeof schema>;

/**
 * Reads a `preprocessor_config.json`; what it leaves out is its own kind's (CLIP's, DINOv2's, LLaVA's, SigLIP's or
 * ViT's). A step that is null (`do_resize` ...) is not taken; any other null says nothing.
 * @throws DiffsightError CONFIG that names the fields that are wrong or not supported
 */
export function readPreprocessorConfig(json: unknown): PreprocessorConfig {
  const fields = typeof json === "object" && json !== null ? stated(json) : undefined;
  const { data, error } = schema.safeParse(fields ? withDefaults(fields) : json);
  if (data) return data;
  const issues = error.issues.map(({ path, message }) => `${path.join(".") || "the file"}: ${message}`);
  throw failure("CONFIG", `The preprocessor config is not supported: ${issues.join("; ")}`);
}

/** A plain number for `size` is the short side, of kinds whose pictures are square both sides. */
function withDefaults(fields: Record<string, unknown>): object {
  const own = processorDefaults(fields);
  const { size } = fields;
  const isSquare = typeof size === "number" && "height" in own.size;
  return { ...own, ...fields, ...(isSquare && { size: { height: size, width: size } }) };
}

function stated(json: object): Record<string, unknown> {
  const fields = Object.entries(json).flatMap(([name, value]) => {
    if (value !== null) return [[name, value] as const];
    return name.startsWith("do_") ? [[name, false] as const] : [];
  });
  return Object.fromEntries(fields);
}

/** The config for pictures of another side that the network sees; what is cut off keeps its share. */
export function withSide(config: PreprocessorConfig, side: number, fit: Fit): PreprocessorConfig {
  const { size, do_center_crop } = config;
  const own = finalSize(config);
  const square = { height: side, width: side };
  const scaled = (length: number) => Math.round((length * side) / Math.min(own.width, own.height));
  const isCropped = fit === "crop" && "shortest_edge" in size;
  return {
    ...config,
    do_resize: true,
    size: isCropped ? { shortest_edge: do_center_crop ? scaled(size.shortest_edge) : side } : square,
    crop_size: square,
  };
}

/**
 * Prepares an image for CLIP, SigLIP or DINOv2.
 * @param config from readPreprocessorConfig
 * @param fit `crop`: resize and centre crop as the config says; `pad`: filled up to a square with the config's mean
 *   colour first, as LLaVA does; `squash`: distorted to the final size. Default: `pad` where the config has `do_pad`
 * @returns f32 [1, 3, height, width]
 */
export function clipPixels(image: RgbImage, config: PreprocessorConfig, fit = usualFit(config)): Tensor {
  return planes(clipImage(image, config, fit), byteTables(config));
}

/**
 * `clipPixels` of exactly the size that a network takes.
 * @throws misuse FIT naming the config's fields that give this picture another one
 */
export function networkPixels(
  image: RgbImage,
  config: PreprocessorConfig,
  fit = usualFit(config),
  { width, height }: Size = finalSize(config),
): Tensor {
  const seen = clipImage(image, config, fit);
  if (seen.width === width && seen.height === height) return planes(seen, byteTables(config));
  const { do_resize, do_center_crop, size, crop_size } = config;
  const fields = {
    do_resize,
    ...(do_resize && { size }),
    do_center_crop: do_center_crop ?? false,
    ...(do_center_crop && { crop_size }),
  };
  const means = do_resize && !do_center_crop ? '"pad" or "squash"' : '"squash"';
  throw misuse(
    "FIT",
    `A picture of ${image.width} x ${image.height} becomes ${seen.width} x ${seen.height} where the encoder takes ` +
      `${width} x ${height}: its image processor has ${JSON.stringify(fields)}. Take the fit ${means}, or change ` +
      "these fields.",
  );
}

/** What a config asks for. */
export const usualFit = ({ do_pad }: PreprocessorConfig): Fit => (do_pad ? "pad" : "crop");

/** The picture that CLIP sees: `clipPixels` before its bytes become numbers. */
export function clipImage(image: RgbImage, config: PreprocessorConfig, fit = usualFit(config)): RgbImage {
  const { do_resize, size, do_center_crop, crop_size } = config;
  const filter = filters[config.resample]!;
  if (fit === "squash") {
    const { width, height } = finalSize(config);
    return resize(image, width, height, filter);
  }
  let seen = fit === "pad" ? padToSquare(image, meanColour(config)) : image;
  if (do_resize) {
    const { width, height } = "width" in size ? size : shortSide(seen, size.shortest_edge);
    seen = resize(seen, width, height, filter);
  }
  return do_center_crop ? cropCentre(seen, crop_size.width, crop_size.height) : seen;
}

/** What a square picture ends as; with `squash` any. */
export function finalSize({ do_center_crop, size, crop_size }: PreprocessorConfig): Size {
  if (do_center_crop) return crop_size;
  return "shortest_edge" in size ? { width: size.shortest_edge, height: size.shortest_edge } : size;
}

function shortSide(image: Size, edge: number): Size {
  return coveringSize(image, { width: edge, height: edge });
}

/** LLaVA: tuple(int(x * 255) for x in image_mean) */
function meanColour({ image_mean }: PreprocessorConfig): Colour {
  const [red, green, blue] = image_mean.map((mean) => Math.trunc(mean * 255));
  return [red!, green!, blue!];
}

/** What each byte becomes: numpy scales in double precision, and normalizes in single precision. */
function byteTables(config: PreprocessorConfig): ByteTables {
  const { do_rescale, rescale_factor, do_normalize, image_mean, image_std } = config;
  const table = (channel: 0 | 1 | 2) => {
    const [mean, std] = [Math.fround(image_mean[channel]), Math.fround(image_std[channel])];
    return Float32Array.from({ length: 256 }, (_, byte) => {
      const value = Math.fround(do_rescale ? byte * rescale_factor : byte);
      return do_normalize ? Math.fround(value - mean) / std : value;
    });
  };
  return [table(0), table(1), table(2)];
}
