/** @file GIF: LZW, interlacing, palettes, frames that do not fill the screen; and damaged ones. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeGif } from "./gif.js";
import { ImageFault } from "./header.js";

interface Picture {
  screen?: [number, number];
  frame: [number, number, number, number];
  indices: ArrayLike<number>;
  rootBits?: number;
  palette?: number[];
  transparent?: number;
  interlaced?: boolean;
}

function gif({
  screen,
  frame,
  indices,
  rootBits = 8,
  palette,
  transparent,
  interlaced,
}: Picture): Uint8Array {
  const short = (value: number) => [value & 255, value >> 8];
  const [x, y, width, height] = frame;
  const entries = palette ? Math.log2(palette.length / 3) - 1 : 0;
  return Uint8Array.from([
    ...Array.from("GIF89a", (letter) => letter.charCodeAt(0)),
    ...(screen ?? [x + width, y + height]).flatMap(short),
    ...[palette ? 0x80 | entries : 0, 0, 0],
    ...(palette ?? []),
    ...[0x21, 0xfe, 3, 1, 2, 3, 0],
    ...(transparent === undefined ? [] : [0x21, 0xf9, 4, 1, 0, 0, transparent, 0]),
    ...[0x2c, ...frame.flatMap(short), interlaced ? 0x40 : 0],
    ...deflateLzw(indices, rootBits),
    0x3b,
  ]);
}

/** Packs indices as GIF's LZW, in sub-blocks. */
function deflateLzw(indices: ArrayLike<number>, rootBits: number): number[] {
  const clear = 1 << rootBits;
  const bytes: number[] = [];
  let word = 0;
  let bits = 0;
  let width = rootBits + 1;
  const emit = (code: number): void => {
    word |= code << bits;
    bits += width;
    for (; bits >= 8; bits -= 8, word >>>= 8) bytes.push(word & 255);
  };
  let table = new Map<string, number>();
  const code = (text: string) => (text.length === 1 ? text.charCodeAt(0) : table.get(text)!);
  emit(clear);
  let current = "";
  for (const index of Array.from(indices)) {
    const longer = current + String.fromCharCode(index);
    if (longer.length === 1 || table.has(longer)) {
      current = longer;
      continue;
    }
    emit(code(current));
    const next = clear + 2 + table.size;
    if (next < 4096) {
      table.set(longer, next);
      if (next === 1 << width && width < 12) width++;
    } else {
      emit(clear);
      table = new Map();
      width = rootBits + 1;
    }
    current = longer.slice(-1);
  }
  emit(code(current));
  bytes.push(word & 255, (word >> 8) & 255);
  const blocks: number[] = [rootBits];
  for (let at = 0; at < bytes.length; at += 255) {
    const block = bytes.slice(at, at + 255);
    blocks.push(block.length, ...block);
  }
  return [...blocks, 0];
}

const anySize = (): void => {};
const greys = (bytes: Uint8Array) => [...bytes].filter((_, i) => i % 3 === 0);
const palette = Array.from({ length: 48 }, (_, i) => (i * 83) & 255);

