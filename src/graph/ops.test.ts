/** @file Shapes: what each operation gives, and what it refuses with the shapes in the message. */

import { describe, expect, it } from "vitest";
import { DiffsightError, Tensor } from "../tensor/index.js";
import * as graph from "./ops.js";
import type { Value } from "./value.js";

const x = (...dims: number[]) => graph.input("x", dims);
const ids = (...dims: number[]) => graph.input("ids", dims, "i64");
const { add, attention, concat, conv2d, gather, groupNorm, layerNorm, linear } = graph;
const { matmul, reshape, slice, split, transpose, upsampleNearest } = graph;
const norm = { groups: 2, eps: 1e-5 };

describe("shapes", () => {
  it.each<[string, () => Value, number[]]>([
    ["add", () => add(x(3, 1, 5), x(4, 1)), [3, 4, 5]],
    ["add of a number", () => add(x(3), 1), [3]],
    ["add of numbers", () => add(graph.scalar(1), 2), []],
    ["matmul", () => matmul(x(2, 1, 3, 4), x(5, 4, 6)), [2, 5, 3, 6]],
    ["linear", () => linear(x(2, 3, 4), x(5, 4), x(5)), [2, 3, 5]],
    ["linear of a vector", () => linear(x(4), x(5, 4)), [5]],
    ["conv2d", () => conv2d(x(2, 3, 7, 9), x(4, 3, 3, 3), x(4), { stride: 2, padding: 1 }), [2, 4, 4, 5]],
    [
      "conv2d, one side padded",
      () => conv2d(x(1, 3, 8, 8), x(4, 3, 3, 3), undefined, { stride: 2, padding: [0, 0, 1, 1] }),
      [1, 4, 4, 4],
    ],
    ["attention", () => attention(x(2, 3, 8), x(2, 5, 8), x(2, 5, 4), { heads: 2, scale: 1 }), [2, 3, 4]],
    ["mean", () => graph.mean(x(2, 3, 4), 0, -1), [1, 3, 1]],
    ["logSumExp", () => graph.logSumExp(x(2, 3), -1), [2, 1]],
    ["reshape", () => reshape(x(2, 3, 4), [4, -1]), [4, 6]],
    ["reshape to nothing", () => reshape(x(1, 1), []), []],
    ["transpose", () => transpose(x(2, 3, 4), [2, 0, 1]), [4, 2, 3]],
    ["concat", () => concat([x(2, 3), x(2, 1)], -1), [2, 4]],
    ["slice", () => slice(x(2, 9), -1, 3, 7), [2, 4]],
    ["split", () => split(x(2, 9), 1, 3)[2]!, [2, 3]],
    ["gather", () => gather(x(10, 4, 2), ids(3, 5)), [3, 5, 4, 2]],
    ["upsampleNearest", () => upsampleNearest(x(1, 2, 3, 4), 5, 8), [1, 2, 5, 8]],
  ])("%s", (_, make, dims) => {
    expect(make().dims).toEqual(dims);
  });
});

