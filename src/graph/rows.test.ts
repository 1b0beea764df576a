/** @file Rows of a weight are read where they lie. */

import { describe, expect, it } from "vitest";
import { readOnnx } from "../../test/reference/onnx.js";
import { encodeGraph } from "./onnx/encode.js";
import { add, gather, input, linear, mul, parameter, slice, split } from "./ops.js";
import { frontier, type Value } from "./value.js";

const x = input("x", [1, 8]);
const inFile = (stored: "f32" | "f16") =>
  parameter("weight", [6, 8], stored, { file: "model", offset: 3, length: stored === "f32" ? 192 : 96 });
const gated = (weight: Value) => {
  const [a, b] = split(weight, 0, 2);
  return mul(linear(x, a!), linear(x, b!));
};
const operations = (y: Value) => readOnnx(encodeGraph({ y }).model).nodes.map(({ opType }) => opType);

describe("rows of a weight", () => {
  it.each([
    ["f32", 96],
    ["f16", 48],
  ] as const)("of %s are ranges of its file", (stored, half) => {
    const graph = encodeGraph({ y: gated(inFile(stored)) });
    expect(graph.ranges).toEqual([
      { file: "model", offset: 3, length: half },
      { file: "model", offset: 3 + half, length: half },
    ]);
    expect(graph.parameterBytes).toBe(2 * half);
    expect(operations(gated(inFile(stored)))).not.toContain("Slice");
  });

  it("in memory are views of the same bytes, equal each time they are asked for", () => {
    const bytes = new Uint8Array(200 * 8 * 4);
    const y = gated(parameter("weight", [200, 8], "f32", { bytes }));
    const [first, again] = [encodeGraph({ y }), encodeGraph({ y })];
    expect(first.buffers.map((one) => [one.bytes.byteOffset, one.bytes.length])).toEqual([
      [0, 3200],
      [3200, 3200],
    ]);
    first.buffers.forEach((one, i) => {
      expect(one.bytes.buffer).toBe(bytes.buffer);
      expect(one.bytes).toBe(again.buffers[i]!.bytes);
    });
  });

  it("are cut out where they are not whole rows, or the weight is given", () => {
    const weight = inFile("f32");
    expect(operations(linear(slice(x, 1, 0, 4), slice(weight, 1, 4, 8)))).toContain("Slice");
    const given = encodeGraph({ y: gated(weight) }, { given: new Map([[weight, "weight"]]) });
    expect(given.ranges).toEqual([]);
    expect(readOnnx(given.model).nodes.map(({ opType }) => opType)).toContain("Slice");
  });

  it("are a table that rows are gathered from as f32", () => {
    const y = gather(slice(inFile("f16"), 0, 2, 5), input("i", [2], "i64"));
    expect(operations(y).slice(0, 2)).toEqual(["Cast", "Gather"]);
    expect(y.dims).toEqual([2, 8]);
  });

  it("are no work that a cut would hand over", () => {
    const text = input("text", [1, 8]);
    const [a] = split(inFile("f32"), 0, 2);
    expect(frontier([linear(add(x, text), a!)], new Set([text]))).toEqual([]);
  });
});
