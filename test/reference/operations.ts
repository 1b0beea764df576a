/** @file Each operation by its definition, in doubles: one typed entry an operation, so that a missing one does not compile. */

import type { OpName, Value } from "../../src/graph/index.js";
import { count, formatDims } from "../../src/tensor/index.js";
import { broadcastOffsets, type Numbers, numbersOf, offsets, readParameter, stridesOf } from "./numbers.js";
import { erf, sigmoid } from "./special.js";

/** The numbers of a value, in row-major order, given those of its inputs. */
export type Operation<K extends OpName> = (
  value: Value<K>,
  inputs: readonly Numbers[],
  feeds: ReadonlyMap<string, Numbers>,
) => Float64Array;

const elementwise =
  (f: (x: number) => number) =>
  (_: Value, [x]: readonly Numbers[]): Float64Array =>
    x!.data.map(f);

const broadcast =
  (f: (a: number, b: number) => number) =>
  ({ dims }: Value, [a, b]: readonly Numbers[]): Float64Array => {
    const atA = broadcastOffsets(a!.dims, dims);
    const atB = broadcastOffsets(b!.dims, dims);
    return Float64Array.from(atA, (at, i) => f(a!.data[at]!, b!.data[atB[i]!]!));
  };

const reduction =
  (
    start: number,
    f: (total: number, x: number) => number,
    finish = (total: number, _count: number) => total,
  ) =>
  ({ dims }: Value, [x]: readonly Numbers[]): Float64Array => {
    const results = new Float64Array(count(dims)).fill(start);
    const to = broadcastOffsets(dims, x!.dims);
    x!.data.forEach((one, i) => {
      results[to[i]!] = f(results[to[i]!]!, one);
    });
    return results.map((total) => finish(total, x!.data.length / results.length));
  };

/** (x - mean) / √(variance + eps) over each run of `length` neighbours. */
function normalize(x: Float64Array, length: number, eps: number): Float64Array {
  const results = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += length) {
    const run = x.subarray(start, start + length);
    const mean = run.reduce((sum, one) => sum + one, 0) / length;
    const variance = run.reduce((sum, one) => sum + (one - mean) ** 2, 0) / length;
    run.forEach((one, i) => {
      results[start + i] = (one - mean) / Math.sqrt(variance + eps);
    });
  }
  return results;
}

/** e^x / Σ e^x over each run of `length` neighbours, in place. */
function softmaxInPlace(x: Float64Array, length: number): Float64Array {
  for (let start = 0; start < x.length; start += length) {
    const run = x.subarray(start, start + length);
    const top = run.reduce((most, one) => Math.max(most, one), Number.NEGATIVE_INFINITY);
    const total = run.reduce((sum, one) => sum + Math.exp(one - top), 0);
    run.forEach((one, i) => {
      run[i] = Math.exp(one - top) / total;
    });
  }
  return x;
}

