import { describe, expect, it } from "vitest";
import { Tensor, TorchGenerator } from "../tensor/index.js";
import { drawMask, Masks } from "./masks.js";

describe("dropout masks", () => {
  it("are inputs of a name each", () => {
    const masks = new Masks();
    expect(masks.add("fusion.dropout", [2, 3], 0.1).dims).toEqual([2, 3]);
    expect(() => masks.add("fusion.dropout", [2, 3], 0.1)).toThrow(/Two dropouts/);
    expect(masks.all.map(({ rate }) => rate)).toEqual([0.1]);
  });

  it("keep the mean, and depend on their generator alone", () => {
    const draw = (seed: number) => {
      const mask = Tensor.f32([20_000]);
      drawMask(mask, 0.25, new TorchGenerator(seed));
      return mask.toFloat32();
    };
    const mask = draw(1);
    expect(new Set(mask)).toEqual(new Set([0, Math.fround(1 / 0.75)]));
    expect(mask.reduce((a, b) => a + b, 0) / mask.length).toBeCloseTo(1, 1);
    expect(draw(1)).toEqual(mask);
    expect(draw(2)).not.toEqual(mask);
  });
});
