import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectClose, Golden } from "../../../test/golden.js";
import { Tensor } from "../../tensor/index.js";
import { principalComponents } from "./pca.js";

const golden = new Golden("stats");

const matrices = fc.tuple(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 1, max: 12 })).chain(([n, c]) =>
  fc
    .array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }), {
      minLength: n * c,
      maxLength: n * c,
    })
    .map((values) => Tensor.f32([n, c], values)),
);

const product = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

describe("principal components", () => {
  it.each(["similarity0", "similarity1"])("equal the reference's in %s", (name) => {
    const one = golden.case(name);
    const found = principalComponents(golden.input(one, "x"));
    const atol = (output: string) => one.outputs[output]!.atol!;
    expectClose(found.components, golden.output(one, "pca_components"), atol("pca_components"));
    expectClose(found.scores, golden.output(one, "pca_scores"), atol("pca_scores"));
    expectClose(Tensor.f32([3], found.variance), golden.output(one, "pca_variance"), atol("pca_variance"));
    expectClose(Tensor.f32([3], found.ratio), golden.output(one, "pca_ratio"), atol("pca_ratio"));
  });

  it("come by falling variance, orthonormal, with shares that add up to at most 1", () => {
    fc.assert(
      fc.property(matrices, (rows) => {
        const { components, variance, ratio } = principalComponents(rows);
        expect(variance[0]).toBeGreaterThanOrEqual(variance[1]!);
        expect(variance[1]).toBeGreaterThanOrEqual(variance[2]!);
        expect(ratio[0]! + ratio[1]! + ratio[2]!).toBeLessThan(1 + 1e-9);
        const c = rows.dims[1]!;
        const vectors = [0, 1, 2].map((k) => components.toFloat32().slice(k * c, (k + 1) * c));
        for (const [i, one] of vectors.entries()) {
          expect(product(one, one)).toBeCloseTo(variance[i]! > 0 ? 1 : 0, 4);
          for (const other of vectors.slice(i + 1)) expect(Math.abs(product(one, other))).toBeLessThan(1e-4);
        }
      }),
    );
  });

  it("have the same sign however the rows are ordered, and whichever Gram matrix is the smaller", () => {
    const tall = Array.from({ length: 40 }, (_, i) => [
      Math.sin(i),
      Math.cos(i * 1.7),
      (i * 0.37) % 1,
      i / 40,
    ]);
    const forward = principalComponents(Tensor.f32([40, 4], tall.flat()));
    const backward = principalComponents(Tensor.f32([40, 4], tall.reverse().flat()));
    expectClose(backward.components, forward.components, 1e-6);
    const wide = Tensor.f32(
      [4, 40],
      Array.from({ length: 160 }, (_, i) => Math.sin(i * i)),
    );
    const { components } = principalComponents(wide);
    for (let k = 0; k < 3; k++) {
      const vector = [...components.toFloat32().slice(k * 40, (k + 1) * 40)];
      expect(Math.max(...vector)).toBe(Math.max(...vector.map(Math.abs)));
    }
  });

  it("explain data of few directions by those, and leave the rest zero", () => {
    const line = principalComponents(
      Tensor.f32(
        [5, 3],
        Array.from({ length: 15 }, (_, i) => Math.floor(i / 3) * ((i % 3) + 1)),
      ),
    );
    expect(line.ratio).toEqual([expect.closeTo(1, 12), 0, 0]);
    expect([...line.components.toFloat32().slice(3)]).toEqual(new Array(6).fill(0));
    expect(principalComponents(Tensor.f32([4, 3])).ratio).toEqual([0, 0, 0]);
  });

  it("refuse what has none", () => {
    expect(() => principalComponents(Tensor.f32([1, 3]))).toThrow(/\[1, 3\]/);
    expect(() => principalComponents(Tensor.f32([2, 1], [1, Number.NaN]))).toThrow(/NaN/);
  });
});
