/** @file How each operation is written in ONNX: one entry an operation, so that a missing one does not compile. */

import { count, type Dims, Tensor } from "../../tensor/index.js";
import { isOp, type OpName, type Value } from "../value.js";
import { convolution } from "./convolution.js";
import { inputGradient, weightGradient } from "./convolution-gradients.js";
import type { Emitter } from "./emitter.js";
import type { Kernels } from "./kernels.js";
import { cachedAttention, quantizedLinear, rotary } from "./language.js";

/** Writes one value; its inputs are written already. Returns the name of its output. */
export type Lowering<K extends OpName> = (
  value: Value<K>,
  names: readonly string[],
  to: Emitter,
  kernels: Kernels,
) => string;

const microsoft = { domain: "com.microsoft" } as const;

const plain =
  (opType: string) =>
  (_: Value, names: readonly string[], to: Emitter): string =>
    to.emit(opType, names);

const compare =
  (opType: string) =>
  (_: Value, names: readonly string[], to: Emitter): string =>
    to.emit("Cast", [to.emit(opType, names)], { to: 1 });

const flags = (transposeA: boolean, transposeB: boolean) => ({
  transA: Number(transposeA),
  transB: Number(transposeB),
});

const reduce =
  (opType: string) =>
  ({ attributes }: Value<"mean" | "sum" | "max">, [x]: readonly string[], to: Emitter): string =>
    to.emit(opType, [x!, to.integers(attributes.axes)], { keepdims: 1 });

function leaf(value: Value): never {
  throw new Error(`${value.op} is bound before lowering`);
}

/** Scores of more bytes are computed a part of the queries at a time: graphics cards bind no larger buffers. */
const largestScores = 2 ** 27;

/** Heads apart, and the axes [B, T, heads, d] in another order. */
function apart(
  name: string,
  { dims: [batch, length, channels] }: Value,
  heads: number,
  order: readonly number[],
  to: Emitter,
): string {
  return to.transpose(to.reshape(name, [batch!, length!, heads, channels! / heads]), order);
}

/** Products with a softmax between; the scores [B, heads, Q, K] are written. */
function explicitAttention(
  { attributes: { heads, scale }, inputs, dims }: Value<"attention">,
  [q, k, v]: readonly [string, string, string],
  bias: string | undefined,
  to: Emitter,
): string {
  const queries = to.emit("Mul", [apart(q, inputs[0]!, heads, [0, 2, 1, 3], to), to.floats([], [scale])]);
  const keys = apart(k, inputs[1]!, heads, [0, 2, 3, 1], to);
  const values = apart(v, inputs[2]!, heads, [0, 2, 1, 3], to);
  const [batch, length] = dims as [number, number, number];
  const parts = Math.ceil((4 * batch * heads * length * inputs[1]!.dims[1]!) / largestScores);
  const size = Math.ceil(length / parts);
  const seen: string[] = [];
  for (let from = 0; from < length; from += size) {
    const some = (x: string) => (parts === 1 ? x : to.slice(x, 2, from, Math.min(from + size, length)));
    const scores = to.emit("MatMul", [some(queries), keys]);
    const biased = bias ? to.emit("Add", [scores, some(bias)]) : scores;
    seen.push(to.emit("MatMul", [to.emit("Softmax", [biased], { axis: -1 }), values]));
  }
  const whole = seen.length === 1 ? seen[0]! : to.emit("Concat", seen, { axis: 2 });
  return to.reshape(to.transpose(whole, [0, 2, 1, 3]), dims);
}

/** softmax(scale q kᵀ + bias): [B, heads, Q, K] */
function weightsOf(
  value: Value<"attention" | "attentionWeights">,
  [q, k, bias]: readonly string[],
  to: Emitter,
): string {
  const { heads, scale, causal } = value.attributes;
  const queries = apart(q!, value.inputs[0]!, heads, [0, 2, 1, 3], to);
  const keys = apart(k!, value.inputs[1]!, heads, [0, 2, 1, 3], to);
  const scores = to.emit("FusedMatMul", [queries, keys], { transB: 1, alpha: { float: scale } }, microsoft);
  const biased = bias ? to.emit("Add", [scores, bias]) : scores;
  const masked = causal ? to.emit("Add", [biased, causalMask(value, to)]) : biased;
  return to.emit("Softmax", [masked], { axis: -1 });
}

