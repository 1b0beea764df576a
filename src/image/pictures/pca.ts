/** @file Principal components of a matrix, deterministic to the sign. */

import { misuse, Tensor } from "../../tensor/index.js";
import { requireFinite } from "./values.js";

export interface PrincipalComponents {
  /** [C] */
  mean: Tensor;
  /** [k, C], of length 1, by falling variance; of each the entry of largest magnitude is positive. */
  components: Tensor;
  /** [N, k]: the centred rows along the components. */
  scores: Tensor;
  /** Variance along each component (divided by N - 1). */
  variance: number[];
  /** Its share of the whole variance. */
  ratio: number[];
}

/**
 * The first `count` principal components of the rows of a matrix. Where the data has fewer directions than that, the
 * rest are zero.
 * @param rows [N, C], at least two rows
 * @see Rutishauser 1970: subspace iteration on the smaller Gram matrix, from a fixed start
 */
export function principalComponents(rows: Tensor, count = 3): PrincipalComponents {
  const [n, c] = rows.dims as [number, number];
  if (rows.dims.length !== 2 || n < 2 || c < 1) {
    throw misuse(
      "SHAPE",
      `Principal components need a matrix of at least two rows, not [${rows.dims.join(", ")}].`,
    );
  }
  const values = rows.toFloat32();
  requireFinite(values, "The matrix");
  const mean = columnMeans(values, n, c);
  const byRow = Float64Array.from(values, (value, i) => value - mean[i % c]!);
  const byColumn = transpose(byRow, n, c);

  // The Gram matrices of rows and of columns share their eigenvalues; the smaller one costs less.
  const [short, side, depth] = c <= n ? [byColumn, c, n] : [byRow, n, c];
  const gram = gramMatrix(short, side, depth);
  const { vectors, values: eigenvalues } = topEigenvectors(gram, side, Math.min(count, side));

  let total = 0;
  for (let i = 0; i < side; i++) total += gram[i * side + i]!;
  const components = new Float64Array(count * c);
  const scores = new Float64Array(n * count);
  const variance: number[] = [];
  for (let k = 0; k < count; k++) {
    const eigenvalue = eigenvalues[k] ?? 0;
    // Below this the direction is rounding, not data.
    const real = eigenvalue > total * 1e-12;
    variance.push(real ? eigenvalue / (n - 1) : 0);
    if (!real) continue;
    const vector = vectors[k]!;
    const direction = c <= n ? vector : multiply(byColumn, n, [vector])[0]!;
    const length = Math.sqrt(dot(direction, direction)) * (largest(direction) < 0 ? -1 : 1);
    for (let j = 0; j < c; j++) components[k * c + j] = direction[j]! / length;
    const [along] = multiply(byRow, c, [components.subarray(k * c, (k + 1) * c)]);
    for (let i = 0; i < n; i++) scores[i * count + k] = along![i]!;
  }
  return {
    mean: new Tensor("f32", [c], Float32Array.from(mean)),
    components: new Tensor("f32", [count, c], Float32Array.from(components)),
    scores: new Tensor("f32", [n, count], Float32Array.from(scores)),
    variance,
    ratio: variance.map((one) => (total > 0 ? (one * (n - 1)) / total : 0)),
  };
}

function columnMeans(values: Float32Array, n: number, c: number): Float64Array {
  const mean = new Float64Array(c);
  for (let i = 0; i < n; i++) for (let j = 0; j < c; j++) mean[j]! += values[i * c + j]!;
  return mean.map((sum) => sum / n);
}

function transpose(matrix: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) result[j * rows + i] = matrix[i * columns + j]!;
  return result;
}

/** M Mᵀ of a matrix [side, depth], four rows at a time so that each number read serves four products. */
function gramMatrix(matrix: Float64Array, side: number, depth: number): Float64Array {
  const gram = new Float64Array(side * side);
  for (let i = 0; i < side; i += 4) {
    const [r0, r1, r2, r3] = [0, 1, 2, 3].map((row) => Math.min(i + row, side - 1) * depth) as [
      number,
      number,
      number,
      number,
    ];
    for (let j = i; j < side; j++) {
      const row = j * depth;
      let [s0, s1, s2, s3] = [0, 0, 0, 0];
      for (let k = 0; k < depth; k++) {
        const value = matrix[row + k]!;
        s0 += matrix[r0 + k]! * value;
        s1 += matrix[r1 + k]! * value;
        s2 += matrix[r2 + k]! * value;
        s3 += matrix[r3 + k]! * value;
      }
      const sums = [s0, s1, s2, s3];
      for (let row = i; row < Math.min(i + 4, side); row++) {
        gram[row * side + j] = sums[row - i]!;
        gram[j * side + row] = sums[row - i]!;
      }
    }
  }
  return gram;
}

