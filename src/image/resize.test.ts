/** @file What every resize keeps, whatever the pixels. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blankImage, type RgbImage } from "./image.js";
import { resize, resizeFilters } from "./resize.js";

const side = fc.integer({ min: 1, max: 24 });
const filter = fc.constantFrom(...resizeFilters);
const image: fc.Arbitrary<RgbImage> = fc.record({ width: side, height: side }).chain(({ width, height }) => {
  const length = width * height * 3;
  return fc.uint8Array({ minLength: length, maxLength: length }).map((data) => ({ width, height, data }));
});

const reversed = (bytes: Uint8Array) => {
  const pixels = Uint8Array.from(bytes);
  for (let i = 0; i < bytes.length; i += 3) pixels.set(bytes.subarray(i, i + 3), bytes.length - 3 - i);
  return pixels;
};

describe("resizing", () => {
  it("to the same size changes nothing", () => {
    fc.assert(fc.property(image, filter, (one, f) => resize(one, one.width, one.height, f) === one));
  });

  it("leaves an image of one colour at that colour", () => {
    const colour = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255));
    fc.assert(
      fc.property(side, side, side, side, colour, filter, (width, height, toWidth, toHeight, rgb, f) => {
        expect(resize(blankImage(width, height, rgb), toWidth, toHeight, f)).toEqual(
          blankImage(toWidth, toHeight, rgb),
        );
      }),
    );
  });

  it("gives the asked-for size and leaves the input alone", () => {
    fc.assert(
      fc.property(image, side, side, filter, (one, width, height, f) => {
        const before = one.data.slice();
        const { data, ...size } = resize(one, width, height, f);
        expect({ ...size, length: data.length }).toEqual({ width, height, length: width * height * 3 });
        expect(one.data).toEqual(before);
      }),
    );
  });

  it("stays between the darkest and the brightest byte when bilinear", () => {
    fc.assert(
      fc.property(image, side, side, (one, width, height) => {
        const { data } = resize(one, width, height, "bilinear");
        expect(Math.min(...data)).toBeGreaterThanOrEqual(Math.min(...one.data));
        expect(Math.max(...data)).toBeLessThanOrEqual(Math.max(...one.data));
      }),
    );
  });

  it("of a picture upside down is the result upside down", () => {
    fc.assert(
      fc.property(image, side, side, filter, (one, width, height, f) => {
        const turned = resize({ ...one, data: reversed(one.data) }, width, height, f);
        const straight = reversed(resize(one, width, height, f).data);
        // The weights of a mirrored window can differ in their last bit.
        return turned.data.every((byte, i) => Math.abs(byte - straight[i]!) <= 1);
      }),
    );
  });

  it("goes along the rows first, but down the columns first when the height shrinks by far more", () => {
    fc.assert(
      fc.property(image, side, side, filter, (one, width, height, f) => {
        const isTall = one.height - height > 2 * Math.max(0, one.width - width);
        const half = isTall ? resize(one, one.width, height, f) : resize(one, width, one.height, f);
        expect(resize(one, width, height, f)).toEqual(resize(half, width, height, f));
      }),
    );
  });

  it.each([
    [0, 5],
    [5, -1],
    [2.5, 5],
    [Number.NaN, 5],
    [5, Number.POSITIVE_INFINITY],
  ])("refuses %d x %d", (width, height) => {
    expect(() => resize(blankImage(3, 3), width, height, "bicubic")).toThrow(`${width} x ${height}`);
  });
});
