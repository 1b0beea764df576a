/** @file What graphs cost. */

import { describe, expect, it } from "vitest";
import { flops, parameterBytes } from "./cost.js";
import { add, attention, conv2d, input, linear, matmul, parameter } from "./ops.js";

const x = (...dims: number[]) => input("x", dims);

describe("flops", () => {
  it.each([
    ["matmul", matmul(x(2, 3, 4), x(4, 5)), 2 * (2 * 3 * 5) * 4],
    ["linear", linear(x(7, 4), x(5, 4)), 2 * (7 * 5) * 4],
    ["conv2d", conv2d(x(1, 3, 8, 8), x(4, 3, 3, 3), undefined, { padding: 1 }), 2 * (4 * 64) * 27],
    ["attention", attention(x(1, 6, 8), x(1, 5, 8), x(1, 5, 8), { heads: 2, scale: 1 }), 2 * 2 * (6 * 5 * 8)],
    ["add", add(x(3), 1), 0],
  ])("of %s", (_, value, expected) => {
    expect(flops([value])).toBe(expected);
  });

  it("count what is shared once", () => {
    const shared = linear(x(1, 4), x(4, 4));
    expect(flops([add(shared, shared), shared])).toBe(flops([shared]));
  });
});

describe("bytes of parameters", () => {
  it("as stored, or as f32", () => {
    const weight = parameter("w", [4, 2], "f16", { bytes: new Uint8Array(16) });
    const output = linear(x(1, 2), weight);
    expect(parameterBytes([output])).toBe(16);
    expect(parameterBytes([output, output], "f32")).toBe(32);
  });
});
