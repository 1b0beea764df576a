/** @file Random uses of every operation: shapes, broadcasting, axes, strides, paddings, heads, stored types. */

import fc from "fast-check";
import type { OpName, Padding, Value } from "../../src/graph/index.js";
import * as graph from "../../src/graph/index.js";
import { type Dims, type DType, Tensor } from "../../src/tensor/index.js";
import type { Bench, Spread } from "./bench.js";
import { languageUses } from "./language-cases.js";

/** Makes one value with fresh random inputs. */
export type Use = (bench: Bench) => Value;

const size = (max: number) => fc.integer({ min: 1, max });
const shape = (min: number, max: number, largest = 5) =>
  fc.array(size(largest), { minLength: min, maxLength: max });
const stored = fc.constantFrom<DType>("f32", "f16", "bf16");
const epsilon = fc.constantFrom(1e-5, 1e-6);

const unary = (op: (x: Value) => Value, spread: Spread = "normal"): fc.Arbitrary<Use> =>
  shape(0, 4).map((dims) => (bench) => op(bench.input(dims, spread)));

/** Two shapes that broadcast: some axes of either are 1 or missing. */
const broadcastable = shape(0, 4).chain((dims) =>
  fc
    .tuple(
      fc.array(fc.boolean(), { minLength: dims.length, maxLength: dims.length }),
      fc.array(fc.boolean(), { minLength: dims.length, maxLength: dims.length }),
      fc.integer({ min: 0, max: dims.length }),
      fc.boolean(),
    )
    .map(([a, b, missing, swap]): [Dims, Dims] => {
      const left = dims.map((one, i) => (a[i] ? 1 : one));
      const right = dims.map((one, i) => (b[i] ? 1 : one)).slice(missing);
      return swap ? [right, left] : [left, right];
    }),
);

/** The second operand is fed, a parameter, or a constant. */
const operand = fc.constantFrom<(bench: Bench, dims: Dims, type: DType) => Value>(
  (bench, dims) => bench.input(dims),
  (bench, dims, type) => bench.parameter(dims, type),
  (bench, dims) => bench.constant(dims),
);

const binary = (op: (a: Value, b: Value) => Value): fc.Arbitrary<Use> =>
  fc.tuple(broadcastable, operand, stored).map(
    ([[a, b], second, type]) =>
      (bench) =>
        op(bench.input(a), second(bench, b, type)),
  );

const reduction = (op: (x: Value, ...axes: number[]) => Value): fc.Arbitrary<Use> =>
  shape(1, 4, 7).chain((dims) =>
    fc
      .uniqueArray(fc.nat(dims.length - 1), { minLength: 1 })
      .chain((axes) => fc.tuple(...axes.map((axis) => fc.constantFrom(axis, axis - dims.length))))
      .map((axes) => (bench: Bench) => op(bench.input(dims), ...axes)),
  );

const padding = fc.oneof(
  fc.nat(2),
  fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2), fc.nat(2)) as fc.Arbitrary<Padding>,
);

/** Whole numbers, so that some are equal. */
const comparison = (op: (a: Value, b: Value) => Value): fc.Arbitrary<Use> =>
  broadcastable.map(([a, b]) => (bench) => {
    const whole = (dims: Dims) => {
      const numbers = bench.random(dims).toFloat32();
      return bench.given(Tensor.f32(dims, numbers.map(Math.round)));
    };
    return op(whole(a), whole(b));
  });

