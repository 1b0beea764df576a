/** @file What is written into an ONNX model, and what is not. */

import { describe, expect, it } from "vitest";
import { type OnnxFacts, readOnnx } from "../../test/reference/onnx.js";
import { Tensor } from "../tensor/index.js";
import { gradients } from "./gradients/gradients.js";
import { type EncodeOptions, encodeGraph } from "./onnx/encode.js";
import { fastKernels, trainingKernels } from "./onnx/kernels.js";
import {
  add,
  constant,
  conv2d,
  exp,
  gather,
  input,
  linear,
  mul,
  parameter,
  reshape,
  silu,
  sum,
  tanh,
} from "./ops.js";
import { topologicalOrder, type Value } from "./value.js";

const x = input("x", [1, 8]);

/** A weight in a file: key number n lies at n * 256 + 3, which no element type aligns with. */
const inFile = (n: number, file = "model.safetensors", dims = [8, 8]) =>
  parameter(`layers.${n}.weight`, dims, "f32", { file, offset: n * 256 + 3, length: 256 });

function facts(outputs: Record<string, Value>, options?: EncodeOptions): OnnxFacts {
  return readOnnx(encodeGraph(outputs, options).model);
}

const named = ({ weights }: OnnxFacts) => weights.filter(({ location }) => location !== undefined);

describe("a written graph", () => {
  /** A chain of layers, each of them tapped. */
  const taps: Value[] = [];
  for (let n = 0; n < 6; n++) taps.push(silu(linear(taps.at(-1) ?? x, inFile(n))));

  it("has only what its outputs need", () => {
    const whole = facts({ y: taps[5]! });
    const early = facts({ y: taps[1]! });
    expect(named(whole)).toHaveLength(6);
    expect(named(early).map(({ name }) => name.replace(/_\d+$/, ""))).toEqual([
      "layers.0.weight",
      "layers.1.weight",
    ]);
    expect(early.nodes.length).toBeLessThan(whole.nodes.length / 2);
    expect(encodeGraph({ y: taps[1]! }).parameterBytes).toBe(512);
    const used = new Set(whole.nodes.flatMap(({ inputs }) => inputs));
    for (const { outputs } of whole.nodes)
      expect(outputs.some((name) => used.has(name) || name === "y")).toBe(true);
    for (const { name } of whole.weights) expect(used).toContain(name);
  });

  it("computes a value that is wanted twice once", () => {
    const { nodes, outputs } = facts({ a: taps[0]!, b: taps[0]!, c: exp(taps[0]!) });
    expect(outputs).toEqual(["a", "b", "c"]);
    expect(nodes.filter(({ opType }) => opType === "Gemm")).toHaveLength(1);
  });

  it("writes equal constants once", () => {
    const twice = add(mul(x, constant(Tensor.f32([1], [2]))), constant(Tensor.f32([1], [2])));
    expect(facts({ y: twice }).weights).toHaveLength(1);
  });

  it("hands an input through", () => {
    expect(facts({ y: x })).toMatchObject({ inputs: ["x"], outputs: ["y"], weights: [] });
  });

  it("derives nothing from a weight that is given", () => {
    const weight = parameter("w", [64, 64, 3, 3], "f32", { file: "model", offset: 0, length: 147456 });
    const y = conv2d(input("grid", [1, 64, 32, 32]), weight, undefined, { padding: 1 });
    expect(encodeGraph({ y }, { kernels: fastKernels }).derived.parts).toHaveLength(1);
    const given = encodeGraph({ y }, { kernels: fastKernels, given: new Map([[weight, "w"]]) });
    expect(given.derived.parts).toEqual([]);
    expect(readOnnx(given.model).inputs).toEqual(["grid", "w"]);
  });

  it("takes given values as inputs, and nothing that they are made of", () => {
    const { inputs, weights, nodes } = facts({ y: taps[3]! }, { given: new Map([[taps[2]!, "cut"]]) });
    expect(inputs).toEqual(["cut"]);
    expect(weights.filter(({ location }) => location)).toHaveLength(1);
    expect(nodes.filter(({ opType }) => opType === "Gemm")).toHaveLength(1);
  });

  it("has one input for each that is needed, whoever asked for it", () => {
    const other = input("other", [1, 8]);
    expect(facts({ a: add(x, other), b: tanh(x) }).inputs.toSorted()).toEqual(["other", "x"]);
    expect(facts({ b: tanh(x) }).inputs).toEqual(["x"]);
  });
});

