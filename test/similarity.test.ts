/** @file Similarities of features against numpy's, and their properties. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cka, cosine, cosines, normStatistics } from "../src/evaluation/index.js";
import { Tensor } from "../src/tensor/index.js";
import { expectClose, Golden } from "./golden.js";

const golden = new Golden("stats");
const cases = golden.cases.filter(({ name }) => name.startsWith("similarity"));

const one = (value: number) => Tensor.f32([1], [value]);

describe.each(cases)("$name", (wanted) => {
  const [x, y] = ["x", "y"].map((name) => golden.input(wanted, name)) as [Tensor, Tensor];

  it.each([
    ["cka", () => one(cka(x, y))],
    ["cka_debiased", () => one(cka(x, y, { debiased: true }))],
    [
      "cka_self_scaled",
      () =>
        one(
          cka(
            x,
            Tensor.f32(
              x.dims,
              x.toFloat32().map((value) => 3 * value),
            ),
          ),
        ),
    ],
    ["cosine_rows_of_x", () => cosines(x)],
  ])("%s", (name, compute) => {
    const entry = wanted.outputs[name]!;
    expectClose(compute(), golden.tensor(entry), entry.atol!, name);
  });
});

const rows = fc
  .tuple(fc.integer({ min: 4, max: 9 }), fc.integer({ min: 1, max: 5 }))
  .chain(([n, c]) =>
    fc
      .array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: n * c, maxLength: n * c })
      .map((values) => Tensor.f32([n, c], values)),
  )
  .filter((x) => normOf(x) > 0.1);

function normOf(x: Tensor): number {
  const [n, c] = x.dims as [number, number];
  const values = x.toFloat32();
  let worst = 0;
  for (let i = c; i < n * c; i++) worst = Math.max(worst, Math.abs(values[i]! - values[i % c]!));
  return worst;
}

describe("CKA", () => {
  it("is 1 with itself, the same both ways, and between 0 and 1", () => {
    fc.assert(
      fc.property(rows, fc.infiniteStream(fc.double({ min: -4, max: 4, noNaN: true })), (x, more) => {
        expect(cka(x, x)).toBeCloseTo(1, 9);
        const y = Tensor.f32(
          [x.dims[0]!, 2],
          Array.from({ length: x.dims[0]! * 2 }, () => more.next().value as number),
        );
        if (normOf(y) < 0.1) return;
        expect(cka(x, y)).toBeCloseTo(cka(y, x), 9);
        expect(cka(x, y)).toBeGreaterThanOrEqual(0);
        expect(cka(x, y)).toBeLessThanOrEqual(1 + 1e-9);
      }),
    );
  });

  it("refuses what has no rows in common", () => {
    const x = Tensor.f32([3, 1], [1, 2, 3]);
    expect(() => cka(x, Tensor.f32([2, 1], [1, 2]))).toThrow("CKA needs equal rows, not [3, 1] and [2, 1].");
    expect(() => cka(x, x, { debiased: true })).toThrow("at least four rows");
    expect(() => cka(Tensor.f32([3], [1, 2, 3]), x)).toThrow("x must be a matrix");
  });
});

describe("cosine", () => {
  it("is 1 along, -1 against, 0 across and 0 with nothing", () => {
    const of = (...values: number[]) => Tensor.f32([values.length], values);
    expect(cosine(of(1, 2), of(2, 4))).toBeCloseTo(1);
    expect(cosine(of(1, 2), of(-1, -2))).toBeCloseTo(-1);
    expect(cosine(of(1, 0), of(0, 5))).toBe(0);
    expect(cosine(of(0, 0), of(0, 5))).toBe(0);
  });
});

describe("norm statistics", () => {
  it("find the token that stands out", () => {
    const grid = new Float32Array(2 * 3 * 3).fill(1);
    grid[4] = 30;
    const { largest, registers, mean } = normStatistics(Tensor.f32([2, 3, 3], grid));
    expect(registers).toEqual([4]);
    expect(largest).toBeCloseTo(Math.hypot(30, 1), 5);
    expect(mean).toBeCloseTo((Math.hypot(30, 1) + 8 * Math.SQRT2) / 9, 5);
  });
});
