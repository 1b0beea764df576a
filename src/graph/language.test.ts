/** @file The shapes and costs of the operations of language models, and graphs for any size. */

import { describe, expect, it } from "vitest";
import { flops } from "./cost.js";
import { cachedAttention, quantizedLinear, rotary } from "./language.js";
import { encodeForAnySize } from "./onnx/any-size.js";
import { input, linear, parameter, reshape } from "./ops.js";
import type { OpAttributes, Value } from "./value.js";

const x = (...dims: number[]) => input("x", dims);
const bytes = (...dims: number[]) =>
  parameter("w", dims, "u8", { bytes: new Uint8Array(dims.reduce((product, size) => product * size, 1)) });

const attended = ({ length = 3, past = 5, kvHeads = 2, heads = 4, bias = [6, 8] } = {}) =>
  cachedAttention(x(1, length, heads * 8), x(1, length, kvHeads * 8), x(1, length, kvHeads * 8), {
    pastKeys: x(past, kvHeads, 8),
    pastValues: x(past, kvHeads, 8),
    bias: x(...bias),
    heads,
    scale: 1,
  });

const quantized = (options: Partial<OpAttributes["quantizedLinear"]> = {}, weight: Value = bytes(7, 2, 16)) =>
  quantizedLinear(x(3, 64), weight, x(7, 2), undefined, {
    bits: 4,
    block: 32,
    activations: "f32",
    ...options,
  });

describe("shapes", () => {
  it.each([
    [rotary(x(2, 3, 16), x(3, 4), x(3, 4), { heads: 2 }), [2, 3, 16]],
    [rotary(x(2, 3, 16), x(6, 4), x(6, 4), { heads: 2 }), [2, 3, 16]],
    [attended(), [1, 3, 32]],
    [quantized(), [3, 7]],
    [quantized({ bits: 8, block: 32 }, bytes(7, 2, 32)), [3, 7]],
  ])("%#", ({ dims }, expected) => expect(dims).toEqual(expected));

  it.each<[string, () => Value]>([
    ["angles of another length", () => rotary(x(2, 3, 16), x(4, 4), x(4, 4), { heads: 2 })],
    ["angles of another width", () => rotary(x(2, 3, 16), x(3, 8), x(3, 8), { heads: 2 })],
    ["heads that do not divide", () => attended({ heads: 3 })],
    ["a bias without the past", () => attended({ bias: [6, 3] })],
    ["a bias for one head of a group", () => attended({ bias: [3, 8] })],
    ["weights that are not bytes", () => quantized({}, x(7, 2, 16))],
    ["bytes for another number of bits", () => quantized({ bits: 8 })],
    ["blocks of another size", () => quantized({ block: 64 })],
  ])("refuse %s", (_, make) => expect(make).toThrow(/^(rotary|cachedAttention|quantizedLinear): /));
});

it("cost what their products cost", () => {
  expect(flops([attended()])).toBe(4 * (3 * 32) * 8);
  expect(flops([quantized()])).toBe(2 * (3 * 7) * 64);
});

describe("a graph for any size", () => {
  const w = parameter("w", [4, 6], "f32", { bytes: new Uint8Array(96) });

  it("names the sizes that its inputs share, and leaves others open", () => {
    const { inputs, outputs } = encodeForAnySize(["rows", "past"], ({ rows, past }) => ({
      y: linear(input("x", [1, rows, 6]), w),
      z: input("bias", [rows, rows + past]),
    }));
    expect(inputs.map(({ name, dims }) => [name, dims])).toEqual([
      ["x", [1, "rows", 6]],
      ["bias", ["rows", "?"]],
    ]);
    expect(outputs.map(({ dims }) => dims)).toEqual([
      [1, "rows", 4],
      ["rows", "?"],
    ]);
  });

  it("refuses to fix a size, and says which operation does", () => {
    const write = ({ rows }: { rows: number }) => ({ y: reshape(input("x", [6, rows]), [2, 3, rows]) });
    expect(() => encodeForAnySize(["rows"], write)).toThrow(/Reshape of x, .* depends on a size/);
  });
});