export const operations: { [K in OpName]: Operation<K> } = {
  input: ({ attributes: { name }, dims }, _, feeds) => {
    const given = feeds.get(name);
    if (!given || formatDims(given.dims) !== formatDims(dims)) {
      throw new Error(`Input ${name} must be ${formatDims(dims)}, not ${given && formatDims(given.dims)}`);
    }
    return given.data;
  },
  parameter: ({ attributes: { stored, storage }, dims }) => readParameter(dims, stored, storage).data,
  constant: ({ attributes: { tensor } }) => numbersOf(tensor).data,

  add: broadcast((a, b) => a + b),
  sub: broadcast((a, b) => a - b),
  mul: broadcast((a, b) => a * b),
  div: broadcast((a, b) => a / b),

  exp: elementwise(Math.exp),
  log: elementwise(Math.log),
  sqrt: elementwise(Math.sqrt),
  tanh: elementwise(Math.tanh),
  sigmoid: elementwise(sigmoid),
  relu: elementwise((x) => Math.max(x, 0)),
  silu: elementwise((x) => x * sigmoid(x)),
  quickGelu: elementwise((x) => x * sigmoid(1.702 * x)),
  gelu: ({ attributes: { approximate } }, [x]) =>
    x!.data.map((one) =>
      approximate === "tanh"
        ? 0.5 * one * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (one + 0.044715 * one ** 3)))
        : 0.5 * one * (1 + erf(one / Math.SQRT2)),
    ),
  clamp: ({ attributes: { min, max } }, [x]) => x!.data.map((one) => Math.min(Math.max(one, min), max)),

  matmul: ({ dims }, [a, b]) => {
    const [m, n] = dims.slice(-2) as [number, number];
    const inner = a!.dims.at(-1)!;
    const batch = dims.slice(0, -2);
    const matricesA = broadcastOffsets(a!.dims.slice(0, -2), batch);
    const matricesB = broadcastOffsets(b!.dims.slice(0, -2), batch);
    const results = new Float64Array(count(dims));
    matricesA.forEach((matrixA, index) => {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let k = 0; k < inner; k++) {
            sum +=
              a!.data[(matrixA * m + i) * inner + k]! * b!.data[(matricesB[index]! * inner + k) * n + j]!;
          }
          results[(index * m + i) * n + j] = sum;
        }
      }
    });
    return results;
  },

  linear: ({ dims }, [x, weight, bias]) => {
    const [out, inner] = weight!.dims as [number, number];
    return new Float64Array(count(dims)).map((_, at) => {
      const [row, column] = [Math.floor(at / out), at % out];
      let sum = bias?.data[column] ?? 0;
      for (let k = 0; k < inner; k++) sum += x!.data[row * inner + k]! * weight!.data[column * inner + k]!;
      return sum;
    });
  },

  conv2d: ({ attributes: { stride, padding }, dims }, [x, weight, bias]) => {
    const [batch, filters, rows, columns] = dims as [number, number, number, number];
    const [, channels, height, width] = x!.dims as [number, number, number, number];
    const [, , kernelHeight, kernelWidth] = weight!.dims as [number, number, number, number];
    const [top, left] = padding;
    const results = new Float64Array(count(dims));
    let at = 0;
    for (let b = 0; b < batch; b++) {
      for (let f = 0; f < filters; f++) {
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < columns; j++) {
            let sum = bias?.data[f] ?? 0;
            for (let c = 0; c < channels; c++) {
              for (let u = 0; u < kernelHeight; u++) {
                const row = i * stride + u - top;
                if (row < 0 || row >= height) continue;
                for (let v = 0; v < kernelWidth; v++) {
                  const column = j * stride + v - left;
                  if (column < 0 || column >= width) continue;
                  sum +=
                    x!.data[((b * channels + c) * height + row) * width + column]! *
                    weight!.data[((f * channels + c) * kernelHeight + u) * kernelWidth + v]!;
                }
              }
            }
            results[at++] = sum;
          }
        }
      }
    }
    return results;
  },

  attention: ({ attributes: { heads, scale, causal }, dims }, [q, k, v, bias]) => {
    const [batch, queries, width] = dims as [number, number, number];
    const keys = k!.dims[1]!;
    const channels = q!.dims[2]!;
    const [size, sizeV] = [channels / heads, width / heads];
    const scores = new Float64Array(batch * heads * queries * keys);
    let at = 0;
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < queries; i++) {
          for (let j = 0; j < keys; j++) {
            let sum = 0;
            for (let d = 0; d < size; d++) {
              const channel = h * size + d;
              sum +=
                q!.data[(b * queries + i) * channels + channel]! *
                k!.data[(b * keys + j) * channels + channel]!;
            }
            scores[at++] = causal && j > i + keys - queries ? Number.NEGATIVE_INFINITY : scale * sum;
          }
        }
      }
    }
    if (bias) {
      broadcastOffsets(bias.dims, [batch, heads, queries, keys]).forEach((from, i) => {
        scores[i]! += bias.data[from]!;
      });
    }
    softmaxInPlace(scores, keys);
    return new Float64Array(count(dims)).map((_, place) => {
      const channel = place % width;
      const i = Math.floor(place / width) % queries;
      const b = Math.floor(place / width / queries);
      const h = Math.floor(channel / sizeV);
      let sum = 0;
      for (let j = 0; j < keys; j++) {
        sum +=
          scores[((b * heads + h) * queries + i) * keys + j]! * v!.data[(b * keys + j) * width + channel]!;
      }
      return sum;
    });
  },

  groupNorm: ({ attributes: { groups, eps }, dims }, [x, scale, bias]) => {
    const [batch, channels] = dims as [number, number];
    const cells = count(dims.slice(2));
    return normalize(x!.data, x!.data.length / (batch * groups), eps).map((one, i) => {
      const channel = Math.floor(i / cells) % channels;
      return one * scale!.data[channel]! + bias!.data[channel]!;
    });
  },
  layerNorm: ({ attributes: { eps }, dims }, [x, scale, bias]) => {
    const channels = dims.at(-1)!;
    return normalize(x!.data, channels, eps).map(
      (one, i) => one * scale!.data[i % channels]! + bias!.data[i % channels]!,
    );
  },
  softmax: ({ dims }, [x]) => softmaxInPlace(x!.data.slice(), dims.at(-1)!),

  mean: reduction(
    0,
    (sum, x) => sum + x,
    (sum, terms) => sum / terms,
  ),
  sum: reduction(0, (sum, x) => sum + x),
  max: reduction(Number.NEGATIVE_INFINITY, Math.max),

  reshape: (_, [x]) => x!.data,
  transpose: ({ attributes: { permutation }, dims }, [x]) => {
    const strides = stridesOf(x!.dims);
    const from = offsets(
      dims,
      permutation.map((axis) => strides[axis]!),
    );
    return Float64Array.from(from, (at) => x!.data[at]!);
  },
  concat: ({ attributes: { axis }, dims }, inputs) => {
    const results = new Float64Array(count(dims));
    const strides = stridesOf(dims);
    let start = 0;
    for (const { dims: own, data } of inputs) {
      offsets(own, strides).forEach((to, i) => {
        results[start * strides[axis]! + to] = data[i]!;
      });
      start += own[axis]!;
    }
    return results;
  },
  slice: ({ attributes: { axis, start }, dims }, [x]) => {
    const strides = stridesOf(x!.dims);
    return Float64Array.from(offsets(dims, strides), (at) => x!.data[start * strides[axis]! + at]!);
  },
  gather: (_, [table, indices]) => {
    const row = count(table!.dims.slice(1));
    const results = new Float64Array(indices!.data.length * row);
    indices!.data.forEach((index, i) => {
      results.set(table!.data.subarray(index * row, (index + 1) * row), i * row);
    });
    return results;
  },
  upsampleNearest: ({ dims }, [x]) => {
    const [, , height, width] = dims as [number, number, number, number];
    const [, , h, w] = x!.dims as [number, number, number, number];
    return new Float64Array(count(dims)).map((_, at) => {
      const plane = Math.floor(at / (height * width));
      const row = Math.floor(((Math.floor(at / width) % height) * h) / height);
      const column = Math.floor(((at % width) * w) / width);
      return x!.data[(plane * h + row) * w + column]!;
    });
  },
};
