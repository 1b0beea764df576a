/**
 * @file Convolutions and their gradients as one product each, channels last, over the rows that the places of the kernel
 * see ("im2col" by one Gather). For weights that are not known beforehand, as in training: whole batches make products
 * that are large where grids are small.
 */

import { Tensor } from "../../tensor/index.js";
import type { Padding, Value } from "../value.js";
import type { Emitter } from "./emitter.js";
import { product } from "./product.js";

type Sizes = readonly [number, number, number, number];

/** Which cells each place of a kernel sees. */
interface Window {
  kernel: readonly [number, number];
  stride: number;
  padding: Padding;
  /** Rows and columns of cells that look. */
  grid: readonly [number, number];
  /** The last place of the kernel first, as gradients look back. */
  backwards: boolean;
}

/** A grid [B, C, H, W] as rows [B H W, C]. */
function rowsOf(x: string, [batch, channels, height, width]: Sizes, to: Emitter): string {
  return to.reshape(to.transpose(x, [0, 2, 3, 1]), [batch * height * width, channels]);
}

/** Rows [B H W, C] as a grid [B, C, H, W]. */
function gridOf(rows: string, [batch, channels, height, width]: Sizes, to: Emitter): string {
  return to.transpose(to.reshape(rows, [batch, height, width, channels]), [0, 3, 1, 2]);
}

/** What each cell's window shows: [B rows columns, kh kw C] */
function columnsOf(x: string, sizes: Sizes, window: Window, to: Emitter): string {
  const [batch, channels, height, width] = sizes;
  const { kernel, stride, padding, grid, backwards } = window;
  const [places, cells] = [kernel[0] * kernel[1], batch * grid[0] * grid[1]];
  const [top, left, bottom, right] = padding;
  const isPlain = places === 1 && stride === 1 && padding.every((one) => one === 0);
  if (isPlain) return rowsOf(x, sizes, to);
  const last = to.transpose(x, [0, 2, 3, 1]);
  const around = to.integers([0, top, left, 0, 0, bottom, right, 0]);
  const padded = padding.some((one) => one > 0) ? to.emit("Pad", [last, around]) : last;
  const whole = [height + top + bottom, width + left + right] as const;
  const key = `window ${batch} ${whole} ${kernel} ${stride} ${grid} ${backwards}`;
  const indices = to.shared(key, () => windowIndices(batch, whole, window));
  const rows = to.reshape(padded, [batch * whole[0] * whole[1], channels]);
  return to.reshape(to.emit("Gather", [rows, indices], { axis: 0 }), [cells, places * channels]);
}

/** For each cell and each place of the kernel: the row that it sees. */
function windowIndices(batch: number, [height, width]: readonly [number, number], window: Window): Tensor {
  const { kernel, stride, grid, backwards } = window;
  const places = kernel[0] * kernel[1];
  const indices = new Int32Array(batch * grid[0] * grid[1] * places);
  let at = 0;
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < grid[0]; i++) {
      for (let j = 0; j < grid[1]; j++) {
        for (let place = 0; place < places; place++) {
          const one = backwards ? places - 1 - place : place;
          const row = i * stride + Math.floor(one / kernel[1]);
          indices[at++] = (b * height + row) * width + j * stride + (one % kernel[1]);
        }
      }
    }
  }
  return new Tensor("i32", [indices.length], indices);
}

function kernelOf({ dims }: Value): readonly [number, number] {
  return [dims[2]!, dims[3]!];
}

/** The window of a gradient: what the results' gradient is, seen from the cells of the grid. */
function backwardWindow(dims: Sizes, kernel: readonly [number, number], padding: Padding): Window {
  const around = padding.map((cells, i) => kernel[i % 2]! - 1 - cells) as unknown as Padding;
  return { kernel, stride: 1, padding: around, grid: [dims[2], dims[3]], backwards: true };
}

/** Whether gradients can look back so: a stride leaves gaps, and padding beyond the kernel has no cells. */
export function canLookBack(
  { stride, groups, padding }: Value<"conv2d">["attributes"],
  weight: Value,
): boolean {
  const kernel = kernelOf(weight);
  return stride * groups === 1 && padding.every((cells, i) => cells < kernel[i % 2]!);
}

