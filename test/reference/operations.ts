/** @file Each operation by its definition, in doubles: one typed entry an operation, so that a missing one does not compile. */

import type { OpAttributes, OpName, Value } from "../../src/graph/index.js";
import { count, type Dims, formatDims } from "../../src/tensor/index.js";
import { language } from "./language.js";
import { broadcastOffsets, type Numbers, numbersOf, offsets, readParameter, stridesOf } from "./numbers.js";
import { erf, sigmoid } from "./special.js";

/** The numbers of a value, in row-major order, given those of its inputs. */
export type Operation<K extends OpName> = (
  value: Value<K>,
  inputs: readonly Numbers[],
  feeds: ReadonlyMap<string, Numbers>,
) => Float64Array;

type Sizes = readonly [number, number, number, number];

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

/** x - mean of each run of `length` neighbours. */
function centred(x: Float64Array, length: number): Float64Array {
  return x.map((one, i) => {
    const start = Math.floor(i / length) * length;
    return one - x.subarray(start, start + length).reduce((sum, other) => sum + other, 0) / length;
  });
}

/** 1 / √(mean x² + eps) of each run of `length` neighbours. */
function inverses(x: Float64Array, length: number, eps: number): Float64Array {
  return new Float64Array(x.length / length).map((_, i) => {
    const run = x.subarray(i * length, (i + 1) * length);
    return 1 / Math.sqrt(run.reduce((sum, one) => sum + one * one, 0) / length + eps);
  });
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

/** Every product that a convolution adds up: places in the grid, in the weights and in the results. */
function forEachTerm(
  { stride, padding, groups }: OpAttributes["conv2d"],
  grid: Dims,
  weight: Dims,
  results: Dims,
  visit: (from: number, by: number, to: number) => void,
): void {
  const [batch, channels, height, width] = grid as Sizes;
  const [filters, inner, kernelHeight, kernelWidth] = weight as Sizes;
  const [, , rows, columns] = results as Sizes;
  const [top, left] = padding;
  let to = 0;
  for (let b = 0; b < batch; b++) {
    for (let f = 0; f < filters; f++) {
      const first = Math.floor(f / (filters / groups)) * inner;
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          for (let c = 0; c < inner; c++) {
            for (let u = 0; u < kernelHeight; u++) {
              const row = i * stride + u - top;
              if (row < 0 || row >= height) continue;
              for (let v = 0; v < kernelWidth; v++) {
                const column = j * stride + v - left;
                if (column < 0 || column >= width) continue;
                const from = ((b * channels + first + c) * height + row) * width + column;
                visit(from, ((f * inner + c) * kernelHeight + u) * kernelWidth + v, to);
              }
            }
          }
          to++;
        }
      }
    }
  }
}

