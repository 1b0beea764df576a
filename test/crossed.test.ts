/** @file Intervals over seeds and items: quantiles, known cases, and how often they cover the truth. */

import { describe, expect, it } from "vitest";
import { crossedDifference, crossedMean, studentQuantile } from "../src/evaluation/crossed.js";
import { TorchGenerator } from "../src/tensor/index.js";

describe("Student's quantile", () => {
  it.each([
    [1, 12.7062],
    [2, 4.30265],
    [2.5, 3.57465],
    [5, 2.57058],
    [30, 2.04227],
    [1000, 1.96234],
    [1e9, 1.95996],
  ])("of %d degrees of freedom", (degrees, quantile) => {
    expect(studentQuantile(degrees)).toBeCloseTo(quantile, 3);
  });
});

const all = (count: number, value: number) => new Uint8Array(count).fill(value);

describe("a mean over seeds and items", () => {
  it("is Wilson's share when all are right", () => {
    const { value, low, high, count } = crossedMean([all(40, 1), all(40, 1)], Array(40).fill("a"));
    expect([value, high, count]).toEqual([1, 1, 40]);
    expect(low).toBeCloseTo(0.9124, 3);
  });

  it("counts each pattern alike", () => {
    const run = [...all(90, 1), ...all(10, 0)];
    const strata = [...Array<string>(90).fill("a"), ...Array<string>(10).fill("b")];
    expect(crossedMean([run], strata).value).toBeCloseTo(0.5, 12);
  });

  it("is wider when seeds disagree", () => {
    const run = (right: number) => Uint8Array.from({ length: 400 }, (_, i) => Number((i * 7) % 400 < right));
    const width = (runs: Uint8Array[]) => {
      const { low, high } = crossedMean(runs, Array(400).fill("a"));
      return high - low;
    };
    expect(width([run(200), run(280), run(360)])).toBeGreaterThan(3 * width([run(280), run(280), run(280)]));
  });

  it("refuses what does not fit", () => {
    expect(() => crossedMean([all(3, 1)], ["a", "a"])).toThrow("A run of 3 answers does not fit 2 items.");
    expect(() => crossedMean([], ["a"])).toThrow("at least one run");
  });
});

/** Answers whose chance depends on the item and the seed. */
function answered(random: TorchGenerator, items: Float64Array, seeds: number, spread: number): Uint8Array[] {
  const noise = random.randn([seeds]).toFloat32();
  return Array.from({ length: seeds }, (_, s) => {
    const draws = random.rand([items.length], "f64").data as Float64Array;
    return Uint8Array.from(items, (chance, i) => Number(draws[i]! < chance + spread * noise[s]!));
  });
}

describe.each([
  ["without an effect of the seed", 0],
  ["with a small one", 0.02],
  ["with a large one", 0.08],
])("intervals %s", (_, spread) => {
  it("cover the truth in about 95 of 100 cases", () => {
    const random = new TorchGenerator(1);
    const [trials, seeds, count] = [150, 3, 120];
    const strata = Array.from({ length: count }, (_, i) => (i < 40 ? "a" : "b"));
    let [means, differences] = [0, 0];
    for (let trial = 0; trial < trials; trial++) {
      const draws = random.rand([count], "f64").data as Float64Array;
      // Chances between 0.3 and 0.7: 0.5 in the mean, and never beyond 0 to 1.
      const items = draws.map((one) => 0.3 + 0.4 * one);
      const [a, b] = [answered(random, items, seeds, spread), answered(random, items, seeds, spread)];
      const found = crossedMean(a, strata);
      means += Number(found.low <= 0.5 && found.high >= 0.5);
      const { low, high } = crossedDifference(a, b, strata);
      differences += Number(low <= 0 && high >= 0);
    }
    expect(means / trials).toBeGreaterThan(0.9);
    expect(differences / trials).toBeGreaterThan(0.9);
  });
});

describe("a difference", () => {
  it("is narrower than two means: items are paired", () => {
    const random = new TorchGenerator(2);
    const items = Float64Array.from({ length: 500 }, (_, i) => (i % 2 === 0 ? 0.02 : 0.98));
    const [a, b] = [answered(random, items, 3, 0), answered(random, items, 3, 0)];
    const strata = Array<string>(500).fill("a");
    const { low, high, value } = crossedDifference(a, b, strata);
    const own = crossedMean(a, strata);
    expect(high - low).toBeLessThan(own.high - own.low);
    expect(Math.abs(value)).toBeLessThan(0.02);
  });
});
