/** @file Group normalisation of groups as large as the autoencoder's at 512 px keeps its digits. */

import { describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { groupNorm, input, parameter } from "../src/graph/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";

describe("group normalisation of a million numbers a group", () => {
  it.each([
    ["as they come", 3, 0.5, 5e-6],
    ["nearly flat, so that the epsilon counts", 0.003, 0.02, 5e-6],
    // The mean itself has no more digits.
    ["far from zero", 0.1, 4, 2e-5],
  ])("is as exact as that of small groups: %s", async (_, spread, offset, allowed) => {
    const [channels, groups, side] = [8, 2, 512];
    const draw = new TorchGenerator(1);
    const x = draw.randn([1, channels, side, side]);
    const data = x.toFloat32().map((value, i) => spread * (value + (i % side) / side) + offset);
    const vector = (values: Float32Array) =>
      parameter("v", [channels], "f32", { bytes: new Uint8Array(values.buffer) });
    const scale = draw.randn([channels]).toFloat32().slice();
    const bias = draw.randn([channels]).toFloat32().slice();
    await using engine = await Engine.open({ device: "cpu", memory: "mmap" });
    const value = groupNorm(input("x", x.dims), vector(scale), vector(bias), { groups, eps: 1e-6 });
    const { y } = await engine.compile({ y: value }).run({ x: Tensor.f32(x.dims, data) });

    const size = data.length / groups;
    let worst = 0;
    for (let group = 0; group < groups; group++) {
      const part = data.subarray(group * size, (group + 1) * size);
      const mean = part.reduce((sum, one) => sum + one, 0) / size;
      const variance = part.reduce((sum, one) => sum + (one - mean) ** 2, 0) / size;
      part.forEach((one, i) => {
        const channel = Math.floor((group * size + i) / (side * side));
        const expected = ((one - mean) / Math.sqrt(variance + 1e-6)) * scale[channel]! + bias[channel]!;
        worst = Math.max(worst, Math.abs(y!.toFloat32()[group * size + i]! - expected));
      });
    }
    expect(worst).toBeLessThan(allowed);
  });
});