/** A convolution, of which the gradients are made too. */
const convolution = fc
  .record({
    batch: size(3),
    channels: fc.oneof(size(9), fc.constantFrom(8, 16, 32)),
    filters: fc.oneof(size(9), fc.constantFrom(8, 16, 32)),
    groups: fc.constantFrom(1, 1, 2, 3),
    grid: fc.tuple(size(13), size(13)),
    kernel: fc.oneof(fc.constantFrom([1, 1] as const, [3, 3] as const), fc.tuple(size(4), size(4))),
    stride: size(3),
    padding,
    type: stored,
    biased: fc.boolean(),
    trained: fc.boolean(),
  })
  .filter(({ grid, kernel, padding: pads }) => {
    const [top, left, bottom, right] = typeof pads === "number" ? [pads, pads, pads, pads] : pads;
    return grid[0] + top + bottom >= kernel[0] && grid[1] + left + right >= kernel[1];
  })
  .map(
    ({ batch, channels, filters, groups, grid, kernel, stride, padding: pads, type, biased, trained }) =>
      (bench: Bench) => {
        const dims = [filters * groups, channels, ...kernel];
        const weight = trained
          ? bench.parameter(dims, type, channels * kernel[0] * kernel[1])
          : bench.input(dims);
        const bias = biased ? bench.parameter([filters * groups], type) : undefined;
        const x = bench.input([batch, channels * groups, ...grid]);
        return graph.conv2d(x, weight, bias, { stride, padding: pads, groups });
      },
  );

const attention = fc
  .record({
    batch: size(3),
    queries: size(19),
    keys: size(19),
    heads: size(4),
    width: fc.constantFrom(1, 3, 8, 16, 40),
    widthV: fc.option(fc.constantFrom(1, 3, 8, 16), { nil: undefined }),
    causal: fc.boolean(),
    bias: fc.option(fc.tuple(fc.boolean(), fc.boolean()), { nil: undefined }),
    scale: fc.constantFrom(1, 0.125, 0.3),
  })
  .map(({ batch, queries, keys, heads, width, widthV = width, causal, bias, scale }) => (bench: Bench) => {
    const length = causal ? Math.max(queries, keys) : keys;
    const options = { heads, scale, causal };
    return graph.attention(
      bench.input([batch, queries, heads * width]),
      bench.input([batch, length, heads * width]),
      bench.input([batch, length, heads * widthV]),
      bias
        ? { ...options, bias: bench.input([bias[0] ? batch : 1, bias[1] ? heads : 1, queries, length]) }
        : options,
    );
  });

/** Rows of a table and indices into it. */
const rows = fc.tuple(
  size(12),
  shape(0, 2),
  shape(0, 3),
  stored,
  fc.boolean(),
  fc.infiniteStream(fc.nat(1000)),
);

function indicesOf(bench: Bench, count: number, places: Dims, stream: fc.Stream<number>): Value {
  const length = places.reduce((product, one) => product * one, 1);
  return bench.given(
    Tensor.i64(
      places,
      [...stream.take(length)].map((one) => one % count),
    ),
  );
}

const upsampling = fc.tuple(size(2), size(3), size(30), size(30), size(40), size(40)).map(
  ([batch, channels, h, w, height, width]) =>
    (bench: Bench) =>
      graph.upsampleNearest(bench.input([batch, channels, h, w]), Math.max(h, height), Math.max(w, width)),
);

const groupNorm = fc
  .tuple(size(3), size(4), size(5), fc.array(size(9), { minLength: 0, maxLength: 2 }), epsilon, stored)
  .map(([batch, groups, width, grid, eps, type]) => (bench: Bench) => {
    const channels = groups * width;
    const x = bench.input([batch, channels, ...grid]);
    return graph.groupNorm(x, bench.parameter([channels], type), bench.parameter([channels], type), {
      groups,
      eps,
    });
  });

const layerNorm = fc
  .tuple(shape(0, 3), size(64), epsilon, stored)
  .map(([rows, channels, eps, type]) => (bench: Bench) => {
    const x = bench.input([...rows, channels]);
    return graph.layerNorm(x, bench.parameter([channels], type), bench.parameter([channels], type), {
      eps,
    });
  });