describe("decoding GIF", () => {
  it("gives every pixel its index without a palette, whatever the indices", () => {
    const pixels = fc.oneof(
      fc.uint8Array({ minLength: 60, maxLength: 60 }),
      fc.array(fc.constantFrom(0, 1, 200), { minLength: 60, maxLength: 60 }),
    );
    fc.assert(
      fc.property(pixels, (indices) => {
        const image = decodeGif(gif({ frame: [0, 0, 10, 6], indices }), anySize);
        expect(greys(image.data)).toEqual([...indices]);
      }),
    );
  });

  it("fills the code table, and starts it anew", () => {
    const indices = Array.from({ length: 200 * 150 }, (_, i) => (i * i * 31 + (i >> 3)) & 15);
    const image = decodeGif(gif({ frame: [0, 0, 200, 150], indices, rootBits: 4 }), anySize);
    expect(greys(image.data)).toEqual(indices);
    const runs = new Array(90_000).fill(1);
    expect(greys(decodeGif(gif({ frame: [0, 0, 300, 300], indices: runs }), anySize).data)).toEqual(runs);
  });

  it("puts interlaced rows in their places", () => {
    const indices = [0, 8, 4, 2, 6, 1, 3, 5, 7];
    const image = decodeGif(gif({ frame: [0, 0, 1, 9], indices, interlaced: true }), anySize);
    expect(greys(image.data)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("shows transparent pixels in their entry's colour, and so the screen around the frame", () => {
    const frame: Picture["frame"] = [1, 0, 1, 1];
    const image = decodeGif(gif({ screen: [3, 1], frame, indices: [2], palette, transparent: 5 }), anySize);
    const colour = (entry: number) => palette.slice(entry * 3, entry * 3 + 3);
    expect([...image.data]).toEqual([...colour(5), ...colour(2), ...colour(5)]);
    const opaque = decodeGif(gif({ screen: [2, 1], frame, indices: [99], palette }), anySize);
    expect([...opaque.data]).toEqual([...colour(0), 0, 0, 0]);
  });

  it("grows the screen to the frame, and tells the size before it takes the memory", () => {
    const bytes = gif({ screen: [2, 2], frame: [4, 5, 3, 1], indices: [1, 2, 3] });
    expect(decodeGif(bytes, anySize)).toMatchObject({ width: 7, height: 6 });
    const refuse = (width: number, height: number) => {
      throw new ImageFault("IMAGE_TOO_LARGE", `${width} x ${height}`);
    };
    expect(() => decodeGif(bytes, refuse)).toThrow("7 x 6");
  });
});

describe("damaged GIFs", () => {
  const good = gif({ frame: [0, 0, 10, 6], indices: new Array(60).fill(7), palette, transparent: 1 });

  it.each([
    ["cut off in the header", good.subarray(0, 12), /cut off/],
    ["cut off in the pixels", good.subarray(0, good.length - 6), /pixels are cut off/],
    ["no picture", Uint8Array.from([...good.subarray(0, 61), 0x3b]), /no picture/],
    ["a picture of no size", gif({ frame: [0, 0, 0, 6], indices: [1] }), /0 x 6/],
    ["codes of 13 bits", gif({ frame: [0, 0, 1, 1], indices: [1] }).with(30, 13), /codes of 13 bits/],
    ["more pixels than can be there", gif({ frame: [0, 0, 60000, 60000], indices: [1] }), /do not fit in/],
  ])("%s", (_, bytes, message) => {
    expect(() => decodeGif(bytes, anySize)).toThrow(message);
    expect(() => decodeGif(bytes, anySize)).toThrow(ImageFault);
  });

  it("never end in anything but an image or a fault (12,000 mutations)", () => {
    const seeds = [
      good,
      gif({ frame: [0, 0, 10, 6], indices: Array.from({ length: 60 }, (_, i) => (i * i) % 16), rootBits: 4 }),
      gif({
        screen: [9, 9],
        frame: [1, 2, 5, 5],
        indices: Array.from({ length: 25 }, (_, i) => i),
        interlaced: true,
      }),
    ];
    const edit = fc.record({
      seed: fc.nat(seeds.length - 1),
      bytes: fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 6 }),
      cut: fc.option(fc.nat(150), { freq: 4 }),
    });
    const limit = (width: number, height: number) => {
      if (width * height > 1e6) throw new ImageFault("IMAGE_TOO_LARGE", "too large");
    };
    let images = 0;
    fc.assert(
      fc.property(edit, ({ seed, bytes, cut }) => {
        const file = seeds[seed]!.slice(0, cut === null ? undefined : cut + 6);
        for (const [at, value] of bytes) if (at < file.length) file[at] = value;
        try {
          const { width, height, data } = decodeGif(file, limit);
          images++;
          expect(data.length).toBe(width * height * 3);
        } catch (error) {
          if (!(error instanceof ImageFault)) throw error;
        }
      }),
      { numRuns: 12_000 },
    );
    expect(images).toBeGreaterThan(500);
  });
});
