/** @file How alike features are: CKA of two encoders, cosines of pictures, norms and register tokens. */

import { normMap } from "../image/index.js";
import { formatDims, misuse, Tensor } from "../tensor/index.js";

function matrix(x: Tensor, name: string): { values: Float32Array; rows: number; columns: number } {
  const [rows, columns] = x.dims;
  if (x.dims.length !== 2 || rows! < 2) {
    throw misuse("SHAPE", `${name} must be a matrix of at least two rows, not ${formatDims(x.dims)}.`);
  }
  return { values: x.toFloat32(), rows: rows!, columns: columns! };
}

/** Products of every two rows, in f64. [N, C] -> N x N */
function gram(x: Tensor, name: string, { centred }: { centred: boolean }): Float64Array {
  const { values, rows, columns } = matrix(x, name);
  const data = Float64Array.from(values);
  if (centred) {
    for (let c = 0; c < columns; c++) {
      let mean = 0;
      for (let r = 0; r < rows; r++) mean += data[r * columns + c]! / rows;
      for (let r = 0; r < rows; r++) data[r * columns + c]! -= mean;
    }
  }
  const products = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += data[i * columns + c]! * data[j * columns + c]!;
      products[i * rows + j] = sum;
      products[j * rows + i] = sum;
    }
  }
  return products;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** HSIC of two Gram matrices without the bias that few samples bring. */
function unbiasedHsic(k: Float64Array, l: Float64Array, n: number): number {
  const rowSums = (g: Float64Array) =>
    Float64Array.from({ length: n }, (_, i) => g.subarray(i * n, (i + 1) * n).reduce((a, b) => a + b, 0));
  const [a, b] = [rowSums(k), rowSums(l)];
  const total = (sums: Float64Array) => sums.reduce((x, y) => x + y, 0);
  return dot(k, l) + (total(a) * total(b)) / ((n - 1) * (n - 2)) - (2 / (n - 2)) * dot(a, b);
}

/** One representation's Gram matrix, as CKA takes it. */
function kernel(x: Tensor, name: string, debiased: boolean): Float64Array {
  const n = x.dims[0]!;
  if (debiased && n < 4) throw misuse("SHAPE", `The debiased CKA needs at least four rows, not ${n}.`);
  const products = gram(x, name, { centred: !debiased });
  if (debiased) for (let i = 0; i < n; i++) products[i * n + i] = 0;
  return products;
}

/** Alignments of every two of several representations of n samples. */
function alignments(kernels: readonly Float64Array[], n: number, debiased: boolean): number[][] {
  const product = (k: Float64Array, l: Float64Array) => (debiased ? unbiasedHsic(k, l, n) : dot(k, l));
  const own = kernels.map((k) => product(k, k));
  return kernels.map((k, i) =>
    kernels.map((l, j) => {
      const shared = product(k, l);
      // Products of centred rows cannot oppose each other; rounding of near zeros can.
      return (debiased ? shared : Math.max(0, shared)) / Math.sqrt(own[i]! * own[j]!);
    }),
  );
}

/**
 * Linear centred kernel alignment of two representations of the same samples: 1 when they are equal but for a rotation
 * and a scale, 0 when they have nothing in common.
 * @param x [N, C]
 * @param y [N, C']
 * @param debiased the U-statistic, for few samples with many channels; needs at least four rows
 * @see Kornblith et al. 2019; Song et al. 2012 for the unbiased estimate
 */
export function cka(x: Tensor, y: Tensor, options: { debiased?: boolean } = {}): number {
  return ckaMatrix({ x, y }, options)[0]![1]!;
}

/**
 * The alignment of every two of several representations of the same samples, by `cka`.
 * @param representations [N, C] each, by name
 * @returns rows and columns in the order of the names
 */
export function ckaMatrix(
  representations: Readonly<Record<string, Tensor>>,
  { debiased = false } = {},
): number[][] {
  const all = Object.entries(representations);
  const n = all[0]?.[1].dims[0] ?? 0;
  const other = all.find(([, { dims }]) => dims[0] !== n)?.[1];
  if (other)
    throw misuse(
      "SHAPE",
      `CKA needs equal rows, not ${formatDims(all[0]![1].dims)} and ${formatDims(other.dims)}.`,
    );
  return alignments(
    all.map(([name, x]) => kernel(x, name, debiased)),
    n,
    debiased,
  );
}

/** Cosines of every two rows. [N, C] -> [N, N]; a row of zeros has cosine 0 with all. */
export function cosines(x: Tensor): Tensor {
  const products = gram(x, "x", { centred: false });
  const n = x.dims[0]!;
  const lengths = Float64Array.from({ length: n }, (_, i) => Math.sqrt(products[i * n + i]!));
  return Tensor.f32(
    [n, n],
    Float32Array.from(products, (product, at) => {
      const length = lengths[Math.floor(at / n)]! * lengths[at % n]!;
      return length > 0 ? product / length : 0;
    }),
  );
}

/** The cosine of two vectors of one size, whatever their shape; 0 when one is zero. */
export function cosine(a: Tensor, b: Tensor): number {
  const [x, y] = [a.toFloat32(), b.toFloat32()];
  if (x.length !== y.length)
    throw misuse("SHAPE", `${formatDims(a.dims)} and ${formatDims(b.dims)} have no cosine.`);
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    xy += x[i]! * y[i]!;
    xx += x[i]! * x[i]!;
    yy += y[i]! * y[i]!;
  }
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : 0;
}

/** What the lengths of a picture's tokens tell. */
export interface NormStatistics {
  mean: number;
  deviation: number;
  largest: number;
  /** Tokens longer than `times` the median: registers, which hold no place of the picture. */
  registers: number[];
}

/**
 * Lengths of the features at each place.
 * @param grid [C, H, W]
 * @param times how much longer than the median a register is
 * @see Darcet et al. 2024, Vision Transformers Need Registers
 */
export function normStatistics(grid: Tensor, { times = 4 } = {}): NormStatistics {
  if (grid.dims.length !== 3)
    throw misuse("SHAPE", `Features of one picture are [C, H, W], not ${formatDims(grid.dims)}.`);
  const norms = Float64Array.from(normMap(grid).toFloat32());
  const places = norms.length;
  const mean = norms.reduce((a, b) => a + b, 0) / places;
  const deviation = Math.sqrt(norms.reduce((sum, norm) => sum + (norm - mean) ** 2, 0) / places);
  const sorted = norms.slice().sort();
  const median = sorted[Math.floor(places / 2)]!;
  const registers = [...norms.keys()].filter((i) => norms[i]! > times * median);
  return { mean, deviation, largest: sorted[places - 1]!, registers };
}
