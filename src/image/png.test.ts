/** @file PNG in every kind of pixels, and PNGs that are damaged or lie. */

import fc from "fast-check";
import { zlibSync } from "fflate";
import { describe, expect, it } from "vitest";
import { crc32 } from "./crc32.js";
import { ImageFault } from "./header.js";
import type { RawImage } from "./image.js";
import { decodePng, pngSignature } from "./png.js";
import { encodePng } from "./png-encode.js";

interface Kind {
  colour: number;
  depth: number;
  samples: number;
  interlaced?: boolean;
}

type Samples = (x: number, y: number, sample: number) => number;

const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** Packs samples as a PNG without row filters. */
function pack(width: number, height: number, { colour, depth, samples, interlaced }: Kind, value: Samples) {
  const rows: number[] = [];
  for (const [x0, y0, stepX, stepY] of interlaced ? adam7 : [[0, 0, 1, 1] as const]) {
    for (let y = y0; y < height && x0 < width; y += stepY) {
      let bits = "";
      for (let x = x0; x < width; x += stepX) {
        for (let s = 0; s < samples; s++) bits += value(x, y, s).toString(2).padStart(depth, "0");
      }
      rows.push(0, ...(bits.match(/.{1,8}/g) ?? []).map((byte) => Number.parseInt(byte.padEnd(8, "0"), 2)));
    }
  }
  const header = [...word(width), ...word(height), depth, colour, 0, 0, interlaced ? 1 : 0];
  return { header, rows };
}

function word(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

function chunk(type: string, body: ArrayLike<number>): number[] {
  const bytes = [...Array.from(type, (letter) => letter.charCodeAt(0)), ...Array.from(body)];
  return [...word(bytes.length - 4), ...bytes, ...word(crc32(Uint8Array.from(bytes), 0, bytes.length))];
}

function file(...chunks: number[][]): Uint8Array {
  return Uint8Array.from([...pngSignature, ...chunks.flat(), ...chunk("IEND", [])]);
}

function png(width: number, height: number, kind: Kind, value: Samples, ...extra: number[][]): Uint8Array {
  const { header, rows } = pack(width, height, kind, value);
  return file(chunk("IHDR", header), ...extra, chunk("IDAT", zlibSync(Uint8Array.from(rows))));
}

const palette = Array.from({ length: 9 }, (_, i) => (i * 67 + 5) & 255);

/** What PIL's convert("RGB") makes of a pixel's samples. */
function expected({ colour, depth, samples }: Kind, value: Samples, x: number, y: number): number[] {
  const high = (s: number) => (depth === 16 ? value(x, y, s) >> 8 : value(x, y, s));
  if (colour === 3) return [0, 1, 2].map((i) => palette[value(x, y, 0) * 3 + i] ?? 0);
  if (samples >= 3) return [high(0), high(1), high(2)];
  const grey =
    colour === 0 && depth === 16
      ? Math.min(255, value(x, y, 0))
      : (high(0) * 255) / (2 ** Math.min(depth, 8) - 1);
  return [grey, grey, grey];
}

const kinds: Kind[] = [
  ...[1, 2, 4, 8, 16].map((depth) => ({ colour: 0, depth, samples: 1 })),
  ...[8, 16].map((depth) => ({ colour: 2, depth, samples: 3 })),
  ...[1, 2, 4, 8].map((depth) => ({ colour: 3, depth, samples: 1 })),
  ...[8, 16].map((depth) => ({ colour: 4, depth, samples: 2 })),
  ...[8, 16].map((depth) => ({ colour: 6, depth, samples: 4 })),
];

const sizes = [
  [1, 1],
  [3, 2],
  [9, 7],
  [21, 10],
] as const;

describe("decoding PNG", () => {
  const cases = kinds.flatMap((kind) => [kind, { ...kind, interlaced: true }]);
  it.each(cases)("colour type $colour, $depth bits, interlaced: $interlaced", (kind) => {
    // Small numbers in the low half too, so that 16-bit grey is both below and above 255.
    const value: Samples = (x, y, s) => (x * 37 + y * 11 + s * 5 + ((x + y) % 3) * 200) % 2 ** kind.depth;
    for (const [width, height] of sizes) {
      const extra = kind.colour === 3 ? [chunk("PLTE", palette)] : [];
      const { data } = decodePng(png(width, height, kind, value, ...extra));
      const want: number[] = [];
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) want.push(...expected(kind, value, x, y));
      }
      expect([...data], `${width} x ${height}`).toEqual(want);
    }
  });

  it("joins pixels that are spread over many chunks", () => {
    const { header, rows } = pack(9, 7, kinds[5]!, (x, y, s) => x * y + s);
    const pixels = [...zlibSync(Uint8Array.from(rows))];
    const whole = decodePng(file(chunk("IHDR", header), chunk("IDAT", pixels)));
    const parts = pixels.flatMap((byte) => [chunk("IDAT", []), chunk("IDAT", [byte])]);
    expect(decodePng(file(chunk("IHDR", header), ...parts))).toEqual(whole);
  });

  it("obeys the orientation in an eXIf chunk, after the pixels too", () => {
    const exif = (value: number) =>
      chunk("eXIf", [77, 77, 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0]);
    const { header, rows } = pack(3, 2, kinds[3]!, (x, y) => x + 3 * y);
    const pixels = chunk("IDAT", zlibSync(Uint8Array.from(rows)));
    const turned = (value: number) => {
      const { width, height, data } = decodePng(file(chunk("IHDR", header), pixels, exif(value)));
      return { width, height, grey: [...data].filter((_, i) => i % 3 === 0).join("") };
    };
    expect(turned(1)).toEqual({ width: 3, height: 2, grey: "012345" });
    expect(turned(2)).toEqual({ width: 3, height: 2, grey: "210543" });
    expect(turned(3)).toEqual({ width: 3, height: 2, grey: "543210" });
    expect(turned(4)).toEqual({ width: 3, height: 2, grey: "345012" });
    expect(turned(5)).toEqual({ width: 2, height: 3, grey: "031425" });
    expect(turned(6)).toEqual({ width: 2, height: 3, grey: "304152" });
    expect(turned(7)).toEqual({ width: 2, height: 3, grey: "524130" });
    expect(turned(8)).toEqual({ width: 2, height: 3, grey: "251403" });
    expect(turned(9)).toEqual(turned(1));
  });

  it("ignores bytes after the last row, however many they would become", () => {
    const { header, rows } = pack(4, 4, kinds[3]!, (x) => x);
    const bomb = zlibSync(Uint8Array.from([...rows, ...new Array(5_000_000).fill(0)]));
    expect(decodePng(file(chunk("IHDR", header), chunk("IDAT", bomb))).data).toHaveLength(48);
  });
});