describe("weights", () => {
  it("are read where they lie, at any offset, seen from the folder of the runtime", () => {
    const outputs = {
      y: add(
        linear(x, inFile(2, "/models/a/one.safetensors")),
        linear(x, inFile(5, "/models/b/two.safetensors")),
      ),
    };
    const { model, ranges } = encodeGraph(outputs, { locate: (file) => file.replace("/models/", "") });
    expect(named(readOnnx(model))).toMatchObject([
      { dims: [8, 8], location: "a/one.safetensors", offset: 2 * 256 + 3, length: 256 },
      { dims: [8, 8], location: "b/two.safetensors", offset: 5 * 256 + 3, length: 256 },
    ]);
    expect(ranges.map(({ file }) => file)).toEqual([
      "/models/a/one.safetensors",
      "/models/b/two.safetensors",
    ]);
  });

  it("in memory are in the model when small, beside it when large", () => {
    const small = parameter("small", [8], "f32", { bytes: new Uint8Array(32) });
    const large = parameter("large", [64, 8], "f32", { bytes: new Uint8Array(2048) });
    const { model, buffers, parameterBytes } = encodeGraph({ y: linear(add(x, small), large) });
    expect(readOnnx(model).weights.find(({ name }) => name.startsWith("small"))?.raw).toHaveLength(32);
    expect(buffers).toMatchObject([{ bytes: { length: 2048 } }]);
    expect(parameterBytes).toBe(32 + 2048);
  });

  it("of half precision are cast once, however often they are used", () => {
    const half = parameter("half", [8, 8], "f16", { bytes: new Uint8Array(128) });
    const { nodes } = facts({ y: linear(linear(x, half), half) });
    expect(nodes.filter(({ opType }) => opType === "Cast")).toHaveLength(1);
  });

  it("of half precision are cast for each use in training: none stays from the first use to the gradient's", () => {
    const half = (key: string) => parameter(key, [8, 8], "f16", { bytes: new Uint8Array(128) });
    const [first, second] = [half("first"), half("second")];
    const loss = reshape(sum(exp(linear(linear(x, first), second)), -1), []);
    const [slope] = gradients(loss, [x]);
    const { nodes } = facts({ loss, slope: slope! }, { kernels: trainingKernels });
    const casts = nodes.filter(({ opType }) => opType === "Cast");
    expect(casts.map(({ inputs }) => inputs[0]!.split("_")[0])).toEqual([
      "first",
      "second",
      "second",
      "first",
    ]);
    for (const { outputs } of casts)
      expect(nodes.filter(({ inputs }) => inputs.includes(outputs[0]!))).toHaveLength(1);
  });

  it("that are derived belong to one parameter, even where two have one key", () => {
    const grid = input("grid", [1, 64, 20, 20]);
    const weight = () =>
      parameter("conv.weight", [64, 64, 3, 3], "f32", { bytes: new Uint8Array(64 * 64 * 36) });
    const [a, b] = [weight(), weight()];
    const convolutions = [a, b, a].map((one) => conv2d(grid, one, undefined, { padding: 1 }));
    const outputs = Object.fromEntries(convolutions.map((value, i) => [`y${i}`, value]));
    expect(encodeGraph(outputs, { kernels: fastKernels }).derived.parts).toHaveLength(2);
  });
});

it("a table's rows are taken as they are stored, then cast", () => {
  const table = parameter("table", [100, 8], "bf16", { bytes: new Uint8Array(1600) });
  const { nodes } = facts({ y: gather(table, input("ids", [3], "i64")) });
  expect(nodes.map(({ opType }) => opType)).toEqual(["Gather", "Cast", "Identity"]);
});

it("two different values under one name are refused", () => {
  expect(() => encodeGraph({ y: add(x, input("x", [1, 8])) })).toThrow('"x"');
});

it("a model of ten thousand operations is written within two seconds", () => {
  let value: Value = x;
  for (let n = 0; n < 2500; n++) value = add(silu(linear(value, inFile(n))), value);
  const start = performance.now();
  const { model } = encodeGraph({ y: value });
  const took = performance.now() - start;
  const { nodes } = readOnnx(model);
  expect(topologicalOrder([value]).length).toBeGreaterThan(10_000);
  expect(nodes.length).toBeGreaterThan(10_000);
  expect(took).toBeLessThan(2000);
});
