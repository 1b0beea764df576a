/** @file How each operation is written in ONNX: one entry an operation, so that a missing one does not compile. */

import { count } from "../../tensor/index.js";
import { isOp, type OpName, type Value } from "../value.js";
import { convolution } from "./convolution.js";
import type { Emitter } from "./emitter.js";
import type { Kernels } from "./kernels.js";

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

const reduce =
  (opType: string) =>
  ({ attributes }: Value<"mean" | "sum" | "max">, [x]: readonly string[], to: Emitter): string =>
    to.emit(opType, [x!, to.integers(attributes.axes)], { keepdims: 1 });

function leaf(value: Value): never {
  throw new Error(`${value.op} is bound before lowering`);
}

/** Products with a softmax between; the scores [B, heads, Q, K] are written. */
function explicitAttention(
  { attributes: { heads, scale, causal }, inputs, dims }: Value<"attention">,
  [q, k, v, bias]: readonly [string, string, string, string | undefined],
  to: Emitter,
): string {
  const apart = (name: string, { dims: [batch, length, channels] }: Value) =>
    to.transpose(to.reshape(name, [batch!, length!, heads, channels! / heads]), [0, 2, 1, 3]);
  const [queries, keys, values] = [apart(q, inputs[0]!), apart(k, inputs[1]!), apart(v, inputs[2]!)];
  let scores = to.emit("FusedMatMul", [queries, keys], { transB: 1, alpha: { float: scale } }, microsoft);
  if (bias) scores = to.emit("Add", [scores, bias]);
  if (causal) scores = to.emit("Add", [scores, causalMask(inputs[0]!.dims[1]!, inputs[1]!.dims[1]!, to)]);
  const weights = to.emit("Softmax", [scores], { axis: -1 });
  return to.reshape(to.transpose(to.emit("MatMul", [weights, values]), [0, 2, 1, 3]), dims);
}

/** Without its mean over the last axis. */
function centred(x: string, to: Emitter): string {
  return to.emit("Sub", [x, to.emit("ReduceMean", [x, to.integers([-1])], { keepdims: 1 })]);
}

/** ONNX's default, which every instance normalisation is given where they take each other's. */
const sharedEps = 1e-5;

/** What gives, with the shared epsilon, what `x` gives with its own: var(s x) + s² eps = s² (var(x) + eps). */
function guarded(x: string, eps: number, to: Emitter): string {
  const small = centred(x, to);
  return eps === sharedEps ? small : to.emit("Mul", [small, to.floats([], [Math.sqrt(sharedEps / eps)])]);
}

/** [Q, K]: 0 where a query sees a key, and so little that it counts for nothing where not. */
function causalMask(queries: number, keys: number, to: Emitter): string {
  const hidden = (i: number) => (i % keys) - Math.floor(i / keys) > keys - queries;
  const values = Array.from({ length: queries * keys }, (_, i) => (hidden(i) ? -1e30 : 0));
  return to.floats([queries, keys], values);
}

export const lowerings: { [K in OpName]: Lowering<K> } = {
  input: leaf,
  parameter: leaf,
  constant: leaf,

  add: plain("Add"),
  sub: plain("Sub"),
  mul: plain("Mul"),
  div: plain("Div"),

  exp: plain("Exp"),
  log: plain("Log"),
  sqrt: plain("Sqrt"),
  tanh: plain("Tanh"),
  sigmoid: plain("Sigmoid"),
  relu: plain("Relu"),
  silu: (_, [x], to) => to.emit("QuickGelu", [x!], { alpha: { float: 1 } }, microsoft),
  quickGelu: (_, [x], to) => to.emit("QuickGelu", [x!], { alpha: { float: 1.702 } }, microsoft),
  gelu: ({ attributes }, [x], to) => to.emit("Gelu", [x!], { approximate: attributes.approximate }),
  clamp: ({ attributes: { min, max } }, [x], to) =>
    to.emit("Clip", [x!, to.floats([], [min]), to.floats([], [max])]),

  matmul: plain("MatMul"),

  linear: ({ dims, inputs: [x] }, [data, weight, bias], to) => {
    const rows = to.reshape(data!, [count(x!.dims) / x!.dims.at(-1)!, x!.dims.at(-1)!]);
    const product = to.emit("Gemm", [rows, weight!, ...(bias ? [bias] : [])], { transB: 1 });
    return to.reshape(product, dims);
  },

  conv2d: convolution,

  attention: (value, [q, k, v, bias], to, kernels) => {
    const { heads, scale, causal } = value.attributes;
    if (kernels.attention(value) === "explicit") return explicitAttention(value, [q!, k!, v!, bias], to);
    return to.emit(
      "MultiHeadAttention",
      bias ? [q!, k!, v!, "", "", bias] : [q!, k!, v!],
      { num_heads: heads, scale: { float: scale }, ...(causal && { unidirectional: 1 }) },
      microsoft,
    );
  },

  // GroupNormalization has no kernel of its own on CPU; InstanceNormalization over grouped channels does the same.
  groupNorm: ({ attributes: { groups, eps }, dims }, [x, scale, bias], to, { guardedNorms }) => {
    const [batch, channels, ...grid] = dims;
    const inGroups = to.reshape(x!, [batch!, groups, -1]);
    const grouped = guardedNorms ? guarded(inGroups, eps, to) : inGroups;
    const ones = to.floats([groups], Array(groups).fill(1));
    const zeros = to.floats([groups], Array(groups).fill(0));
    const normal = to.emit("InstanceNormalization", [grouped, ones, zeros], {
      epsilon: { float: guardedNorms ? sharedEps : eps },
    });
    const perChannel = [channels!, ...grid.map(() => 1)];
    const scaled = to.emit("Mul", [to.reshape(normal, dims), to.reshape(scale!, perChannel)]);
    return to.emit("Add", [scaled, to.reshape(bias!, perChannel)]);
  },
  layerNorm: ({ attributes: { eps } }, [x, ...scales], to, { guardedNorms }) => {
    const names = [guardedNorms ? centred(x!, to) : x!, ...scales];
    return to.emit("LayerNormalization", names, { axis: -1, epsilon: { float: eps } });
  },
  softmax: (_, [x], to) => to.emit("Softmax", [x!], { axis: -1 }),

  mean: reduce("ReduceMean"),
  sum: reduce("ReduceSum"),
  max: reduce("ReduceMax"),

  reshape: ({ dims }, [x], to) => to.reshape(x!, dims),
  transpose: ({ attributes }, [x], to) => to.transpose(x!, attributes.permutation),
  concat: ({ attributes }, names, to) => to.emit("Concat", names, { axis: attributes.axis }),
  slice: ({ attributes: { axis, start, end } }, [x], to) => to.slice(x!, axis, start, end),
  gather: ({ inputs: [source] }, [table, indices], to) => {
    const rows = to.emit("Gather", [table!, indices!], { axis: 0 });
    return isOp(source!, "parameter") && source.attributes.stored !== "f32"
      ? to.emit("Cast", [rows], { to: 1 })
      : rows;
  },
  upsampleNearest: ({ dims }, [x], to) =>
    to.emit("Resize", [x!, "", "", to.integers(dims)], {
      mode: "nearest",
      coordinate_transformation_mode: "asymmetric",
      nearest_mode: "floor",
    }),
};