describe("encoding PNG", () => {
  const raw = fc
    .record({
      width: fc.integer({ min: 1, max: 12 }),
      height: fc.integer({ min: 1, max: 12 }),
      channels: fc.constantFrom(1, 2, 3, 4),
    })
    .chain(({ width, height, channels }) => {
      const length = width * height * channels;
      const data = fc.oneof(
        fc.uint8Array({ minLength: length, maxLength: length }),
        fc.nat(3).map((step) => Uint8Array.from({ length }, (_, i) => i * step)),
      );
      return data.map((bytes) => ({ width, height, channels, data: bytes }) as RawImage);
    });

  it("comes back as it was, grey repeated and alpha dropped", () => {
    fc.assert(
      fc.property(raw, (image) => {
        const { width, height, channels, data } = image;
        const decoded = decodePng(encodePng(image));
        expect([decoded.width, decoded.height]).toEqual([width, height]);
        for (let i = 0; i < decoded.data.length; i++) {
          const from = Math.floor(i / 3) * channels + (channels < 3 ? 0 : i % 3);
          if (decoded.data[i] !== data[from]) return false;
        }
        return true;
      }),
    );
  });

  it("gives the same bytes for the same pixels", () => {
    const image = { width: 50, height: 40, data: Uint8Array.from({ length: 6000 }, (_, i) => i * i) };
    expect(encodePng(image)).toEqual(encodePng({ ...image, channels: 3 }));
  });

  it("makes smooth pictures small", () => {
    const data = Uint8Array.from({ length: 256 * 256 * 3 }, (_, i) => Math.floor(i / 3) % 256);
    expect(encodePng({ width: 256, height: 256, data }).length).toBeLessThan(2000);
  });

  it("refuses data that does not fit the size", () => {
    const data = new Uint8Array(11);
    expect(() => encodePng({ width: 2, height: 2, data })).toThrow(/2 x 2 x 3 bytes .* has 11/);
    expect(() => encodePng({ width: 0, height: 2, data })).toThrow(/0 x 2/);
  });
});

