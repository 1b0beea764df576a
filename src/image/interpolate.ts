/** @file Resampling of float maps as torch's `interpolate(align_corners=False)` does, and of feature grids to N x N. */

import { formatDims, misuse, Tensor } from "../tensor/index.js";

export type InterpolateMode = "nearest" | "bilinear" | "bicubic" | "area";

/** For each output position of one axis: which inputs it reads, and how much of each. */
interface AxisWeights {
  size: number;
  /** Inputs read by each output. */
  taps: number;
  indices: Int32Array;
  weights: Float64Array;
}

/**
 * Resizes the last two axes of a tensor, as `torch.nn.functional.interpolate` does without antialiasing.
 * @param tensor [..., h, w], any float type
 * @param size [height, width] of the result
 * @param mode `bicubic` has a = -0.75; `area` is `adaptive_avg_pool2d`
 * @returns f32 [..., height, width]
 */
export function interpolate(
  tensor: Tensor,
  [height, width]: readonly [number, number],
  mode: InterpolateMode,
): Tensor {
  const [h, w] = grid(tensor, height, width);
  return resample(tensor, axisWeights(h, height, mode), axisWeights(w, width, mode));
}

/**
 * Brings a feature grid to size x size: area average along an axis that shrinks, bilinear along one that grows.
 * @param tensor [..., h, w]
 * @returns f32 [..., size, size]
 */
export function poolGrid(tensor: Tensor, size: number): Tensor {
  const [h, w] = grid(tensor, size, size);
  const axis = (from: number) => axisWeights(from, size, size < from ? "area" : "bilinear");
  return resample(tensor, axis(h), axis(w));
}

function grid(tensor: Tensor, height: number, width: number): [number, number] {
  const [h, w] = tensor.dims.slice(-2);
  if (!h || !w)
    throw misuse("SHAPE", `Only maps [..., height, width] can be resized, not ${formatDims(tensor.dims)}.`);
  for (const size of [height, width]) {
    if (!Number.isInteger(size) || size < 1) {
      throw misuse("SIZE", `A grid's side is a whole number from 1 up, not ${size}.`);
    }
  }
  return [h, w];
}

function axisWeights(from: number, to: number, mode: InterpolateMode): AxisWeights {
  if (mode === "nearest") return nearest(from, to);
  if (mode === "area") return area(from, to);
  return continuous(from, to, mode === "bicubic" ? cubic : linear, mode === "bilinear");
}

/** torch computes these indices in single precision, which decides some of them. */
function nearest(from: number, to: number): AxisWeights {
  const scale = Math.fround(from / to);
  const indices = Int32Array.from({ length: to }, (_, i) =>
    Math.min(Math.floor(Math.fround(i * scale)), from - 1),
  );
  return { size: to, taps: 1, indices, weights: new Float64Array(to).fill(1) };
}

function area(from: number, to: number): AxisWeights {
  const start = (i: number) => Math.floor((i * from) / to);
  const end = (i: number) => Math.ceil(((i + 1) * from) / to);
  let taps = 0;
  for (let i = 0; i < to; i++) taps = Math.max(taps, end(i) - start(i));
  return fill(from, to, taps, (i) => {
    const share = 1 / (end(i) - start(i));
    return { first: start(i), weight: (tap) => (tap < end(i) - start(i) ? share : 0) };
  });
}

interface Kernel {
  taps: number;
  /** Weight of the tap-th input when the position lies `fraction` after the one in the middle. */
  weight(tap: number, fraction: number): number;
}

const linear: Kernel = { taps: 2, weight: (tap, t) => (tap === 0 ? 1 - t : t) };

const a = -0.75;
const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1;
const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
const cubic: Kernel = { taps: 4, weight: (tap, t) => [far(t + 1), near(t), near(1 - t), far(2 - t)][tap]! };

/**
 * Half-pixel centres, in single precision as torch computes them; it clamps the position itself at 0 for bilinear,
 * only the reads for bicubic.
 */
function continuous(from: number, to: number, kernel: Kernel, clampPosition: boolean): AxisWeights {
  const before = kernel.taps / 2 - 1;
  const scale = Math.fround(from / to);
  return fill(from, to, kernel.taps, (i) => {
    const position = Math.fround(Math.fround(scale * (i + 0.5)) - 0.5);
    const clamped = clampPosition ? Math.max(position, 0) : position;
    const floor = Math.floor(clamped);
    return { first: floor - before, weight: (tap) => kernel.weight(tap, clamped - floor) };
  });
}

function fill(
  from: number,
  to: number,
  taps: number,
  at: (i: number) => { first: number; weight: (tap: number) => number },
): AxisWeights {
  const indices = new Int32Array(to * taps);
  const weights = new Float64Array(to * taps);
  for (let i = 0; i < to; i++) {
    const { first, weight } = at(i);
    for (let tap = 0; tap < taps; tap++) {
      indices[i * taps + tap] = Math.min(Math.max(first + tap, 0), from - 1);
      weights[i * taps + tap] = weight(tap);
    }
  }
  return { size: to, taps, indices, weights };
}

/** Rows first, then columns, in double precision between the two. */
function resample(tensor: Tensor, rows: AxisWeights, columns: AxisWeights): Tensor {
  const leading = tensor.dims.slice(0, -2);
  const [h, w] = tensor.dims.slice(-2) as [number, number];
  const source = tensor.toFloat32();
  const planes = source.length / (h * w);
  const result = new Float32Array(planes * rows.size * columns.size);
  const narrowed = new Float64Array(h * columns.size);
  for (let plane = 0; plane < planes; plane++) {
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < columns.size; x++) {
        let sum = 0;
        for (let tap = x * columns.taps; tap < (x + 1) * columns.taps; tap++) {
          // A weight of 0 must not let a NaN or infinity of a neighbour in.
          const weight = columns.weights[tap]!;
          if (weight !== 0) sum += weight * source[(plane * h + y) * w + columns.indices[tap]!]!;
        }
        narrowed[y * columns.size + x] = sum;
      }
    }
    for (let y = 0; y < rows.size; y++) {
      for (let x = 0; x < columns.size; x++) {
        let sum = 0;
        for (let tap = y * rows.taps; tap < (y + 1) * rows.taps; tap++) {
          const weight = rows.weights[tap]!;
          if (weight !== 0) sum += weight * narrowed[rows.indices[tap]! * columns.size + x]!;
        }
        result[(plane * rows.size + y) * columns.size + x] = sum;
      }
    }
  }
  return new Tensor("f32", [...leading, rows.size, columns.size], result);
}
