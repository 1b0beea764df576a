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

const fused = { domain: "com.microsoft" } as const;

/**
 * Emits a 3x3 convolution of stride 1.
 * @param order what the products run over first: "tiles" suits wide grids, "channels" narrow ones
 */
export function winograd(
  value: Value<"conv2d">,
  [x, weight, bias]: readonly string[],
  to: Emitter,
  m: 2 | 4,
  order: "tiles" | "channels",
): string {
  const [batch, channels, height, width] = value.inputs[0]!.dims as [number, number, number, number];
  const [, filters, rows, columns] = value.dims as [number, number, number, number];
  const [top, left] = value.attributes.padding;
  const t = m + 2;
  const { AT, G, BT } = transforms(m);
  const constant = (matrix: Matrix) => to.floats(flat(matrix).dims, flat(matrix).values);

  // 1. Weights: U [t², out, in] = G w Gᵀ, in double precision, rounded once. The runtime folds this chain.
  const gg = flat(kronecker(G));
  const spread = to.constant(new Tensor("f64", gg.dims, Float64Array.from(gg.values)));
  const wide = to.reshape(to.emit("Cast", [weight!], { to: 11 }), [filters * channels, 9]);
  const products = to.emit("MatMul", [spread, to.transpose(wide, [1, 0])]);
  const u = to.reshape(to.emit("Cast", [products], { to: 1 }), [t * t, filters, channels]);

  // 2. The grid, padded to whole tiles, channels last
  const down = Math.ceil(rows / m);
  const across = Math.ceil(columns / m);
  const padded = [down * m + 2, across * m + 2] as const;
  const last = to.reshape(to.transpose(to.reshape(x!, [batch, channels, height * width]), [0, 2, 1]), [
    batch,
    height,
    width,
    channels,
  ]);
  const around = [0, top, left, 0, 0, padded[0] - height - top, padded[1] - width - left, 0];
  const grid = to.reshape(to.emit("Pad", [last, to.integers(around)]), [
    batch * padded[0] * padded[1],
    channels,
  ]);

  // 3. Overlapping tiles, and their transform: V [t², tiles, in]
  const tiles = batch * down * across;
  const indices = to.shared(`tiles ${m} ${batch} ${down} ${across}`, () =>
    tileIndices(m, batch, down, across),
  );
  const gathered = to.reshape(to.emit("Gather", [grid, indices], { axis: 0 }), [t * t, tiles * channels]);
  const v = to.reshape(to.emit("MatMul", [constant(kronecker(BT)), gathered]), [t * t, tiles, channels]);

  // 4. The products, one matrix a place in the tile, and 5. back to the grid
  const inverse = kronecker(AT);
  let result: string;
  if (order === "tiles" || batch > 1) {
    const y = to.emit("FusedMatMul", [v, u], { transB: 1 }, fused);
    const outputs = to.emit("MatMul", [constant(inverse), to.reshape(y, [t * t, tiles * filters])]);
    const blocks = to.transpose(
      to.reshape(outputs, [m, m, batch, down, across, filters]),
      [2, 3, 0, 4, 1, 5],
    );
    const cropped = crop(
      to,
      to.reshape(blocks, [batch, down * m, across * m, filters]),
      1,
      rows,
      columns,
      m,
      down,
      across,
    );
    const first = to.transpose(to.reshape(cropped, [batch, rows * columns, filters]), [0, 2, 1]);
    result = to.reshape(first, [batch, filters, rows, columns]);
  } else {
    const y = to.reshape(to.emit("FusedMatMul", [u, v], { transB: 1 }, fused), [t * t, filters * tiles]);
    const outputs = to.emit("MatMul", [constant(inverse), y]);
    const depth = to.reshape(outputs, [1, m * m * filters, down, across]);
    const blocks = to.emit("DepthToSpace", [depth], { blocksize: m, mode: "DCR" });
    result = crop(to, blocks, 2, rows, columns, m, down, across);
  }
  return bias ? to.emit("Add", [result, to.reshape(bias, [filters, 1, 1])]) : result;
}

/** Cuts what whole tiles have too much of; `axis` is that of the rows. */
function crop(
  to: Emitter,
  x: string,
  axis: number,
  rows: number,
  columns: number,
  m: number,
  down: number,
  across: number,
): string {
  const high = down * m === rows ? x : to.slice(x, axis, 0, rows);
  return across * m === columns ? high : to.slice(high, axis + 1, 0, columns);
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