describe("damaged PNGs", () => {
  const grey = kinds[3]!;
  const good = pack(8, 8, grey, (x, y) => x + y);
  const idat = chunk("IDAT", zlibSync(Uint8Array.from(good.rows)));
  const damaged: [string, Uint8Array, RegExp][] = [
    ["cut off in the pixels", file(chunk("IHDR", good.header), idat).subarray(0, 50), /it is cut off/],
    ["no pixels", file(chunk("IHDR", good.header)), /pixels are cut off/],
    [
      "too few rows",
      file(chunk("IHDR", [...word(8), ...word(9), 8, 0, 0, 0, 0]), idat),
      /pixels are cut off/,
    ],
    ["no header", file(idat), /no header/],
    ["no palette", png(2, 2, kinds[7]!, () => 0), /no palette/],
    [
      "a wrong checksum",
      file(chunk("IHDR", good.header), idat.with(12, 77)),
      /IDAT chunk at byte 33 is damaged/,
    ],
    ["an unknown colour type", file(chunk("IHDR", good.header.with(9, 5)), idat), /colour type 5, 8 bits/],
    ["an impossible depth", file(chunk("IHDR", good.header.with(8, 3)), idat), /colour type 0, 3 bits/],
    ["a short header", file(chunk("IHDR", [0]), idat), /header has a wrong length/],
    ["no zlib", file(chunk("IHDR", good.header), chunk("IDAT", [1, 2, 3, 4])), /not begin as zlib/],
    [
      "bad deflate",
      file(chunk("IHDR", good.header), chunk("IDAT", [0x78, 0x9c, 7, 7, 7])),
      /pixels are damaged/,
    ],
    [
      "an unknown filter in the second row",
      file(
        chunk("IHDR", [...word(1), ...word(2), 8, 0, 0, 0, 0]),
        chunk("IDAT", zlibSync(Uint8Array.from([0, 1, 9, 1]))),
      ),
      /unknown filter 9/,
    ],
  ];

  it.each(damaged)("%s", (_, bytes, message) => {
    expect(() => decodePng(bytes)).toThrow(message);
    expect(() => decodePng(bytes)).toThrow(ImageFault);
  });

  it("say so before memory is taken for pixels that cannot be there", () => {
    const header = [...word(30_000), ...word(30_000), 16, 6, 0, 0, 0];
    expect(() => decodePng(file(chunk("IHDR", header), idat))).toThrow(/cut off .* 30000 x 30000/);
  });

  it("never end in anything but an image or a fault (12,000 mutations)", () => {
    const seeds = [
      png(5, 4, grey, (x, y) => x * y),
      png(9, 9, { ...kinds[9]!, interlaced: true }, (x) => x % 3, chunk("PLTE", palette)),
      png(4, 4, kinds[14]!, (x, y, s) => x * y * s * 999),
      encodePng({ width: 6, height: 6, data: Uint8Array.from({ length: 108 }, (_, i) => i * 13) }),
    ];
    const edit = fc.record({
      seed: fc.nat(seeds.length - 1),
      bytes: fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }),
      cut: fc.option(fc.nat(200), { freq: 4 }),
      mend: fc.boolean(),
    });
    let images = 0;
    fc.assert(
      fc.property(edit, ({ seed, bytes, cut, mend }) => {
        const file = seeds[seed]!.slice(0, cut === null ? undefined : cut + 8);
        for (const [at, value] of bytes) file[8 + (at % Math.max(1, file.length - 8))] = value;
        if (mend) mendChecksums(file);
        const width = new DataView(file.buffer).getUint32(Math.min(16, file.length - 4));
        const height = new DataView(file.buffer).getUint32(Math.min(20, file.length - 4));
        // decodeImage checks the size before; larger ones never come here.
        if (width < 1 || height < 1 || width * height > 1e6) return;
        try {
          const { data, width: w, height: h } = decodePng(file);
          images++;
          expect(data.length).toBe(w * h * 3);
        } catch (error) {
          if (!(error instanceof ImageFault)) throw error;
        }
      }),
      { numRuns: 12_000 },
    );
    expect(images).toBeGreaterThan(500);
  });
});

/** Writes right checksums over the damaged ones, so that mutations reach the decoder behind them. */
function mendChecksums(file: Uint8Array): void {
  const view = new DataView(file.buffer);
  for (let at = 8; at + 12 <= file.length; ) {
    const end = at + 12 + view.getUint32(at);
    if (end > file.length) return;
    view.setUint32(end - 4, crc32(file, at + 4, end - 4));
    at = end;
  }
}