describe("shape errors", () => {
  it.each<[string, () => unknown, string]>([
    ["sizes of an input", () => x(2, 0), "[2, 0]"],
    ["a size that is no whole number", () => x(1.5), "[1.5]"],
    ["add", () => add(x(2, 3), x(4)), "[2, 3] and [4]"],
    ["add of another type", () => add(x(2), ids(2)), "[2] is f32, [2] i64"],
    ["clamp", () => graph.clamp(x(1), 2, 1), "2 and 1"],
    ["matmul", () => matmul(x(2, 3), x(4, 5)), "[2, 3] x [4, 5]"],
    ["matmul of vectors", () => matmul(x(3), x(3)), "[3] x [3]"],
    ["matmul's batches", () => matmul(x(2, 3, 4), x(3, 4, 5)), "[2] and [3]"],
    ["linear", () => linear(x(2, 3), x(5, 4)), "x [2, 3], weight [5, 4]"],
    ["linear's bias", () => linear(x(2, 4), x(5, 4), x(5, 1)), "bias [5, 1]"],
    ["conv2d", () => conv2d(x(1, 3, 8, 8), x(4, 2, 3, 3)), "x [1, 3, 8, 8], weight [4, 2, 3, 3]"],
    ["conv2d's bias", () => conv2d(x(1, 3, 8, 8), x(4, 3, 3, 3), x(3)), "bias [3]"],
    ["conv2d's stride", () => conv2d(x(1, 3, 8, 8), x(4, 3, 3, 3), undefined, { stride: 0 }), "stride 0"],
    [
      "conv2d's padding",
      () => conv2d(x(1, 3, 8, 8), x(4, 3, 3, 3), undefined, { padding: [0, -1, 0, 0] }),
      "[0, -1, 0, 0]",
    ],
    ["conv2d's grid", () => conv2d(x(1, 3, 2, 8), x(4, 3, 3, 3)), "[1, 3, 2, 8]"],
    [
      "attention's heads",
      () => attention(x(1, 3, 8), x(1, 5, 8), x(1, 5, 8), { heads: 3, scale: 1 }),
      "q [1, 3, 8], k [1, 5, 8], v [1, 5, 8], 3 heads",
    ],
    [
      "attention's keys",
      () => attention(x(1, 3, 8), x(1, 5, 8), x(1, 4, 8), { heads: 2, scale: 1 }),
      "v [1, 4, 8]",
    ],
    [
      "attention's bias",
      () => attention(x(1, 3, 8), x(1, 5, 8), x(1, 5, 8), { heads: 2, scale: 1, bias: x(1, 3, 5) }),
      "bias [1, 3, 5]",
    ],
    [
      "causal attention",
      () => attention(x(1, 6, 8), x(1, 5, 8), x(1, 5, 8), { heads: 2, scale: 1, causal: true }),
      "causal",
    ],
    ["groupNorm's groups", () => groupNorm(x(1, 3, 4), x(3), x(3), norm), "2 groups"],
    ["groupNorm's scale", () => groupNorm(x(1, 4, 4), x(2), x(4), norm), "scale [2]"],
    ["layerNorm", () => layerNorm(x(2, 4), x(4), x(3), { eps: 1e-5 }), "x [2, 4], scale [4], bias [3]"],
    ["softmax", () => graph.softmax(x()), "0 dimensions"],
    ["mean without axes", () => graph.mean(x(2, 3)), "[2, 3] over the axes []"],
    ["mean twice over an axis", () => graph.mean(x(2, 3), 1, -1), "[1, -1]"],
    ["sum", () => graph.sum(x(2, 3), 2), "axis 2"],
    ["reshape", () => reshape(x(2, 3), [4, 2]), "[2, 3] into [4, 2]"],
    ["reshape with a rest", () => reshape(x(2, 3), [4, -1]), "[4, 1.5]"],
    ["transpose", () => transpose(x(2, 3), [0, 0]), "[2, 3] by [0, 0]"],
    ["concat", () => concat([x(2, 3), x(3, 3)], 1), "[2, 3], [3, 3]"],
    ["concat of nothing", () => concat([], 0), "nothing"],
    ["slice", () => slice(x(2, 3), 1, 2, 4), "2..4 of axis 1 of [2, 3]"],
    ["split", () => split(x(2, 3), 1, 2), "axis 1 of [2, 3] in 2 equal parts"],
    ["gather", () => gather(x(2, 3), x(1)), "indices are i64, not f32"],
    ["upsampleNearest", () => upsampleNearest(x(2, 3), 4, 4), "[2, 3]"],
    [
      "a parameter's bytes",
      () => graph.parameter("w.bias", [3], "f16", { bytes: new Uint8Array(12) }),
      "w.bias [3] of f16 is not 12 bytes long",
    ],
    ["a constant's numbers", () => graph.constant(Tensor.f32([2], [1])), "[2]"],
  ])("%s", (_, make, message) => {
    expect(make).toThrow(DiffsightError);
    expect(make).toThrow(message);
  });
});