/** One typed entry an operation, leaves apart. */
export const uses: { [K in Exclude<OpName, "input" | "parameter" | "constant">]: fc.Arbitrary<Use> } = {
  add: binary(graph.add),
  sub: binary(graph.sub),
  mul: binary(graph.mul),
  div: broadcastable.map(
    ([a, b]) =>
      (bench) =>
        graph.div(bench.input(a), bench.input(b, "positive")),
  ),

  equal: comparison(graph.equal),
  greater: comparison(graph.greater),

  exp: unary(graph.exp),
  log: unary(graph.log, "positive"),
  sqrt: unary(graph.sqrt, "positive"),
  abs: unary(graph.abs),
  erf: unary(graph.erf),
  detach: unary(graph.detach),
  tanh: unary(graph.tanh),
  sigmoid: unary(graph.sigmoid),
  relu: unary(graph.relu),
  silu: unary(graph.silu),
  quickGelu: unary(graph.quickGelu),
  gelu: fc.tuple(shape(0, 4), fc.constantFrom("none" as const, "tanh" as const)).map(
    ([dims, approximate]) =>
      (bench) =>
        graph.gelu(graph.mul(bench.input(dims), 2), { approximate }),
  ),
  clamp: fc
    .tuple(
      shape(0, 4),
      fc.double({ min: -2, max: 0, noNaN: true }),
      fc.double({ min: 0, max: 2, noNaN: true }),
    )
    .map(
      ([dims, min, max]) =>
        (bench) =>
          graph.clamp(bench.input(dims), min, max),
    ),

  matmul: fc
    .record({
      batch: broadcastable.filter(([a, b]) => a.length <= 3 && b.length <= 3),
      m: size(9),
      k: size(33),
      n: size(9),
      second: operand,
      type: stored,
      transposeA: fc.boolean(),
      transposeB: fc.boolean(),
    })
    .map(({ batch: [a, b], m, k, n, second, type, transposeA, transposeB }) => (bench) => {
      const left = bench.input([...a, ...(transposeA ? [k, m] : [m, k])]);
      const right = second(bench, [...b, ...(transposeB ? [n, k] : [k, n])], type);
      return graph.matmul(left, right, { transposeA, transposeB });
    }),
  linear: fc
    .tuple(shape(0, 3), size(70), size(40), stored, fc.boolean(), fc.boolean())
    .map(([rows, inner, out, type, biased, trained]) => (bench) => {
      const weight = trained ? bench.parameter([out, inner], type, inner) : bench.input([out, inner]);
      return graph.linear(
        bench.input([...rows, inner]),
        weight,
        biased ? bench.parameter([out], type) : undefined,
      );
    }),
  conv2d: convolution,
  conv2dInputGradient: convolution.map((use) => (bench) => {
    const forward = use(bench);
    const [x, weight] = forward.inputs as [Value, Value];
    return graph.conv2dInputGradient(bench.input(forward.dims), weight, x.dims, forward.attributes);
  }),
  conv2dWeightGradient: convolution.map((use) => (bench) => {
    const forward = use(bench);
    const [x, weight] = forward.inputs as [Value, Value];
    return graph.conv2dWeightGradient(x, bench.input(forward.dims), weight.dims, forward.attributes);
  }),
  attention,
  attentionWeights: attention.map((use) => (bench) => graph.attentionWeights(use(bench))),
  ...languageUses,

  groupNorm,
  groupCentred: groupNorm.map((use) => (bench) => graph.groupCentred(use(bench))),
  groupInverse: groupNorm.map((use) => (bench) => {
    const normal = use(bench);
    return graph.groupInverse(graph.groupCentred(normal), normal.attributes);
  }),
  layerNorm,
  layerMean: layerNorm.map((use) => (bench) => graph.layerMean(use(bench))),
  layerInverse: layerNorm.map((use) => (bench) => graph.layerInverse(use(bench))),
  affine: fc.tuple(size(9), size(9)).map(
    ([rows, columns]) =>
      (bench) =>
        graph.affine(bench.input([rows, columns]), bench.input([rows]), bench.input([rows])),
  ),
  rmsNorm: fc.tuple(shape(0, 3), size(64), epsilon, stored).map(
    ([rows, channels, eps, type]) =>
      (bench) =>
        graph.rmsNorm(bench.input([...rows, channels]), bench.parameter([channels], type), { eps }),
  ),
  logSoftmax: fc.tuple(shape(1, 4, 12), fc.constantFrom(1, 100)).map(
    ([dims, spread]) =>
      (bench) =>
        graph.logSoftmax(graph.mul(bench.input(dims), spread)),
  ),
  softmax: fc.tuple(shape(1, 4, 12), fc.constantFrom(1, 100)).map(
    ([dims, spread]) =>
      (bench) =>
        graph.softmax(graph.mul(bench.input(dims), spread)),
  ),

  mean: reduction(graph.mean),
  sum: reduction(graph.sum),
  max: reduction(graph.max),

  reshape: fc
    .tuple(
      fc.constantFrom([24], [2, 12], [3, 8], [2, 3, 4], [1, 24, 1]),
      fc.constantFrom([24], [-1, 6], [4, 3, 2], [2, -1, 2], [1, 1, 24]),
    )
    .map(
      ([from, to]) =>
        (bench) =>
          graph.reshape(bench.input(from), to),
    ),
  transpose: shape(1, 5).chain((dims) =>
    fc
      .shuffledSubarray(
        dims.map((_, axis) => axis),
        { minLength: dims.length },
      )
      .map((permutation) => (bench: Bench) => graph.transpose(bench.input(dims), permutation)),
  ),
  concat: shape(1, 4).chain((dims) =>
    fc
      .tuple(
        fc.integer({ min: -dims.length, max: dims.length - 1 }),
        fc.array(size(4), { minLength: 1, maxLength: 4 }),
      )
      .map(([axis, sizes]) => (bench: Bench) => {
        const parts = sizes.map((one) => bench.input(dims.with(axis < 0 ? axis + dims.length : axis, one)));
        return graph.concat(parts, axis);
      }),
  ),
  slice: shape(1, 4, 8).chain((dims) =>
    fc.integer({ min: -dims.length, max: dims.length - 1 }).chain((axis) =>
      fc.tuple(fc.nat(dims.at(axis)! - 1), fc.nat(dims.at(axis)! - 1)).map(([a, b]) => (bench: Bench) => {
        return graph.slice(bench.input(dims), axis, Math.min(a, b), Math.max(a, b) + 1);
      }),
    ),
  ),
  pad: shape(0, 4).chain((dims) => {
    const cells = fc.array(fc.nat(3), { minLength: dims.length, maxLength: dims.length });
    return fc.tuple(cells, cells).map(
      ([before, after]) =>
        (bench: Bench) =>
          graph.pad(bench.input(dims), before, after),
    );
  }),
  expand: broadcastable.map(([a, b]) => (bench) => {
    return graph.expand(bench.input(a), graph.broadcastDims("expand", a, b));
  }),
  gather: rows.map(([count, rest, places, type, trained, stream]) => (bench) => {
    const dims = [count, ...rest];
    const table = trained ? bench.parameter(dims, type) : bench.input(dims);
    return graph.gather(table, indicesOf(bench, count, places, stream));
  }),
  scatterAdd: rows.map(([count, rest, places, , , stream]) => (bench) => {
    const indices = indicesOf(bench, count, places, stream);
    return graph.scatterAdd(indices, bench.input([...places, ...rest]), count);
  }),
  upsampleNearest: upsampling,
  upsampleNearestGradient: upsampling.map((use) => (bench) => {
    const forward = use(bench);
    return graph.upsampleNearestGradient(bench.input(forward.dims), forward.inputs[0]!.dims);
  }),
  after: fc.tuple(shape(0, 4), shape(0, 3)).map(
    ([dims, first]) =>
      (bench) =>
        graph.after(bench.input(dims), bench.input(first)),
  ),
};

/** The same `count` uses of an operation every time. */
export function sample(op: keyof typeof uses, count: number, seed: number): Use[] {
  return fc.sample(uses[op], { numRuns: count, seed });
}
