/** @file Pairs that CLIP cannot tell apart, by its embeddings and by their pixels. */

import { describe, expect, it } from "vitest";
import { blindPairs, changedPixels } from "../src/evaluation/index.js";
import { normMap } from "../src/image/index.js";
import { Tensor } from "../src/tensor/index.js";

const vector = (...values: number[]) => Tensor.f32([values.length], values);
const picture = (...reds: number[]) => reds.flatMap((red) => [red, 0, 0]);

describe("pairs", () => {
  it("are blind when CLIP sees one picture where pixels show two", () => {
    const dark = picture(0, 0, 0, 0);
    const half = picture(0, 0, 200, 200);
    const pair = (pair: number, embeddings: [Tensor, Tensor], pictures: [number[], number[]]) => ({
      pair,
      pattern: "state",
      embeddings,
      pictures,
    });
    const found = blindPairs([
      pair(0, [vector(1, 0), vector(2, 0.1)], [dark, half]),
      pair(1, [vector(1, 0), vector(1, 1)], [dark, half]),
      pair(2, [vector(1, 0), vector(1, 0)], [dark, dark]),
    ]);
    expect(found.map(({ blind }) => blind)).toEqual([true, false, false]);
    expect(found[0]).toMatchObject({ pair: 0, pattern: "state", changed: 0.5 });
    expect(
      blindPairs([pair(1, [vector(1, 0), vector(1, 1)], [dark, half])], { threshold: 0.7 })[0]!.blind,
    ).toBe(true);
  });

  it("must be pictures of one size", () => {
    expect(() => changedPixels([0, 0, 0], [])).toThrow("Pictures of 3 and 0 bytes cannot be compared.");
  });
});

describe("a norm map", () => {
  it("is the length of each place's vector", () => {
    const lengths = normMap(Tensor.f32([1, 2, 1, 2], [3, 0, 4, 1]));
    expect(lengths).toMatchObject({ dims: [1, 2] });
    expect([...lengths.toFloat32()]).toEqual([5, 1]);
  });
});