/** As `explicitAttention`, by nodes that its gradients have in common. */
function keptAttention(value: Value<"attention">, names: readonly string[], to: Emitter): string {
  const [q, k, v, ...bias] = names as [string, string, string, string?];
  const weights = weightsOf(value, [q, k, ...(bias as string[])], to);
  const values = apart(v, value.inputs[2]!, value.attributes.heads, [0, 2, 1, 3], to);
  return to.reshape(to.transpose(to.emit("MatMul", [weights, values]), [0, 2, 1, 3]), value.dims);
}

function meanOf(x: string, to: Emitter): string {
  return to.emit("ReduceMean", [x, to.integers([-1])], { keepdims: 1 });
}

/** Without its mean over the last axis. */
function centred(x: string, to: Emitter): string {
  return to.emit("Sub", [x, meanOf(x, to)]);
}

/** 1 / √(mean x² + eps) over the last axis. */
function inverseRoot(x: string, eps: number, to: Emitter): string {
  const variance = meanOf(to.emit("Mul", [x, x]), to);
  const root = to.emit("Sqrt", [to.emit("Add", [variance, to.floats([], [eps])])]);
  return to.emit("Reciprocal", [root]);
}

/** Without the mean of its group: [B, groups, n] */
function groupCentred(x: string, dims: Dims, groups: number, to: Emitter): string {
  return centred(to.reshape(x, [dims[0]!, groups, -1]), to);
}

/** scale x + bias for each row of x [R, n], in one pass: a batch normalisation that normalises nothing. */
function affine(x: string, scale: string, bias: string, [rows, columns]: Dims, to: Emitter): string {
  const zeros = to.shared(`zeros ${rows}`, () => Tensor.f32([rows!]));
  const ones = to.shared(`ones ${rows}`, () => Tensor.f32([rows!], new Float32Array(rows!).fill(1)));
  const inRows = to.reshape(x, [1, rows!, columns!]);
  const result = to.emit("BatchNormalization", [inRows, scale, bias, zeros, ones], { epsilon: { float: 0 } });
  return to.reshape(result, [rows!, columns!]);
}

/** By the numbers that its gradient needs as well. */
function sharedGroupNorm(
  { attributes: { groups, eps }, dims }: Value<"groupNorm">,
  [x, scale, bias]: readonly [string, string, string],
  to: Emitter,
): string {
  const [batch, channels] = dims as [number, number];
  const [rows, perGroup] = [batch * channels, channels / groups];
  const own = to.reshape(groupCentred(x, dims, groups, to), dims);
  const inverse = inverseRoot(to.reshape(own, [batch, groups, -1]), eps, to);
  const scales = to.emit("Mul", [to.reshape(scale, [1, groups, perGroup]), inverse]);
  const biases = to.emit("Expand", [to.reshape(bias, [1, channels]), to.integers([batch, channels])]);
  const perRow = (name: string) => to.reshape(name, [rows]);
  const inRows = to.reshape(own, [rows, count(dims) / rows]);
  return to.reshape(affine(inRows, perRow(scales), perRow(biases), [rows, count(dims) / rows], to), dims);
}

/** One node that gives all that its gradient needs too. */
function layerParts(
  eps: number,
  names: readonly string[],
  to: Emitter,
): { result: string; mean: string; inverse: string } {
  const attributes = { axis: -1, epsilon: { float: eps } };
  const [result, mean, inverse] = to.emitAll("LayerNormalization", names, attributes, { outputs: 3 });
  return { result: result!, mean: mean!, inverse: inverse! };
}

/** ONNX's default, which every instance normalisation is given where they take each other's. */
const sharedEps = 1e-5;

/** What gives, with the shared epsilon, what `x` gives with its own: var(s x) + s² eps = s² (var(x) + eps). */
function guarded(x: string, eps: number, to: Emitter): string {
  const small = centred(x, to);
  return eps === sharedEps ? small : to.emit("Mul", [small, to.floats([], [Math.sqrt(sharedEps / eps)])]);
}

/**
 * [1, 1, Q, K]: 0 where a query sees a key, and so little that it counts for nothing where not. The kernels' own causal
 * attention differs between devices where there are more keys than queries.
 */
