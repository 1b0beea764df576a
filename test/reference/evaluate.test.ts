/** @file The evaluator against numbers of torch 2.13 in double precision, and of the definitions. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import * as graph from "../../src/graph/index.js";
import { count, type Dims, Tensor } from "../../src/tensor/index.js";
import { evaluate } from "./evaluate.js";
import { erf } from "./special.js";

const feeds: Record<string, Tensor> = {};

/** An input that is fed these numbers in double precision. */
function list(dims: Dims, values: ArrayLike<number>): graph.Value {
  const name = `x${Object.keys(feeds).length}`;
  feeds[name] = new Tensor("f64", dims, Float64Array.from(values));
  return graph.input(name, dims);
}

/** -1.5, -1, -0.5, ... 1.5, again and again. */
const steps = (dims: Dims, f = (x: number) => x) =>
  list(
    dims,
    Array.from({ length: count(dims) }, (_, i) => f(((i % 7) - 3) / 2)),
  );

const x = list([6], [-3, -1, -0.1, 0, 0.5, 2]);
const [q, k, v] = [steps([1, 2, 4]), steps([1, 3, 4], (one) => one / 2), steps([1, 3, 4], (one) => one + 1)];

describe("the evaluator", () => {
  it.each<[string, graph.Value, number[]]>([
    [
      "gelu",
      graph.gelu(x),
      [-0.004049694095, -0.158655253931, -0.046017216272, 0, 0.345731230637, 1.954499736104],
    ],
    [
      "gelu by tanh",
      graph.gelu(x, { approximate: "tanh" }),
      [-0.003637392082, -0.158808009392, -0.046017248955, 0, 0.345714009825, 1.954597694088],
    ],
    [
      "silu",
      graph.silu(x),
      [-0.142277619533, -0.26894142137, -0.047502081252, 0, 0.311229665601, 1.761594155956],
    ],
    [
      "quickGelu",
      graph.quickGelu(x),
      [-0.018071309708, -0.154204234067, -0.045755241916, 0, 0.350388436606, 1.935658623144],
    ],
    [
      "conv2d",
      graph.conv2d(steps([1, 2, 4, 5]), steps([2, 2, 3, 3]), list([2], [1, -1]), { stride: 2, padding: 1 }),
      [0.5, 2.25, 2, 2.25, 0.75, 5.25, 1.5, 5.25, -4.5, -1.5, -5.75, -2.75],
    ],
    [
      "groupNorm",
      graph.groupNorm(steps([1, 4, 3]), list([4], [1, 2, 3, 4]), list([4], [0, 1, 0, 1]), {
        groups: 2,
        eps: 1e-5,
      }),
      [
        -1.463840071697, -0.878304043018, -0.292768014339, 1.585536028679, 2.756608086036, 3.927680143393,
        5.070899449527, -4.056719559621, -2.535449724763, -0.352239853207, 1.676119926604, 3.704479706414,
      ],
    ],
    [
      "layerNorm",
      graph.layerNorm(steps([2, 4]), list([4], [1, 2, 3, 4]), list([4], [0, 1, 0, 1]), { eps: 1e-6 }),
      [
        -1.34163863988, 0.10557424008, 1.34163863988, 6.366554559519, 0.109764217671, 2.09764217671,
        2.963633877116, -5.585853060258,
      ],
    ],
    [
      "attention",
      graph.attention(q, k, v, { heads: 2, scale: 0.5 }),
      [
        -0.034806052112, 0.465193947888, 1.245823622604, 0.743031754379, 0.618865954455, 1.118865954455,
        1.887624850519, 0.112375149481,
      ],
    ],
    [
      "causal attention, whose last query sees every key",
      graph.attention(q, k, v, { heads: 2, scale: 0.5, causal: true }),
      [
        -0.054599722349, 0.445400277651, 1.375646998228, 0.343264751329, 0.618865954455, 1.118865954455,
        1.887624850519, 0.112375149481,
      ],
    ],
    [
      "upsampleNearest",
      graph.upsampleNearest(steps([1, 1, 2, 3]), 3, 4),
      [-1.5, -1.5, -1, -0.5, -1.5, -1.5, -1, -0.5, 0, 0, 0.5, 1],
    ],
    [
      "logSumExp of large numbers",
      graph.logSumExp(
        steps([2, 4], (one) => 100 * one),
        1,
      ),
      [0, 150],
    ],
    ["matmul", graph.matmul(list([1, 2], [1, 2]), list([2, 2], [3, 4, 5, 6])), [13, 16]],
    [
      "linear",
      graph.linear(list([1, 2], [1, 2]), list([2, 2], [3, 4, 5, 6]), list([2], [0.5, 0])),
      [11.5, 17],
    ],
    [
      "add by broadcasting",
      graph.add(list([2, 1], [1, 2]), list([3], [10, 20, 30])),
      [11, 21, 31, 12, 22, 32],
    ],
    ["mean over two axes", graph.mean(list([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]), 0, 2), [3.5, 5.5]],
    ["max", graph.max(list([2, 2], [1, -2, -3, -4]), 1), [1, -3]],
    ["transpose", graph.transpose(list([1, 2, 3], [1, 2, 3, 4, 5, 6]), [2, 0, 1]), [1, 4, 2, 5, 3, 6]],
    ["concat", graph.concat([list([2, 1], [1, 2]), list([2, 2], [3, 4, 5, 6])], 1), [1, 3, 4, 2, 5, 6]],
    ["slice", graph.slice(list([2, 3], [1, 2, 3, 4, 5, 6]), 1, 1, 3), [2, 3, 5, 6]],
    [
      "gather",
      graph.gather(list([2, 2], [1, 2, 3, 4]), graph.constant(Tensor.i64([3], [1, 0, 1]))),
      [3, 4, 1, 2, 3, 4],
    ],
    ["clamp", graph.clamp(x, -1, 0.25), [-1, -1, -0.1, 0, 0.25, 0.25]],
  ])("%s", (_, value, expected) => {
    const { y } = evaluate({ y: value }, feeds);
    expect(y!.dims).toEqual(value.dims);
    expect(y!.data).toHaveLength(expected.length);
    y!.data.forEach((one, i) => void expect(one).toBeCloseTo(expected[i]!, 11));
  });

  it("knows erf to the last digits", () => {
    expect(erf(0.5)).toBeCloseTo(0.5204998778130465, 15);
    expect(erf(-2)).toBeCloseTo(-0.9953222650189527, 15);
    expect([erf(0), erf(9)]).toEqual([0, 1]);
  });

  it("takes feeds of any precision, for finite differences", () => {
    const fed = graph.input("x", [1]);
    const at = (value: number) =>
      evaluate({ y: graph.exp(fed) }, { x: new Tensor("f64", [1], Float64Array.of(value)) });
    const slope = (at(1 + 1e-6).y!.data[0]! - at(1 - 1e-6).y!.data[0]!) / 2e-6;
    expect(slope).toBeCloseTo(Math.E, 8);
    expect(() => evaluate({ y: fed }, { x: Tensor.f32([2]) })).toThrow("Input x must be [1]");
  });

  it("reads parameters from memory and from files, in half precision too", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "diffsight-evaluate-"));
    const bytes = Uint8Array.of(0x00, 0x3c, 0x00, 0xc0); // 1 and -2 in f16
    const file = path.join(folder, "weights");
    writeFileSync(file, Uint8Array.of(9, ...bytes));
    const near = graph.parameter("near", [2], "f16", { bytes });
    const far = graph.parameter("far", [2], "f16", { file, offset: 1, length: 4 });
    expect([...evaluate({ y: graph.add(near, far) }).y!.data]).toEqual([2, -4]);
    rmSync(folder, { recursive: true });
  });
});
