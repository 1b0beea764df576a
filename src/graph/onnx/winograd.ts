/**
 * @file Winograd's minimal filtering F(m x m, 3 x 3), written as matrix products: fewer multiplications than the
 * direct convolution by 2.25 (m = 2) or 4 (m = 4).
 * @see Lavin & Gray 2016, https://arxiv.org/abs/1509.09308
 */

import { Tensor } from "../../tensor/index.js";
import type { Value } from "../value.js";
import type { Emitter } from "./emitter.js";

/**
 * Points of the interpolation, besides infinity. Small fractions keep the rounding of m = 4 at that of the direct
 * kernels (0, ±1, ±2 gives three to four times the error).
 */
const points = { 2: [0, 1, -1], 4: [0, 0.75, -0.75, 1.5, -1.5] } as const;

type Matrix = number[][];

/** Coefficients of Π (x - root), lowest power first. */
function polynomial(roots: readonly number[]): number[] {
  return roots.reduce<number[]>(
    (p, root) => Array.from({ length: p.length + 1 }, (_, i) => (p[i - 1] ?? 0) - root * (p[i] ?? 0)),
    [1],
  );
}

/**
 * The transforms of F(m, 3): outputs = Aᵀ [(G weights) ⊙ (Bᵀ inputs)].
 * @returns Aᵀ [m, t], G [t, 3], Bᵀ [t, t] with t = m + 2
 */
export function transforms(m: 2 | 4): { AT: Matrix; G: Matrix; BT: Matrix } {
  const finite: readonly number[] = points[m];
  const t = m + 2;
  const others = (j: number) => finite.filter((_, l) => l !== j);
  const AT = Array.from({ length: m }, (_, i) => [...finite.map((p) => p ** i), i === m - 1 ? 1 : 0]);
  const G = finite.map((p, j) => {
    const scale = others(j).reduce((product, q) => product * (p - q), 1);
    return [1, p, p * p].map((power) => power / scale);
  });
  const BT = finite.map((_, j) => [...polynomial(others(j)), 0]);
  return { AT, G: [...G, [0, 0, 1]], BT: [...BT, polynomial(finite)].map((row) => row.slice(0, t)) };
}

/** Both directions at once: a 2-d transform as one matrix over flattened tiles. */
function kronecker(a: Matrix): Matrix {
  return a.flatMap((rowA) => a.map((rowB) => rowA.flatMap((x) => rowB.map((y) => x * y))));
}

function flat(matrix: Matrix): { dims: [number, number]; values: number[] } {
  return { dims: [matrix.length, matrix[0]!.length], values: matrix.flat() };
}

/** Weights as the products take them: U = G w Gᵀ, in double precision, rounded once. */
export interface WinogradWeights {
  m: 2 | 4;
  filters: number;
  channels: number;
}

/**
 * Transforms the weights of a convolution.
 * @param weights [filters, channels, 3, 3]
 * @returns [t², filters, channels]
 */
export function winogradWeights(
  weights: Float32Array,
  { m, filters, channels }: WinogradWeights,
): Float32Array {
  const t = m + 2;
  const G = Float64Array.from(transforms(m).G.flat());
  const pairs = filters * channels;
  const result = new Float32Array(t * t * pairs);
  const half = new Float64Array(t * 3);
  for (let pair = 0; pair < pairs; pair++) {
    const from = pair * 9;
    for (let row = 0; row < t; row++) {
      const g = row * 3;
      for (let k = 0; k < 3; k++) {
        half[g + k] =
          G[g]! * weights[from + k]! +
          G[g + 1]! * weights[from + 3 + k]! +
          G[g + 2]! * weights[from + 6 + k]!;
      }
    }
    for (let row = 0; row < t; row++) {
      const h = row * 3;
      for (let column = 0; column < t; column++) {
        const g = column * 3;
        result[(row * t + column) * pairs + pair] =
          half[h]! * G[g]! + half[h + 1]! * G[g + 1]! + half[h + 2]! * G[g + 2]!;
      }
    }
  }
  return result;
}

const fused = { domain: "com.microsoft" } as const;

/** How a convolution is computed by Winograd's algorithm. */
export interface WinogradPlan {
  m: 2 | 4;
  /** What the products run over first: tiles suit wide grids, channels narrow ones. */
  order: "tiles" | "channels";
  /** Rows of tiles that are computed at a time, so that they stay in the cache. Default: all. */
  band?: number | undefined;
}

