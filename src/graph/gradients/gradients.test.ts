/** @file What the graph of gradients is made of, and what is refused. */

import { describe, expect, it } from "vitest";
import { DiffsightError, Tensor } from "../../tensor/index.js";
import { encodeGraph } from "../onnx/encode.js";
import { trainingKernels } from "../onnx/kernels.js";
import {
  add,
  concat,
  constant,
  exp,
  gather,
  input,
  linear,
  mean,
  mul,
  parameter,
  reshape,
  silu,
  slice,
  split,
  sum,
  tanh,
} from "../ops.js";
import { type OpName, topologicalOrder, type Value } from "../value.js";
import { gradients } from "./gradients.js";

const x = input("x", [4, 6]);
const total = (value: Value) => reshape(sum(value, ...value.dims.keys()), []);

const opsOf = (...values: Value[]) => topologicalOrder(values).map(({ op }) => op);
const countOf = (op: OpName, ...values: Value[]) => opsOf(...values).filter((one) => one === op).length;

/** A weight in memory, in half precision. */
const weight = (key: string, dims: readonly number[]) =>
  parameter(key, dims, "f16", {
    bytes: new Uint8Array(2 * dims.reduce((product, size) => product * size, 1)),
  });

describe("gradients", () => {
  it("have the dims of their values and are f32, whatever a parameter is stored as", () => {
    const w = weight("w", [3, 6]);
    const [dw, dx] = gradients(total(linear(x, w)), [w, x]);
    expect([dw!.dims, dw!.dtype, dx!.dims]).toEqual([[3, 6], "f32", [4, 6]]);
  });

  it("of a loss of dims [1] are those of one of dims []", () => {
    expect(gradients(reshape(total(exp(x)), [1]), [x])[0]!.dims).toEqual([4, 6]);
  });

  it("are zeros where the loss does not depend on the value", () => {
    const [dx] = gradients(total(exp(input("y", [2]))), [x]);
    expect(dx!.dims).toEqual([4, 6]);
    expect(opsOf(dx!)).toEqual(["constant", "expand"]);
  });

  it("of intermediate values stop there", () => {
    const middle = tanh(x);
    const [dm, dx] = gradients(total(silu(middle)), [middle, x]);
    expect(countOf("tanh", dm!)).toBe(1);
    expect(topologicalOrder([dx!])).toContain(dm!);
  });

  it("that nobody asks for are not written", () => {
    const [first, second] = [weight("first", [6, 6]), weight("second", [6, 6])];
    const loss = total(linear(linear(x, first), second));
    expect(countOf("matmul", ...gradients(loss, [second]))).toBe(1);
    expect(countOf("matmul", ...gradients(loss, [second, first]))).toBe(3);
  });

  it("of the parts of a split are joined, not added", () => {
    const [a, b, c] = split(x, 1, 3) as [Value, Value, Value];
    const [dx] = gradients(total(mul(mul(exp(a), tanh(b)), c)), [x]);
    expect([countOf("concat", dx!), countOf("pad", dx!)]).toEqual([2, 0]);
  });

  it("of slices that overlap are added", () => {
    const [dx] = gradients(total(mul(exp(slice(x, 1, 0, 4)), slice(x, 1, 2, 6))), [x]);
    expect([countOf("concat", dx!), countOf("pad", dx!)]).toEqual([0, 2]);
  });

  it.each<[string, () => unknown, string]>([
    ["a loss of many numbers", () => gradients(exp(x), [x]), "f32 [4, 6]"],
    ["integers", () => gradients(total(x), [input("ids", [3], "i64")]), "input [3] is i64"],
    ["a loss of integers", () => gradients(input("n", [], "i64"), []), "i64 []"],
  ])("refuse %s", (_, make, words) => {
    expect(make).toThrow(DiffsightError);
    expect(make).toThrow(words);
  });
});

describe("recomputation", () => {
  /** Four blocks of three operations each. */
  function network() {
    const blocks: Value[] = [];
    let h: Value = x;
    for (let i = 0; i < 4; i++) {
      h = add(h, silu(tanh(linear(h, weight(`w${i}`, [6, 6])))));
      blocks.push(h);
    }
    return { loss: mean(reshape(h, [1, -1]), 1), blocks };
  }

  it("computes what lies between the blocks a second time, and nothing without being asked", () => {
    const { loss, blocks } = network();
    const flat = reshape(loss, []);
    const weights = topologicalOrder([flat]).filter(({ op }) => op === "parameter");
    const kept = gradients(flat, weights);
    const again = gradients(flat, weights, { recompute: new Set(blocks) });
    expect(countOf("tanh", flat, ...kept)).toBe(4);
    expect(countOf("tanh", flat, ...again)).toBe(8);
  });

  it("stays a computation of its own where equal nodes are written once", () => {
    const { loss, blocks } = network();
    const flat = reshape(loss, []);
    const weights = topologicalOrder([flat]).filter(({ op }) => op === "parameter");
    const nodes = (recompute: boolean) => {
      const slopes = gradients(flat, weights, recompute ? { recompute: new Set(blocks) } : {});
      const named = Object.fromEntries(slopes.map((value, i) => [`${i}`, value]));
      const { model } = encodeGraph({ loss: flat, ...named }, { kernels: trainingKernels });
      return model.length;
    };
    expect(nodes(true)).toBeGreaterThan(nodes(false));
  });

  it("looks up tables by the same indices", () => {
    const ids = constant(Tensor.i64([2], [0, 3]));
    const loss = total(exp(concat([gather(x, ids), gather(x, ids)], 0)));
    expect(gradients(loss, [x], { recompute: new Set() })[0]!.dims).toEqual([4, 6]);
  });
});
