import { describe, expect, it } from "vitest";
import { formatNumber, formatRange, percentile, valueRange } from "./values.js";

describe("ranges", () => {
  const maps = [Float32Array.of(3, Number.NaN, -1), Float32Array.of(7, Number.POSITIVE_INFINITY)];

  it("span the finite numbers of all maps", () => {
    expect(valueRange(maps, "minmax")).toEqual({ min: -1, max: 7 });
    expect(valueRange(maps, "max")).toEqual({ min: 0, max: 7 });
    expect(valueRange(maps, [0, 2])).toEqual({ min: 0, max: 2 });
  });

  it("of nothing are empty", () => {
    for (const normalise of ["minmax", "max", "robust"] as const) {
      expect(valueRange([Float32Array.of(Number.NaN)], normalise)).toEqual({ min: 0, max: 0 });
    }
  });

  it("use numpy's percentiles", () => {
    const sorted = Float32Array.of(1, 2, 4, 8, 16);
    expect([0, 1, 50, 90, 100].map((percent) => percentile(sorted, percent))).toEqual(
      [1, 1.04, 4, 12.8, 16].map((v) => expect.closeTo(v, 6)),
    );
  });
});

describe("numbers for people", () => {
  it.each([
    [0, "0"],
    [1, "1"],
    [-0.25, "−0.25"],
    [0.123456, "0.123"],
    [12.3456, "12.3"],
    [1234.5, "1235"],
    [0.00042, "4.2e−4"],
    [1.5e7, "1.5e7"],
    [Number.NEGATIVE_INFINITY, "−∞"],
    [Number.NaN, "NaN"],
  ])("%d is written %s", (value, text) => expect(formatNumber(value)).toBe(text));

  it.each([
    [2.4e-13, 1, "0", "1"],
    [0.0008412, 0.08013, "0.0008", "0.0801"],
    [-0.3621, 1, "−0.36", "1"],
    [11.62, 119.4, "12", "119"],
    [0, 0, "0", "0"],
    [-2e-7, 3e-6, "−2.0e−7", "3.0e−6"],
  ])("%d to %d is written %s to %s", (min, max, low, high) =>
    expect(formatRange({ min, max })).toEqual({ low, high }),
  );
});
