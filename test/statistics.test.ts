/** @file Intervals cover what they should, and paired tests agree with exact counts. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  binomialTest,
  bootstrap,
  compare,
  macroMean,
  meanOf,
  pointing,
  quantile,
  share,
} from "../src/evaluation/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";

describe("a share", () => {
  it.each([
    [81, 263, 0.3079847908745247, 0.2552885198782742, 0.36620957698280004],
    [0, 10, 0, 0, 0.2775327998628892],
    [10, 10, 1, 0.7224672, 1],
    [1, 3, 1 / 3, 0.06149194472039621, 0.7923403991979522],
  ])("of %i in %i has Wilson's interval", (successes, count, value, low, high) => {
    const found = share(successes, count);
    expect(found.value).toBeCloseTo(value, 12);
    expect(found.low).toBeCloseTo(low, 9);
    expect(found.high).toBeCloseTo(high, 9);
  });

  it("lies in its interval, which narrows with more items", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.integer({ min: 1, max: 200 }), (wins, count) => {
        const few = share(Math.min(wins, count), count);
        expect(few.low).toBeLessThanOrEqual(few.value + 1e-12);
        expect(few.high).toBeGreaterThanOrEqual(few.value - 1e-12);
        const many = share(10 * Math.min(wins, count), 10 * count);
        expect(many.high - many.low).toBeLessThan(few.high - few.low);
      }),
    );
  });

  it("needs an item", () => {
    expect(() => share(0, 0)).toThrow("0 of 0 is no share: at least one item is needed.");
    expect(() => share(4, 3)).toThrow("4 of 3 is no share");
  });

  it("is covered about 95 times in 100", () => {
    const random = new TorchGenerator(5);
    let covered = 0;
    const trials = 2000;
    for (let i = 0; i < trials; i++) {
      const wins = random
        .rand([60])
        .toFloat32()
        .reduce((sum, value) => sum + Number(value < 0.85), 0);
      const { low, high } = share(wins, 60);
      covered += Number(low <= 0.85 && 0.85 <= high);
    }
    expect(covered / trials).toBeGreaterThan(0.93);
    expect(covered / trials).toBeLessThan(0.97);
  });
});

describe("bootstrap", () => {
  it("gives a mean the interval of the normal approximation, the same for the same seed", () => {
    const values = new TorchGenerator(1).randn([400]).toFloat32();
    const found = meanOf(values);
    const mean = values.reduce((a, b) => a + b, 0) / 400;
    const error = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 400 / 400);
    expect(found.value).toBeCloseTo(mean, 6);
    expect(found.low).toBeCloseTo(mean - 1.96 * error, 1);
    expect(found.high).toBeCloseTo(mean + 1.96 * error, 1);
    expect(meanOf(values)).toEqual(found);
    expect(meanOf(values, { seed: 1 }).low).not.toBe(found.low);
  });

  it("keeps to the sample", () => {
    const seen = bootstrap(3, (indices) => Math.max(...indices), { resamples: 50 });
    expect(seen).toMatchObject({ value: 2, high: 2, count: 3 });
    expect(() => bootstrap(0, () => 0)).toThrow("0 items cannot be resampled.");
  });

  it("takes quantiles between values", () => {
    expect(quantile([1, 2, 4], 0.75)).toBe(3);
  });
});

describe("a comparison", () => {
  it("counts the items on which the two differ", () => {
    const first = [...Array(30).fill(true), ...Array(10).fill(false), ...Array(60).fill(true)] as boolean[];
    const second = first.map((right, i) => (i < 40 ? !right : right));
    const found = compare(first, second);
    expect(found).toMatchObject({ onlyFirst: 30, onlySecond: 10 });
    expect(found.difference.value).toBeCloseTo(0.2, 12);
    expect(found.difference.low).toBeGreaterThan(0);
    expect(found.p).toBeCloseTo(0.0022214337732293643, 12);
  });

  it("finds nothing between a way and itself", () => {
    expect(compare([true, false], [true, false])).toMatchObject({
      p: 1,
      difference: { value: 0, low: 0, high: 0 },
    });
    expect(() => compare([true], [])).toThrow("1 items cannot be paired with 0.");
  });

  it("throws fair coins", () => {
    expect(binomialTest(0, 0)).toBe(1);
    expect(binomialTest(2, 4)).toBe(1);
    expect(binomialTest(0, 5)).toBeCloseTo(2 / 32, 12);
    expect(binomialTest(480, 1000)).toBeCloseTo(0.21744829320414094, 9);
  });
});

describe("a macro mean", () => {
  it("is surer than each of its parts", () => {
    const found = macroMean([share(30, 60), share(45, 60)]);
    expect(found.value).toBeCloseTo(0.625, 12);
    expect(found.high - found.low).toBeLessThan(share(45, 60).high - share(45, 60).low);
  });
});

describe("pointing", () => {
  const map = Tensor.f32([2, 2], [0, 3, 1, 0]);
  const mask = (...on: number[]) => {
    const data = new Uint8Array(16);
    for (const i of on) data[i] = 1;
    return { data, width: 4, height: 4 };
  };

  it("is full where the map is the object", () => {
    expect(pointing(map, mask(2, 3, 6, 7))).toEqual({ hit: true, chance: 0.25, iou: 1, mass: 0.75 });
  });

  it("is none where the map looks away", () => {
    expect(pointing(map, mask(0, 1, 4, 5))).toEqual({ hit: false, chance: 0.25, iou: 0, mass: 0 });
  });

  it("takes as many places as the object has pixels", () => {
    const { iou } = pointing(map, mask(2, 3));
    // Half of one square is taken, and half of what is taken is the object.
    expect(iou).toBeCloseTo(1 / 3, 12);
  });

  it("refuses an object that is not there, and grids that do not fit", () => {
    expect(() => pointing(map, mask())).toThrow("The object has no pixel in the picture.");
    expect(() => pointing(map, { data: [], width: 3, height: 4 })).toThrow("does not fit a mask of 4 x 3");
  });
});
