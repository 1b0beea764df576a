/** @file Unit tests of the random numbers; the golden comparison with torch is in test/noise.test.ts. */

import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TorchGenerator } from "./random.js";

function md5({ data }: { data: ArrayBufferView }): string {
  return createHash("md5")
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex");
}

describe("torch generator", () => {
  it("equals torch in every bit of a million numbers", () => {
    expect(md5(new TorchGenerator(3).randn([1000003]))).toBe("87a291e644fa6666c83ce185de16e3cd");
  });

  it("counts only the low 32 bits of a seed", () => {
    const first = new TorchGenerator(5).rand([8]).data;
    expect(new TorchGenerator(2 ** 40 + 5).rand([8]).data).toEqual(first);
    expect(new TorchGenerator(2n ** 63n + 5n).rand([8]).data).toEqual(first);
  });

  it("takes negative seeds as their two's complement", () => {
    // torch.randint(0, 1000, (3,)) after manual_seed(-1) and manual_seed(2**64 - 1)
    const expected = BigInt64Array.of(371n, 978n, 476n);
    expect(new TorchGenerator(-1).randint(0, 1000, [3]).data).toEqual(expected);
    expect(new TorchGenerator(2n ** 64n - 1n).randint(0, 1000, [3]).data).toEqual(expected);
  });

  it("takes 64 random bits for ranges of 2^28 and more", () => {
    const draw = (high: number) => new TorchGenerator(7).randint(0, high, [3]).data;
    expect(draw(2 ** 28 - 1)).toEqual(BigInt64Array.of(59306160n, 171107527n, 128500261n));
    expect(draw(2 ** 28)).toEqual(BigInt64Array.of(171107524n, 27798006n, 174903507n));
    expect(draw(2 ** 32)).toEqual(BigInt64Array.of(976413892n, 1369975286n, 4201435347n));
    expect(draw(2 ** 53 - 1)[0]).toBeLessThan(2n ** 53n);
  });

  it("goes on after an empty draw as if it had not been", () => {
    const generator = new TorchGenerator(0);
    expect(generator.randn([0]).dims).toEqual([0]);
    expect(generator.randn([]).data).toEqual(new TorchGenerator(0).randn([1]).data);
  });

  it.each([0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60, 2n ** 64n, -(2n ** 63n) - 1n])(
    "refuses seed %s",
    (seed) => {
      expect(() => new TorchGenerator(seed)).toThrow(expect.objectContaining({ code: "SEED", misuse: true }));
    },
  );

  it("refuses empty ranges and shapes that are none", () => {
    const generator = new TorchGenerator(0);
    expect(() => generator.randint(3, 3, [1])).toThrow(/low 3 and high 3/);
    expect(() => generator.randn([2, -1])).toThrow(/\[2, -1\]/);
    expect(() => generator.randperm(1.5)).toThrow(/\[1.5\]/);
  });

  it("permutes every length", () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(), (n, seed) => {
        const order = [...(new TorchGenerator(seed).randperm(n).data as BigInt64Array)].map(Number);
        expect(order.sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
      }),
    );
  });

  it("keeps integers in their range", () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.maxSafeInteger(), fc.nat(), (a, b, seed) => {
        fc.pre(a !== b);
        const [low, high] = a < b ? [a, b] : [b, a];
        for (const value of new TorchGenerator(seed).randint(low, high, [20]).data) {
          expect(value >= BigInt(low) && value < BigInt(high)).toBe(true);
        }
      }),
    );
  });
});