function causalMask({ inputs }: Value<"attention" | "attentionWeights">, to: Emitter): string {
  const [queries, keys] = [inputs[0]!.dims[1]!, inputs[1]!.dims[1]!];
  return to.shared(`causal ${queries} ${keys}`, () => {
    const hidden = (i: number) => (i % keys) - Math.floor(i / keys) > keys - queries;
    return Tensor.f32(
      [1, 1, queries, keys],
      Float32Array.from({ length: queries * keys }, (_, i) => (hidden(i) ? -1e30 : 0)),
    );
  });
}

/** The neighbours floor(i from / to) along one axis of a grid. */
function nearest(x: string, axis: number, from: number, size: number, to: Emitter): string {
  if (from === size) return x;
  const places = Tensor.i64(
    [size],
    Array.from({ length: size }, (_, i) => Math.floor((i * from) / size)),
  );
  return to.emit("Gather", [x, to.constant(places)], { axis });
}

/** Which of `size` places are copies of each of `from`: [from, size], or with its axes swapped. */
function copies(from: number, size: number, along: "rows" | "columns"): Tensor {
  const isCopy = (source: number, place: number) => Number(Math.floor((place * from) / size) === source);
  return along === "rows"
    ? Tensor.f32(
        [from, size],
        Float32Array.from({ length: from * size }, (_, i) => isCopy(Math.floor(i / size), i % size)),
      )
    : Tensor.f32(
        [size, from],
        Float32Array.from({ length: from * size }, (_, i) => isCopy(i % from, Math.floor(i / from))),
      );
}

/** Groups of more numbers lose digits: the kernel adds them one after another in f32. */
const largestGroup = 2 ** 16;

/** Sums of this many numbers are taken first, then the sum of the sums. */
const partSize = 1024;

/**
 * The norm of groups so large that sums are taken in two steps, of what the mean has been taken from: E[x²] - E[x]²
 * loses the digits that a large mean covers. In groups, [batch, groups, parts, partSize].
 */
function normalInParts(grouped: string, size: number, eps: number, to: Emitter): string {
  const average = (opType: string, x: string) => {
    const parts = to.emit(opType, [x, to.integers([3])], { keepdims: 1 });
    const sum = to.emit("ReduceSum", [parts, to.integers([2])], { keepdims: 1 });
    return to.emit("Div", [sum, to.floats([], [size])]);
  };
  const centre = to.emit("Sub", [grouped, average("ReduceSum", grouped)]);
  const variance = to.emit("Add", [average("ReduceSumSquare", centre), to.floats([], [eps])]);
  return to.emit("Mul", [centre, to.emit("Reciprocal", [to.emit("Sqrt", [variance])])]);
}