/** M times each vector; row by row, so that each row is fetched once for all of them. */
function multiply(matrix: Float64Array, columns: number, vectors: readonly Float64Array[]): Float64Array[] {
  const rows = matrix.length / columns;
  const results = vectors.map(() => new Float64Array(rows));
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < vectors.length; k++) {
      const vector = vectors[k]!;
      let sum = 0;
      for (let j = 0, at = i * columns; j < columns; j++, at++) sum += matrix[at]! * vector[j]!;
      results[k]![i] = sum;
    }
  }
  return results;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function largest(vector: Float64Array): number {
  return vector.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
}

/** Iterating on a few more vectors than asked for makes close eigenvalues converge sooner. */
const spareVectors = 6;
const maxIterations = 120;
const tolerance = 1e-8;

/** The largest eigenvalues of a symmetric positive matrix with their vectors, by subspace iteration. */
function topEigenvectors(
  matrix: Float64Array,
  side: number,
  count: number,
): { vectors: Float64Array[]; values: number[] } {
  const width = Math.min(side, count + spareVectors);
  let basis = orthonormalise(startVectors(side, width));
  for (let iteration = 1; ; iteration++) {
    const image = multiply(matrix, side, basis);
    const projected = image.map((column) => basis.map((vector) => dot(vector, column)));
    const { values, rotation } = symmetricEigen(projected);
    const ritz = combine(basis, rotation);
    const ritzImage = combine(image, rotation);
    const error = Math.max(
      ...values.slice(0, count).map((value, k) => {
        const rest = ritzImage[k]!.map((entry, i) => entry - value * ritz[k]![i]!);
        return Math.sqrt(dot(rest, rest));
      }),
    );
    if (error <= tolerance * values[0]! || iteration === maxIterations) return { vectors: ritz, values };
    basis = orthonormalise(ritzImage);
  }
}

/** Fixed numbers without any pattern in common with data: a linear congruential generator (Numerical Recipes). */
function startVectors(side: number, width: number): Float64Array[] {
  let state = 1;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  return Array.from({ length: width }, () => Float64Array.from({ length: side }, next));
}

/** Gram-Schmidt, twice; a vector that lies in the span of those before it becomes zero. */
function orthonormalise(vectors: Float64Array[]): Float64Array[] {
  const done: Float64Array[] = [];
  for (const vector of vectors) {
    const before = Math.sqrt(dot(vector, vector));
    for (let pass = 0; pass < 2; pass++) {
      for (const other of done) {
        const along = dot(vector, other);
        for (let i = 0; i < vector.length; i++) vector[i]! -= along * other[i]!;
      }
    }
    const length = Math.sqrt(dot(vector, vector));
    done.push(vector.map((value) => (length > before * 1e-14 ? value / length : 0)));
  }
  return done;
}

/** Column k of the result is the sum of vectors times column k of the rotation. */
function combine(vectors: Float64Array[], rotation: number[][]): Float64Array[] {
  return vectors.map((_, k) => {
    const sum = new Float64Array(vectors[0]!.length);
    vectors.forEach((vector, j) => {
      const share = rotation[j]![k]!;
      for (let i = 0; i < sum.length; i++) sum[i]! += share * vector[i]!;
    });
    return sum;
  });
}

/** All eigenvalues of a small symmetric matrix, falling, with the vectors as columns: cyclic Jacobi rotations. */
function symmetricEigen(matrix: number[][]): { values: number[]; rotation: number[][] } {
  const n = matrix.length;
  const a = matrix.map((row) => [...row]);
  const v = matrix.map((_, i) => matrix.map((_, j) => (i === j ? 1 : 0)));
  const scale = Math.max(...a.flat().map(Math.abs));
  for (let sweep = 0; sweep < 50; sweep++) {
    let rest = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rest = Math.max(rest, Math.abs(a[p]![q]!));
    if (rest <= scale * 1e-15) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) if (a[p]![q] !== 0) rotate(a, v, p, q);
    }
  }
  const order = a.map((_, i) => i).sort((i, j) => a[j]![j]! - a[i]![i]!);
  return { values: order.map((i) => a[i]![i]!), rotation: v.map((row) => order.map((i) => row[i]!)) };
}

/** One Jacobi rotation: makes a[p][q] zero (Golub and Van Loan 8.5). */
function rotate(a: number[][], v: number[][], p: number, q: number): void {
  const theta = (a[q]![q]! - a[p]![p]!) / (2 * a[p]![q]!);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const cosine = 1 / Math.sqrt(t * t + 1);
  const sine = t * cosine;
  const turn = (row: number[]) => {
    const [x, y] = [row[p]!, row[q]!];
    row[p] = cosine * x - sine * y;
    row[q] = sine * x + cosine * y;
  };
  for (const row of a) turn(row);
  const [rowP, rowQ] = [a[p]!, a[q]!];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [rowP[i]!, rowQ[i]!];
    rowP[i] = cosine * x - sine * y;
    rowQ[i] = sine * x + cosine * y;
  }
  for (const row of v) turn(row);
}
