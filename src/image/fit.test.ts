/** @file Geometry: squash, crop, pad and native. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  clipMeanColour,
  cropCentre,
  type Fit,
  fitImage,
  fits,
  nativeSize,
  padTo,
  padToSquare,
} from "./fit.js";
import { blankImage, type RgbImage } from "./image.js";
import { resize } from "./resize.js";

/** Red tells the column, green the row. */
function ruler(width: number, height: number): RgbImage {
  const image = blankImage(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([i % width, Math.floor(i / width), 0], i * 3);
  return image;
}

const pixel = ({ width, data }: RgbImage, x: number, y: number) => [
  ...data.subarray((y * width + x) * 3, (y * width + x + 1) * 3),
];

describe("fitting an image", () => {
  const side = fc.integer({ min: 1, max: 60 });

  it("gives exactly the asked-for size, with every fit", () => {
    fc.assert(
      fc.property(side, side, side, side, fc.constantFrom(...fits), (w, h, width, height, fit) => {
        const image = fitImage(ruler(w, h), { width, height, fit, filter: "bilinear" });
        expect([image.width, image.height]).toEqual([width, height]);
      }),
    );
  });

  it("is a plain resize when the shapes agree", () => {
    const image = ruler(40, 20);
    const plain = resize(image, 20, 10, "lanczos");
    for (const fit of fits) {
      expect(fitImage(image, { width: 20, height: 10, fit, filter: "lanczos" }), fit).toEqual(plain);
    }
  });

  it("crops the middle of the longer side, the odd pixel to the right", () => {
    const image = fitImage(ruler(13, 8), { width: 8, height: 8, fit: "crop", filter: "bicubic" });
    expect(pixel(image, 0, 0)).toEqual([2, 0, 0]);
    expect(pixel(image, 7, 7)).toEqual([9, 7, 0]);
  });

  it("cuts more than there is with black around, wider and lower at once", () => {
    const cut = cropCentre(ruler(4, 5), 6, 3);
    expect([cut.width, cut.height]).toEqual([6, 3]);
    expect([0, 1, 4, 5].map((x) => pixel(cut, x, 0))).toEqual([
      [0, 0, 0],
      [0, 1, 0],
      [3, 1, 0],
      [0, 0, 0],
    ]);
  });

  it("pads to the target's shape in CLIP's mean colour", () => {
    const square = fitImage(ruler(6, 3), { width: 6, height: 6, fit: "pad", filter: "bicubic" });
    expect(square).toEqual(padToSquare(ruler(6, 3)));
    expect(pixel(square, 0, 0)).toEqual(clipMeanColour);
    expect(pixel(square, 5, 1)).toEqual([5, 0, 0]);
    expect(pixel(square, 5, 4)).toEqual(clipMeanColour);
    const wide = fitImage(ruler(4, 4), { width: 8, height: 4, fit: "pad", filter: "bicubic" });
    expect(pixel(wide, 1, 0)).toEqual(clipMeanColour);
    expect(pixel(wide, 2, 0)).toEqual([0, 0, 0]);
    expect(pixel(wide, 6, 0)).toEqual(clipMeanColour);
  });

  it("refuses unknown fits and sizes", () => {
    const options = { width: 4, height: 4, filter: "bicubic" } as const;
    expect(() => fitImage(ruler(4, 4), { ...options, fit: "stretch" as Fit })).toThrow(
      /"stretch": squash, crop, pad/,
    );
    expect(() => fitImage(ruler(4, 4), { ...options, fit: "squash", width: 0 })).toThrow(/0 x 4/);
    expect(() => cropCentre(ruler(4, 4), 0, 4)).toThrow(/0 x 4/);
    expect(() => padTo(ruler(4, 4), 3, 4, [0, 0, 0])).toThrow(/4 x 4 does not fit into 3 x 4/);
  });
});

describe("the native size", () => {
  it("is the nearest multiple of the factor, at least one of it", () => {
    expect(nativeSize({ width: 500, height: 333 }, 8)).toEqual({ width: 504, height: 336 });
    expect(nativeSize({ width: 499, height: 3 }, 8)).toEqual({ width: 496, height: 8 });
    expect(nativeSize({ width: 1024, height: 1024 }, 8)).toEqual({ width: 1024, height: 1024 });
  });

  it("refuses more than a megapixel, with the memory it would take", () => {
    expect(() => nativeSize({ width: 4000, height: 3000 }, 8)).toThrow(
      expect.objectContaining({
        code: "IMAGE_TOO_LARGE",
        misuse: true,
        message: expect.stringMatching(
          /4000 x 3000 = 12000000 pixels; at most 1048576 .* 187500 positions .* 141 GB/,
        ),
      }),
    );
    expect(nativeSize({ width: 4000, height: 3000 }, 8, 12_000_000)).toEqual({ width: 4000, height: 3000 });
  });
});