/** softmax(scale q kᵀ + bias), [B, heads, Q, K] */
function attentionWeights(
  { heads, scale, causal }: OpAttributes["attention"],
  [q, k, bias]: readonly [Numbers, Numbers, Numbers | undefined],
): Float64Array {
  const [batch, queries, channels] = q.dims as [number, number, number];
  const keys = k.dims[1]!;
  const size = channels / heads;
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
              q.data[(b * queries + i) * channels + channel]! * k.data[(b * keys + j) * channels + channel]!;
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
  return softmaxInPlace(scores, keys);
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
  equal: broadcast((a, b) => Number(a === b)),
  greater: broadcast((a, b) => Number(a > b)),

  exp: elementwise(Math.exp),
  log: elementwise(Math.log),
  sqrt: elementwise(Math.sqrt),
  abs: elementwise(Math.abs),
  erf: elementwise(erf),
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

  detach: (_, [x]) => x!.data,

  matmul: ({ attributes: { transposeA, transposeB }, dims }, [a, b]) => {
    const [m, n] = dims.slice(-2) as [number, number];
    const inner = a!.dims.at(transposeA ? -2 : -1)!;
    const [stepI, stepA] = transposeA ? [1, m] : [inner, 1];
    const [stepB, stepJ] = transposeB ? [1, inner] : [n, 1];
    const batch = dims.slice(0, -2);
    const matricesA = broadcastOffsets(a!.dims.slice(0, -2), batch);
    const matricesB = broadcastOffsets(b!.dims.slice(0, -2), batch);
    const results = new Float64Array(count(dims));
    matricesA.forEach((matrixA, index) => {
      const [startA, startB] = [matrixA * m * inner, matricesB[index]! * inner * n];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let k = 0; k < inner; k++) {
            sum += a!.data[startA + i * stepI + k * stepA]! * b!.data[startB + k * stepB + j * stepJ]!;
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

  conv2d: (value, [x, weight, bias]) => {
    const results = new Float64Array(count(value.dims));
    const cells = value.dims[2]! * value.dims[3]!;
    for (let i = 0; bias && i < results.length; i++) {
      results[i] = bias.data[Math.floor(i / cells) % value.dims[1]!]!;
    }
    forEachTerm(value.attributes, x!.dims, weight!.dims, value.dims, (from, by, to) => {
      results[to]! += x!.data[from]! * weight!.data[by]!;
    });
    return results;
  },
  conv2dInputGradient: ({ attributes, dims }, [dy, weight]) => {
    const results = new Float64Array(count(dims));
    forEachTerm(attributes, dims, weight!.dims, dy!.dims, (from, by, to) => {
      results[from]! += dy!.data[to]! * weight!.data[by]!;
    });
    return results;
  },
  conv2dWeightGradient: ({ attributes, dims }, [x, dy]) => {
    const results = new Float64Array(count(dims));
    forEachTerm(attributes, x!.dims, dims, dy!.dims, (from, by, to) => {
      results[by]! += x!.data[from]! * dy!.data[to]!;
    });
    return results;
  },

  attention: (value, [q, k, v, bias]) => {
    const { heads, causal, scale } = value.attributes;
    const weights = attentionWeights({ heads, causal, scale }, [q!, k!, bias]);
    const [, queries, width] = value.dims as [number, number, number];
    const keys = k!.dims[1]!;
    const sizeV = width / heads;
    return new Float64Array(count(value.dims)).map((_, place) => {
      const channel = place % width;
      const i = Math.floor(place / width) % queries;
      const b = Math.floor(place / width / queries);
      const h = Math.floor(channel / sizeV);
      let sum = 0;
      for (let j = 0; j < keys; j++) {
        sum +=
          weights[((b * heads + h) * queries + i) * keys + j]! * v!.data[(b * keys + j) * width + channel]!;
      }
      return sum;
    });
  },
  attentionWeights: ({ attributes }, [q, k, bias]) => attentionWeights(attributes, [q!, k!, bias]),
  ...language,

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
  groupCentred: ({ attributes: { groups } }, [x]) =>
    centred(x!.data, x!.data.length / (x!.dims[0]! * groups)),
  groupInverse: ({ attributes: { eps }, dims }, [x]) => inverses(x!.data, x!.data.length / count(dims), eps),
  layerMean: ({ dims }, [x]) => {
    const length = x!.dims.at(-1)!;
    const means = centred(x!.data, length);
    return new Float64Array(count(dims)).map((_, i) => x!.data[i * length]! - means[i * length]!);
  },
  layerInverse: ({ attributes: { eps } }, [x]) => {
    const length = x!.dims.at(-1)!;
    return inverses(centred(x!.data, length), length, eps);
  },
  affine: ({ dims }, [x, scale, bias]) =>
    x!.data.map((one, i) => {
      const row = Math.floor(i / dims[1]!);
      return one * scale!.data[row]! + bias!.data[row]!;
    }),
  rmsNorm: ({ attributes: { eps }, dims }, [x, scale]) => {
    const channels = dims.at(-1)!;
    const results = x!.data.map((one, i) => one * scale!.data[i % channels]!);
    for (let start = 0; start < results.length; start += channels) {
      const square = x!.data.subarray(start, start + channels).reduce((sum, one) => sum + one * one, 0);
      const root = Math.sqrt(square / channels + eps);
      for (let i = start; i < start + channels; i++) results[i]! /= root;
    }
    return results;
  },
  softmax: ({ dims }, [x]) => softmaxInPlace(x!.data.slice(), dims.at(-1)!),
  logSoftmax: ({ dims }, [x]) => {
    const results = x!.data.slice();
    const length = dims.at(-1)!;
    for (let start = 0; start < results.length; start += length) {
      const run = results.subarray(start, start + length);
      const top = run.reduce((most, one) => Math.max(most, one), Number.NEGATIVE_INFINITY);
      const total = run.reduce((sum, one) => sum + Math.exp(one - top), 0);
      run.forEach((one, i) => {
        run[i] = one - top - Math.log(total);
      });
    }
    return results;
  },

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
  pad: ({ attributes: { before }, dims }, [x]) => {
    const results = new Float64Array(count(dims));
    const strides = stridesOf(dims);
    const start = before.reduce((total, cells, axis) => total + cells * strides[axis]!, 0);
    offsets(x!.dims, strides).forEach((to, i) => {
      results[start + to] = x!.data[i]!;
    });
    return results;
  },
  expand: ({ dims }, [x]) => Float64Array.from(broadcastOffsets(x!.dims, dims), (at) => x!.data[at]!),
  scatterAdd: ({ dims }, [indices, updates]) => {
    const row = count(dims.slice(1));
    const results = new Float64Array(count(dims));
    updates!.data.forEach((one, i) => {
      results[indices!.data[Math.floor(i / row)]! * row + (i % row)]! += one;
    });
    return results;
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
  upsampleNearestGradient: ({ dims }, [dy]) => {
    const [, , h, w] = dims as Sizes;
    const [, , height, width] = dy!.dims as Sizes;
    const results = new Float64Array(count(dims));
    dy!.data.forEach((one, at) => {
      const plane = Math.floor(at / (height * width));
      const row = Math.floor(((Math.floor(at / width) % height) * h) / height);
      results[(plane * h + row) * w + Math.floor(((at % width) * w) / width)]! += one;
    });
    return results;
  },
  after: (_, [x]) => x!.data,
};
