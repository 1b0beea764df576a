/** @file Pixels to the VAE's range and back. */

import { describe, expect, it } from "vitest";
import { Tensor } from "../tensor/index.js";
import { fromVaePixels, vaePixels } from "./vae.js";

describe("the VAE's pixels", () => {
  const image = {
    width: 16,
    height: 16,
    data: Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3)),
  };

  it("run from -1 to 1 in planes", () => {
    const { dims, data } = vaePixels(image);
    expect(dims).toEqual([1, 3, 16, 16]);
    expect([data[0], data[255], data[256], data[767]]).toEqual([-1, 1, -1, 1]);
  });

  it("come back as the same bytes, all 256 of them", () => {
    expect(fromVaePixels(vaePixels(image))).toEqual(image);
  });

  it("are cut to black and white beyond the range; what is no number is black", () => {
    const values = Tensor.f32([1, 3, 1, 1], [7, -7, Number.NaN]);
    expect([...fromVaePixels(values).data]).toEqual([255, 0, 0]);
  });

  it("need [B, 3, height, width]", () => {
    expect(() => fromVaePixels(Tensor.f32([1, 4, 1, 1]))).toThrow(/\[1, 4, 1, 1\]/);
    expect(() => fromVaePixels(Tensor.f32([2, 3, 1, 1]), 2)).toThrow(/Picture 2/);
  });
});