/** Emits a 3x3 convolution of stride 1 whose weights are a parameter. */
export function winograd(
  value: Value<"conv2d">,
  [x, , bias]: readonly string[],
  to: Emitter,
  { m, order, band }: WinogradPlan,
): string {
  const [data, weight] = value.inputs as [Value, Value<"parameter">];
  const [batch, channels, height, width] = data.dims as [number, number, number, number];
  const [, filters, rows, columns] = value.dims as [number, number, number, number];
  const [top, left] = value.attributes.padding;
  const t = m + 2;
  const { AT, BT } = transforms(m);
  const constant = (matrix: Matrix) => to.floats(flat(matrix).dims, flat(matrix).values);

  // 1. Weights [t², out, in]
  const u = to.derived(weight, [t * t, filters, channels], { m, filters, channels });

  const down = Math.ceil(rows / m);
  const across = Math.ceil(columns / m);
  const inverse = constant(kronecker(AT));

  /** 2. Overlapping tiles of `count` tile rows, channels last and padded, transformed: V [t², tiles, in] */
  const tilesOf = (from: number, count: number): string => {
    const start = from * m - top;
    const end = start + count * m + 2;
    const [first, beyond] = [Math.max(0, start), Math.min(height, end)];
    const part = beyond - first === height ? x! : to.slice(x!, 2, first, beyond);
    const cells = (beyond - first) * width;
    const tokens = to.transpose(to.reshape(part, [batch, channels, cells]), [0, 2, 1]);
    const grid = to.reshape(tokens, [batch, beyond - first, width, channels]);
    const right = across * m + 2 - width - left;
    const padded = to.emit("Pad", [
      grid,
      to.integers([0, first - start, left, 0, 0, end - beyond, right, 0]),
    ]);
    const indices = to.shared(`tiles ${m} ${batch} ${count} ${across}`, () =>
      tileIndices(m, batch, count, across),
    );
    const gathered = to.emit("Gather", [to.reshape(padded, [-1, channels]), indices], { axis: 0 });
    const tiles = batch * count * across;
    const v = to.emit("MatMul", [constant(kronecker(BT)), to.reshape(gathered, [t * t, tiles * channels])]);
    return to.reshape(v, [t * t, tiles, channels]);
  };

  // 3. The products, one matrix a place in the tile, and 4. their way back to the grid
  if (order === "channels" && batch === 1) {
    const y = to.emit("FusedMatMul", [u, tilesOf(0, down)], { transB: 1 }, fused);
    const outputs = to.emit("MatMul", [inverse, to.reshape(y, [t * t, filters * down * across])]);
    const depth = to.reshape(outputs, [1, m * m * filters, down, across]);
    const blocks = to.emit("DepthToSpace", [depth], { blocksize: m, mode: "DCR" });
    return biased(to, crop(to, blocks, 2, [down * m, across * m], [rows, columns]), bias, [filters, 1, 1]);
  }
  const bands: string[] = [];
  for (let from = 0; from < down; from += band ?? down) {
    const count = Math.min(band ?? down, down - from);
    const y = to.emit("FusedMatMul", [tilesOf(from, count), u], { transB: 1 }, fused);
    const outputs = to.emit("MatMul", [inverse, to.reshape(y, [t * t, batch * count * across * filters])]);
    const blocks = to.transpose(
      to.reshape(outputs, [m, m, batch, count, across, filters]),
      [2, 3, 0, 4, 1, 5],
    );
    const high = Math.min(count * m, rows - from * m);
    const grid = to.reshape(blocks, [batch, count * m, across * m, filters]);
    const cropped = biased(to, crop(to, grid, 1, [count * m, across * m], [high, columns]), bias, [filters]);
    const first = to.transpose(to.reshape(cropped, [batch, high * columns, filters]), [0, 2, 1]);
    bands.push(to.reshape(first, [batch, filters, high, columns]));
  }
  return bands.length === 1 ? bands[0]! : to.emit("Concat", bands, { axis: 2 });
}

function biased(to: Emitter, x: string, bias: string | undefined, dims: readonly number[]): string {
  return bias ? to.emit("Add", [x, to.reshape(bias, dims)]) : x;
}

type Grid = readonly [rows: number, columns: number];

/** Cuts what whole tiles have too much of; `axis` is that of the rows. */
function crop(to: Emitter, x: string, axis: number, from: Grid, size: Grid): string {
  const high = from[0] === size[0] ? x : to.slice(x, axis, 0, size[0]);
  return from[1] === size[1] ? high : to.slice(high, axis + 1, 0, size[1]);
}

/** For each place in a tile and each tile: which cell of the padded grid. */
function tileIndices(m: number, batch: number, down: number, across: number): Tensor {
  const t = m + 2;
  const [height, width] = [down * m + 2, across * m + 2];
  const indices = new Int32Array(t * t * batch * down * across);
  let at = 0;
  for (let a = 0; a < t; a++) {
    for (let b = 0; b < t; b++) {
      for (let n = 0; n < batch; n++) {
        for (let i = 0; i < down; i++) {
          for (let j = 0; j < across; j++) indices[at++] = (n * height + m * i + a) * width + m * j + b;
        }
      }
    }
  }
  return new Tensor("i32", [indices.length], indices);
}