export const lowerings: { [K in OpName]: Lowering<K> } = {
  input: leaf,
  parameter: leaf,
  constant: leaf,

  add: plain("Add"),
  sub: plain("Sub"),
  mul: plain("Mul"),
  div: plain("Div"),

  equal: compare("Equal"),
  greater: compare("Greater"),

  exp: plain("Exp"),
  log: plain("Log"),
  sqrt: plain("Sqrt"),
  abs: plain("Abs"),
  erf: plain("Erf"),
  tanh: plain("Tanh"),
  sigmoid: plain("Sigmoid"),
  relu: plain("Relu"),
  silu: (_, [x], to) => to.emit("QuickGelu", [x!], { alpha: { float: 1 } }, microsoft),
  quickGelu: (_, [x], to) => to.emit("QuickGelu", [x!], { alpha: { float: 1.702 } }, microsoft),
  gelu: ({ attributes }, [x], to) => to.emit("Gelu", [x!], { approximate: attributes.approximate }),
  clamp: ({ attributes: { min, max } }, [x], to) =>
    to.emit("Clip", [x!, to.floats([], [min]), to.floats([], [max])]),

  detach: (_, [x]) => x!,

  matmul: (value, [a, b], to, { turn }) => {
    const { transposeA, transposeB } = value.attributes;
    if (!turn?.(value)) {
      if (!transposeA && !transposeB) return to.emit("MatMul", [a!, b!]);
      return to.emit("FusedMatMul", [a!, b!], flags(transposeA, transposeB), microsoft);
    }
    const product = to.emit("FusedMatMul", [b!, a!], flags(!transposeB, !transposeA), microsoft);
    const axes = value.dims.map((_, axis) => axis);
    return to.transpose(product, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]);
  },

  linear: (value, [data, weight, bias], to, { turn }) => {
    const { dims, inputs } = value;
    const rows = to.reshape(data!, [-1, inputs[0]!.dims.at(-1)!]);
    // Of the leading sizes the last is left open, for graphs of any size.
    const shape = dims.length > 1 ? dims.with(-2, -1) : dims;
    if (turn?.(value)) {
      const column = bias ? [to.reshape(bias, [dims.at(-1)!, 1])] : [];
      const product = to.emit("Gemm", [weight!, rows, ...column], { transB: 1 });
      return to.reshape(to.transpose(product, [1, 0]), shape);
    }
    const product = to.emit("Gemm", [rows, weight!, ...(bias ? [bias] : [])], { transB: 1 });
    return to.reshape(product, shape);
  },

  conv2d: convolution,
  conv2dInputGradient: inputGradient,
  conv2dWeightGradient: weightGradient,

  attention: (value, [q, k, v, bias], to, kernels) => {
    const { heads, scale, causal } = value.attributes;
    const mask = causal ? causalMask(value, to) : undefined;
    const added = bias && mask ? to.emit("Add", [bias, mask]) : (bias ?? mask);
    const algorithm = kernels.attention(value);
    if (algorithm === "kept") return keptAttention(value, [q!, k!, v!, ...(bias ? [bias] : [])], to);
    if (algorithm === "explicit") return explicitAttention(value, [q!, k!, v!], added, to);
    const operands = added ? [q!, k!, v!, "", "", added] : [q!, k!, v!];
    const attributes = { num_heads: heads, scale: { float: scale } };
    return to.emit("MultiHeadAttention", operands, attributes, microsoft);
  },

  attentionWeights: (value, names, to) => weightsOf(value, names, to),

  rotary,
  cachedAttention,
  quantizedLinear,

  // GroupNormalization has no kernel of its own on CPU; InstanceNormalization over grouped channels does the same.
  groupNorm: (value, [x, scale, bias], to, { guardedNorms, merges }) => {
    if (merges) return sharedGroupNorm(value, [x!, scale!, bias!], to);
    const {
      attributes: { groups, eps },
      dims,
    } = value;
    const [batch, channels, ...grid] = dims as [number, number, ...number[]];
    const size = (channels / groups) * count(grid);
    const perChannel = [1, channels, ...grid.map(() => 1)];
    const affine = (normal: string) => {
      const scaled = to.emit("Mul", [to.reshape(normal, dims), to.reshape(scale!, perChannel)]);
      return to.emit("Add", [scaled, to.reshape(bias!, perChannel)]);
    };
    if (size > largestGroup && size % partSize === 0) {
      const inParts = to.reshape(x!, [batch, groups, size / partSize, partSize]);
      return affine(normalInParts(inParts, size, eps, to));
    }
    const inGroups = to.reshape(x!, [batch, groups, -1]);
    const grouped = guardedNorms ? guarded(inGroups, eps, to) : inGroups;
    const ones = to.floats([groups], Array(groups).fill(1));
    const zeros = to.floats([groups], Array(groups).fill(0));
    const normal = to.emit("InstanceNormalization", [grouped, ones, zeros], {
      epsilon: { float: guardedNorms ? sharedEps : eps },
    });
    return affine(normal);
  },
  layerNorm: ({ attributes: { eps } }, [x, ...scales], to, { guardedNorms, merges }) => {
    if (merges) return layerParts(eps, [x!, ...scales], to).result;
    const names = [guardedNorms ? centred(x!, to) : x!, ...scales];
    return to.emit("LayerNormalization", names, { axis: -1, epsilon: { float: eps } });
  },
  groupCentred: ({ attributes: { groups }, dims }, [x], to) =>
    to.reshape(groupCentred(x!, dims, groups, to), dims),
  groupInverse: ({ attributes: { eps }, dims }, [centred], to) =>
    inverseRoot(to.reshape(centred!, [dims[0]!, dims[1]!, -1]), eps, to),
  layerMean: ({ attributes: { eps } }, names, to, { merges }) =>
    merges ? layerParts(eps, names, to).mean : meanOf(names[0]!, to),
  layerInverse: ({ attributes: { eps } }, names, to, { merges }) =>
    merges ? layerParts(eps, names, to).inverse : inverseRoot(centred(names[0]!, to), eps, to),
  affine: ({ dims }, [x, scale, bias], to) => affine(x!, scale!, bias!, dims as [number, number], to),
  rmsNorm: ({ attributes: { eps } }, names, to) =>
    to.emit("SimplifiedLayerNormalization", names, { axis: -1, epsilon: { float: eps } }),
  softmax: (_, [x], to) => to.emit("Softmax", [x!], { axis: -1 }),
  logSoftmax: (_, [x], to) => to.emit("LogSoftmax", [x!], { axis: -1 }),

  mean: reduce("ReduceMean"),
  sum: reduce("ReduceSum"),
  max: reduce("ReduceMax"),

  // Sizes that stay are copied and the next one is left open, for graphs of any size.
  reshape: ({ dims, inputs: [source] }, [x], to) => {
    const changed = dims.findIndex((size, axis) => size !== source!.dims[axis]);
    return to.reshape(
      x!,
      dims.map((size, axis) => (changed === -1 || axis < changed ? 0 : axis === changed ? -1 : size)),
    );
  },
  transpose: ({ attributes }, [x], to) => to.transpose(x!, attributes.permutation),
  concat: ({ attributes }, names, to) => to.emit("Concat", names, { axis: attributes.axis }),
  slice: ({ attributes: { axis, start, end } }, [x], to) => to.slice(x!, axis, start, end),
  pad: ({ attributes: { before, after } }, [x], to) =>
    to.emit("Pad", [x!, to.integers([...before, ...after])]),
  expand: ({ dims }, [x], to) => to.emit("Expand", [x!, to.integers(dims)]),
  gather: ({ inputs: [source] }, [table, indices], to, { castTables }) => {
    const rows = to.emit("Gather", [table!, indices!], { axis: 0 });
    const half = isOp(source!, "parameter") && source.attributes.stored !== "f32";
    return half && !castTables ? to.emit("Cast", [rows], { to: 1 }) : rows;
  },
  scatterAdd: ({ dims, inputs }, [indices, updates], to) => {
    const zeros = to.emit("Expand", [to.floats([], [0]), to.integers(dims)]);
    const places = to.reshape(indices!, [...inputs[0]!.dims, 1]);
    return to.emit("ScatterND", [zeros, places, updates!], { reduction: "add" });
  },
  upsampleNearest: ({ dims, inputs }, [x], to) => {
    const [, , height, width] = dims as [number, number, number, number];
    const [, , h, w] = inputs[0]!.dims as [number, number, number, number];
    // Resize divides in f32, which is exact for 2, 4, 8 times as large.
    if ([height / h, width / w].every((times) => Number.isInteger(Math.log2(times)))) {
      return to.emit("Resize", [x!, "", "", to.integers(dims)], {
        mode: "nearest",
        coordinate_transformation_mode: "asymmetric",
        nearest_mode: "floor",
      });
    }
    return nearest(nearest(x!, 2, h, height, to), 3, w, width, to);
  },
  upsampleNearestGradient: ({ dims, inputs }, [dy], to) => {
    const [batch, channels, h, w] = dims as [number, number, number, number];
    const [, , height, width] = inputs[0]!.dims as [number, number, number, number];
    if (height % h === 0 && width % w === 0) {
      const apart = to.reshape(dy!, [batch * channels, h, height / h, w, width / w]);
      const sums = to.emit("ReduceSum", [apart, to.integers([2, 4])], { keepdims: 0 });
      return to.reshape(sums, dims);
    }
    const across = to.emit("MatMul", [dy!, to.constant(copies(w, width, "columns"))]);
    return to.emit("MatMul", [to.constant(copies(h, height, "rows")), across]);
  },

  // A shape that is only known once `first` is: no number is larger than infinity.
  after: ({ dims, inputs }, [x, first], to) => {
    const number = inputs[1]!.dims.reduce<string>((part, _, axis) => to.slice(part, axis, 0, 1), first!);
    const larger = to.emit("Greater", [to.reshape(number, [1]), to.floats([1], [Number.POSITIVE_INFINITY])]);
    const shape = to.emit("Add", [to.emit("Cast", [larger], { to: 7 }), to.integers(dims)]);
    return to.emit("Reshape", [x!, shape]);
  },
};
