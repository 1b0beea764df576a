/** @file Patches of a picture, and their learned positions brought to other grids than the trained one. */

import type { z } from "zod";
import { constant, conv2d, matmul, reshape, type Value } from "../graph/index.js";
import { type InterpolateMode, interpolate } from "../image/index.js";
import { failure, misuse, Tensor } from "../tensor/index.js";
import type { Scope } from "../weights/index.js";
import { size, withDefault } from "./config.js";
import { toTokens } from "./layers.js";

/** Fields that the configs of all vision transformers have, with CLIP's defaults where they agree. */
export const visionFields = {
  hidden_size: withDefault(size, 768),
  num_hidden_layers: withDefault(size, 12),
  num_attention_heads: withDefault(size, 12),
  num_channels: withDefault(size, 3),
  image_size: withDefault(size, 224),
};

export interface PatchConfig {
  hiddenSize: number;
  layers: number;
  heads: number;
  channels: number;
  /** The side of the pictures that the checkpoint was trained on. */
  imageSize: number;
  patchSize: number;
  /** Patches a side of such a picture. */
  grid: number;
}

/** @throws DiffsightError CONFIG when heads or patches do not fit */
export function readPatchConfig(
  fields: z.output<z.ZodObject<typeof visionFields>>,
  patchSize: number,
  what: string,
): PatchConfig {
  const { hidden_size, image_size, num_attention_heads } = fields;
  if (hidden_size % num_attention_heads) {
    const heads = `num_attention_heads ${num_attention_heads}`;
    throw failure("CONFIG", `${what} config: hidden_size ${hidden_size} does not divide into ${heads}.`);
  }
  if (patchSize > image_size) {
    throw failure("CONFIG", `${what} config: patch_size ${patchSize} exceeds image_size ${image_size}.`);
  }
  return {
    hiddenSize: hidden_size,
    layers: fields.num_hidden_layers,
    heads: num_attention_heads,
    channels: fields.num_channels,
    imageSize: image_size,
    patchSize,
    grid: Math.floor(image_size / patchSize),
  };
}

/**
 * Patches that fit on a picture: [rows, columns].
 * @throws DiffsightError IMAGE_SIZE when not even one does
 */
export function patchGrid(
  { width, height }: { width: number; height: number },
  patchSize: number,
): [number, number] {
  if (height < patchSize || width < patchSize) {
    throw misuse(
      "IMAGE_SIZE",
      `A picture of ${width} x ${height} pixels has no patch: one takes ${patchSize} x ${patchSize}.`,
    );
  }
  return [Math.floor(height / patchSize), Math.floor(width / patchSize)];
}

/**
 * pixels [B, channels, H, W] -> patches row by row [B, rows columns, C]
 * @param w where the kernel lies, and its bias where there is one
 * @throws DiffsightError WEIGHT_MISSING, WEIGHT_SHAPE
 */
export function embedPatches(
  pixels: Value,
  w: Scope,
  { hiddenSize, channels, patchSize }: PatchConfig,
): Value {
  const kernel = w.parameter("weight", [hiddenSize, channels, patchSize, patchSize]);
  return toTokens(conv2d(pixels, kernel, w.optional("bias", [hiddenSize]), { stride: patchSize }));
}

/**
 * Positions [grid², C], row by row -> [rows columns, C]; the same where the grid is the same.
 * @param antialias whether a smaller grid averages over what it leaves out, by torch's wider kernel with a = -0.5
 */
export function resizePositions(
  positions: Value,
  grid: number,
  rows: number,
  columns: number,
  { antialias = false }: { antialias?: boolean } = {},
): Value {
  const axis = antialias ? antialiased : (from: number, to: number) => resampling(from, to, "bicubic");
  return resampleTokens(positions, [grid, grid], [rows, columns], axis);
}

/**
 * Tokens of a grid, row by row, brought to another grid, the rows first, then the columns.
 * @param tokens [..., rows columns, C]
 * @param axis the matrix [to, from] of one axis; an axis that stays is not touched
 */
export function resampleTokens(
  tokens: Value,
  [fromRows, fromColumns]: readonly [number, number],
  [rows, columns]: readonly [number, number],
  axis: (from: number, to: number) => Value,
): Value {
  const channels = tokens.dims.at(-1)!;
  const leading = tokens.dims.slice(0, -2);
  let x = tokens;
  if (rows !== fromRows) {
    x = matmul(axis(fromRows, rows), reshape(x, [...leading, fromRows, fromColumns * channels]));
  }
  if (columns !== fromColumns) {
    x = matmul(axis(fromColumns, columns), reshape(x, [...leading, rows, fromColumns, channels]));
  }
  return x === tokens ? x : reshape(x, [...leading, rows * columns, channels]);
}

/** Interpolation along one axis, as torch's, as a matrix: [to, from] */
export function resampling(from: number, to: number, mode: InterpolateMode): Value {
  const basis = new Float32Array(from * from);
  for (let i = 0; i < from; i++) basis[i * from + i] = 1;
  const columns = interpolate(Tensor.f32([1, from, from], basis), [to, from], mode);
  return constant(columns.reshape([to, from]));
}

/** The same as torch's `interpolate(antialias=True)`: Keys' kernel, as wide as the step, its weights summing to 1. */
function antialiased(from: number, to: number): Value {
  const step = from / to;
  const width = Math.max(step, 1);
  const weights = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const centre = step * (i + 0.5);
    const first = Math.max(0, Math.trunc(centre - 2 * width + 0.5));
    const end = Math.min(from, Math.trunc(centre + 2 * width + 0.5));
    const reach = Array.from({ length: end - first }, (_, k) => keys((k + first - centre + 0.5) / width));
    const total = reach.reduce((sum, weight) => sum + weight, 0);
    for (const [k, weight] of reach.entries()) weights[i * from + first + k] = weight / total;
  }
  return constant(Tensor.f32([to, from], weights));
}

function keys(distance: number): number {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}
