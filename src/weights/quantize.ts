/**
 * @file Matrices of 4 or 8 bits: each run of `block` weights of a row is a scale times whole numbers. The bytes lie as
 * onnxruntime's MatMulNBits reads them.
 * @see https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
 */

import { byteSize, count, type Dims, failure, formatDims, misuse, Tensor } from "../tensor/index.js";

export interface Quantization {
  bits: 4 | 8;
  /** Weights that share a scale: a power of 2 from 16. */
  block: number;
}

export interface QuantizedMatrix {
  /** u8 [out, in / block, block * bits / 8]: whole numbers from the middle of their range on, low bits first. */
  weight: Tensor;
  /** f32 [out, in / block] */
  scales: Tensor;
  /** Σ (w - ŵ)² and Σ w² */
  error: number;
  size: number;
}

/** Shapes of what a matrix [out, in] becomes. */
export function quantizedShapes(dims: Dims, { bits, block }: Quantization): { weight: Dims; scales: Dims } {
  const [out, terms] = dims as [number, number];
  const blocks = terms / block;
  return { weight: [out, blocks, (block * bits) / 8], scales: [out, blocks] };
}

/** Whether a tensor can be quantised so: a matrix whose rows divide into blocks. */
export function isQuantizable(dims: Dims, { block }: Quantization): boolean {
  return dims.length === 2 && dims[1]! % block === 0;
}

/** @throws DiffsightError QUANTIZE that names the allowed values */
export function checkQuantization({ bits, block }: { bits: number; block: number }): void {
  if (bits !== 4 && bits !== 8)
    throw misuse("QUANTIZE", `Weights are quantised to 4 or 8 bits, not ${bits}.`);
  if (!Number.isInteger(Math.log2(block)) || block < 16 || block > 256) {
    throw misuse("QUANTIZE", `Blocks are of 16, 32, 64, 128 or 256 weights, not ${block}.`);
  }
}

/** Parts of the largest weight's step that are tried: a smaller one cuts the largest weights off, and rounds the others less. */
const trials = { 4: [1, 0.94, 0.88, 0.82], 8: [1] };

/**
 * The scale of each block is the best for the whole numbers that a few steps give, by least squares.
 * @param matrix [out, in] of f32, f16 or bf16
 */
export function quantizeMatrix(matrix: Tensor, { bits, block }: Quantization): QuantizedMatrix {
  checkQuantization({ bits, block });
  const { dtype, dims } = matrix;
  if (!isQuantizable(dims, { bits, block })) {
    throw failure("QUANTIZE", `A tensor ${formatDims(dims)} has no rows of blocks of ${block}.`);
  }
  const [out, terms] = dims as [number, number];
  const shapes = quantizedShapes(dims, { bits, block });
  const packed = new Uint8Array(count(shapes.weight));
  const scales = new Float32Array(count(shapes.scales));
  const wholes = new Int8Array(block);
  let [error, size] = [0, 0];
  for (let row = 0; row < out; row++) {
    const bits16 = matrix.data.subarray(row * terms, (row + 1) * terms) as Float32Array;
    const weights = new Tensor(dtype, [terms], bits16).toFloat32();
    for (let from = 0; from < terms; from += block) {
      const own = weights.subarray(from, from + block);
      const at = (row * terms + from) / block;
      const found = quantizeBlock(own, bits, wholes);
      scales[at] = found.scale;
      error += found.error;
      size += found.size;
      pack(wholes, bits, packed.subarray((at * block * bits) / 8, ((at + 1) * block * bits) / 8));
    }
  }
  const weight = new Tensor("u8", shapes.weight, packed);
  return { weight, scales: Tensor.f32(shapes.scales, scales), error, size };
}

/** Writes the whole numbers of one block. */
function quantizeBlock(
  weights: Float32Array,
  bits: 4 | 8,
  wholes: Int8Array,
): { scale: number; error: number; size: number } {
  const least = -(2 ** (bits - 1));
  let [extreme, size] = [0, 0];
  for (const weight of weights) {
    if (Math.abs(weight) > Math.abs(extreme)) extreme = weight;
    size += weight * weight;
  }
  if (!Number.isFinite(size)) throw failure("QUANTIZE", "A weight is no finite number.");
  let [best, share, scale] = [0, -1, 0];
  if (extreme !== 0) {
    for (const part of trials[bits]) {
      // The largest weight gets the number that has no opposite.
      const inverse = least / (extreme * part);
      let [along, squares] = [0, 0];
      for (let i = 0; i < weights.length; i++) {
        const whole = rounded(weights[i]! * inverse, least);
        along += weights[i]! * whole;
        squares += whole * whole;
      }
      // With the scale along / squares the error is size - along² / squares.
      if ((along * along) / squares <= share) continue;
      share = (along * along) / squares;
      scale = Math.fround(along / squares);
      best = inverse;
    }
  }
  let error = 0;
  for (let i = 0; i < weights.length; i++) {
    const whole = rounded(weights[i]! * best, least);
    wholes[i] = whole;
    error += (weights[i]! - scale * whole) ** 2;
  }
  return { scale, error, size };
}

/** The nearest whole number from `least` to its opposite's neighbour. */
function rounded(x: number, least: number): number {
  // Whole parts are cut by bits, several times as fast as Math.round.
  const fromLeast = (x - least + 0.5) | 0;
  return (fromLeast < 0 ? 0 : fromLeast > -2 * least - 1 ? -2 * least - 1 : fromLeast) + least;
}

function pack(wholes: Int8Array, bits: 4 | 8, to: Uint8Array): void {
  const middle = 2 ** (bits - 1);
  for (let i = 0; i < to.length; i++) {
    to[i] =
      bits === 8 ? wholes[i]! + middle : (wholes[2 * i]! + middle) | ((wholes[2 * i + 1]! + middle) << 4);
  }
}

/** The matrix that the whole numbers stand for: f32 [out, in] */
export function dequantizeMatrix(
  { weight, scales }: Pick<QuantizedMatrix, "weight" | "scales">,
  block: number,
): Tensor {
  const [out, blocks, bytes] = weight.dims as [number, number, number];
  const bits = (8 * bytes * byteSize("u8")) / block;
  const packed = weight.data as Uint8Array;
  const factors = scales.toFloat32();
  const data = Float32Array.from({ length: out * blocks * block }, (_, i) => {
    const whole = bits === 8 ? packed[i]! - 128 : ((packed[i >> 1]! >> (4 * (i & 1))) & 15) - 8;
    return whole * factors[Math.floor(i / block)]!;
  });
  return Tensor.f32([out, blocks * block], data);
}