/** x, weight, bias -> [B, C', H', W'] */
export function gatheredConvolution(
  { dims, inputs, attributes: { stride, padding } }: Value<"conv2d">,
  [x, weight, bias]: readonly string[],
  to: Emitter,
): string {
  const kernel = kernelOf(inputs[1]!);
  const [filters, channels] = inputs[1]!.dims as Sizes;
  const results = dims as Sizes;
  const window = { kernel, stride, padding, grid: [results[2], results[3]], backwards: false } as const;
  const columns = columnsOf(x!, inputs[0]!.dims as Sizes, window, to);
  const places = kernel[0] * kernel[1];
  const apart = to.transpose(to.reshape(weight!, [filters, channels, places]), [0, 2, 1]);
  const matrix = to.reshape(apart, [filters, places * channels]);
  const sizes = {
    rows: results[0] * results[2] * results[3],
    terms: places * channels,
    columns: filters,
  };
  const rows = product({ name: columns, transposed: false }, { name: matrix, transposed: true }, sizes, to);
  const biased = bias ? to.emit("Add", [rows, bias]) : rows;
  return gridOf(biased, results, to);
}

/** dy, weight -> [B, C, H, W] */
export function gatheredInputGradient(
  { dims, inputs, attributes: { padding } }: Value<"conv2dInputGradient">,
  [dy, weight]: readonly string[],
  to: Emitter,
): string {
  const grid = dims as Sizes;
  const kernel = kernelOf(inputs[1]!);
  const places = kernel[0] * kernel[1];
  const [filters, channels] = inputs[1]!.dims as Sizes;
  const columns = columnsOf(dy!, inputs[0]!.dims as Sizes, backwardWindow(grid, kernel, padding), to);
  const apart = to.transpose(to.reshape(weight!, [filters, channels, places]), [2, 0, 1]);
  const matrix = to.reshape(apart, [places * filters, channels]);
  const sizes = { rows: grid[0] * grid[2] * grid[3], terms: places * filters, columns: channels };
  const rows = product({ name: columns, transposed: false }, { name: matrix, transposed: false }, sizes, to);
  return gridOf(rows, grid, to);
}

/** x, dy -> [C', C, kh, kw], from what the results' cells saw of x. */
export function gatheredWeightGradient(
  { dims, inputs, attributes: { stride, padding } }: Value<"conv2dWeightGradient">,
  [x, dy]: readonly string[],
  to: Emitter,
): string {
  const [filters, channels, ...kernel] = dims as Sizes;
  const results = inputs[1]!.dims as Sizes;
  const places = kernel[0] * kernel[1];
  const window = { kernel, stride, padding, grid: [results[2], results[3]], backwards: false } as const;
  const columns = columnsOf(x!, inputs[0]!.dims as Sizes, window, to);
  const sizes = {
    rows: filters,
    terms: results[0] * results[2] * results[3],
    columns: places * channels,
  };
  const rows = { name: rowsOf(dy!, results, to), transposed: true };
  const matrix = product(rows, { name: columns, transposed: false }, sizes, to);
  return to.reshape(to.transpose(to.reshape(matrix, [filters, places, channels]), [0, 2, 1]), dims);
}

/** x, dy -> [C', C, kh, kw], from what the grid's cells see of the results' gradient, which `gatheredInputGradient` uses too. */
export function gatheredWeightGradientBack(
  { dims, inputs, attributes: { padding } }: Value<"conv2dWeightGradient">,
  [x, dy]: readonly string[],
  to: Emitter,
): string {
  const [filters, channels, ...kernel] = dims as Sizes;
  const grid = inputs[0]!.dims as Sizes;
  const places = kernel[0] * kernel[1];
  const columns = columnsOf(dy!, inputs[1]!.dims as Sizes, backwardWindow(grid, kernel, padding), to);
  const sizes = {
    rows: places * filters,
    terms: grid[0] * grid[2] * grid[3],
    columns: channels,
  };
  const seen = { name: columns, transposed: true };
  const matrix = product(seen, { name: rowsOf(x!, grid, to), transposed: false }, sizes, to);
  return to.reshape(to.transpose(to.reshape(matrix, [places, filters, channels]), [1, 2, 0]), dims);
}
