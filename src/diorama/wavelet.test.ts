import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodePicture } from "../../scripts/pack-world/wavelet.js";
import { DiffsightError } from "../tensor/index.js";
import { decodePicture } from "./wavelet.js";

const sides = fc.constantFrom(1, 2, 4, 8, 16, 32);

describe("packed pictures", () => {
  it("come back exactly when nothing was divided", () => {
    fc.assert(
      fc.property(
        sides,
        sides,
        fc.boolean(),
        fc.infiniteStream(fc.nat(255)),
        (width, height, alpha, bytes) => {
          const pixels = Uint8Array.from({ length: width * height * 4 }, (_, i) =>
            i % 4 === 3 && !alpha ? 255 : bytes.next().value!,
          );
          const packed = encodePicture(pixels, width, height, alpha, [1, 1]);
          expect(decodePicture(packed, { width, height, alpha, steps: [1, 1] })).toEqual(pixels);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("stay near when details were divided", () => {
    const [width, height] = [64, 32];
    const pixels = Uint8Array.from({ length: width * height * 4 }, (_, i) => {
      const [x, y] = [(i >> 2) % width, Math.floor((i >> 2) / width)];
      return i % 4 === 3 ? 255 : (x * (2 + (i % 4)) + y * 3) & 255;
    });
    const steps = [8, 16] as const;
    const found = decodePicture(encodePicture(pixels, width, height, false, steps), {
      width,
      height,
      alpha: false,
      steps,
    });
    const mean = pixels.reduce((sum, value, i) => sum + Math.abs(value - found[i]!), 0) / pixels.length;
    expect(mean).toBeLessThan(4);
  });

  it("that are cut off are refused", () => {
    const packed = encodePicture(new Uint8Array(16 * 16 * 4).fill(200), 16, 16, false, [1, 1]);
    const shape = { width: 16, height: 16, alpha: false, steps: [1, 1] } as const;
    fc.assert(
      fc.property(fc.nat(packed.length - 1), (length) => {
        expect(() => decodePicture(packed.subarray(0, length), shape)).toThrow(DiffsightError);
      }),
    );
  });
});
