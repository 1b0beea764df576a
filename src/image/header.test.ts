/** @file Format and size from the first bytes. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ImageFault, readHeader } from "./header.js";

const bytes = (...parts: (string | number[])[]) =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? Array.from(part, latin1) : part)));
const latin1 = (letter: string) => letter.charCodeAt(0);
const box = (type: string, ...body: (string | number[])[]) => {
  const inner = [...bytes(...body)];
  return [0, 0, (inner.length + 8) >> 8, (inner.length + 8) & 255, ...Array.from(type, latin1), ...inner];
};
const ispe = (width: number, height: number) =>
  box("ispe", [0, 0, 0, 0, 0, 0, width >> 8, width & 255, 0, 0, height >> 8, height & 255]);
const meta = (...properties: number[][]) =>
  box("meta", [0, 0, 0, 0], box("iprp", box("ipco", ...properties)));

const png = bytes("\x89PNG\r\n\x1a\n", [0, 0, 0, 13], "IHDR", [0, 0, 1, 4, 0, 0, 2, 8], [8, 2, 0, 0, 0]);
const jpeg = bytes(
  [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc4, 0, 3, 9],
  [0xff, 0xc2, 0, 11, 8, 2, 8, 1, 4, 1],
);
const gif = bytes("GIF87a", [4, 1, 8, 2], [0, 0, 0]);
const lossy = bytes("RIFF\0\0\0\0WEBPVP8 \0\0\0\0", [0, 0, 0, 0x9d, 1, 0x2a, 4, 0x41, 8, 2]);
const lossless = bytes("RIFF\0\0\0\0WEBPVP8L\0\0\0\0", [0x2f, 3, 0xc1, 0x81, 0, 0, 0, 0, 0, 0]);
const extended = bytes("RIFF\0\0\0\0WEBPVP8X\0\0\0\0", [0, 0, 0, 0, 3, 1, 0, 7, 2, 0]);
const avif = bytes(
  box("ftyp", "avif\0\0\0\0mif1"),
  [0, 0, 0, 1],
  "free",
  [0, 0, 0, 0, 0, 0, 0, 16],
  meta(ispe(9, 9), box("pixi", [1]), ispe(260, 520), box("ispe", [0])),
);
const tag = (code: number, value: number) => [
  code & 255,
  code >> 8,
  4,
  0,
  1,
  0,
  0,
  0,
  value & 255,
  value >> 8,
  0,
  0,
];
const tiff = bytes("II*\0", [8, 0, 0, 0, 2, 0], tag(256, 260), tag(257, 520), [0, 0, 0, 0]);
const bigEndian = bytes("MM\0*", [0, 0, 0, 8, 0, 2], [1, 0, 0, 3, 0, 0, 0, 1, 1, 4, 0, 0]).slice();
const bigTag = (code: number, value: number) => [
  ...[code & 255, code >> 8, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0],
  ...[value & 255, value >> 8, 0, 0, 0, 0, 0, 0],
];
const bigTiff = bytes(
  "II+\0",
  [8, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
  bigTag(256, 260),
  bigTag(257, 520),
);

const files = { PNG: png, JPEG: jpeg, GIF: gif, WebP: lossy, AVIF: avif, TIFF: tiff };

describe("the header", () => {
  it.each([
    ...Object.entries(files),
    ["WebP", lossless],
    ["WebP", extended],
    ["TIFF", bytes([...bigEndian], [1, 1, 0, 3, 0, 0, 0, 1, 2, 8, 0, 0])],
    ["TIFF", bigTiff],
    ["AVIF", bytes(box("ftyp", "avis\0\0\0\0avif"), meta(ispe(260, 520)))],
  ])("tells format and size of a %s", (format, file) => {
    expect(readHeader(file)).toEqual({ format, width: 260, height: 520 });
  });

  it.each([
    ["nothing", bytes(), "IMAGE_BROKEN", /empty \(0 bytes\)/],
    ["text", bytes("hello"), "IMAGE_UNSUPPORTED", /not an image .* 68 65 6c 6c.*readable are JPEG, PNG/],
    ["a BMP", bytes("BM123456"), "IMAGE_UNSUPPORTED", /is a BMP file/],
    ["a photo of a phone", bytes(box("ftyp", "heic\0\0\0\0mif1")), "IMAGE_UNSUPPORTED", /HEIC.*"heic"/],
    ["a PNG's first bytes", png.subarray(0, 20), "IMAGE_BROKEN", /PNG header is damaged or cut off/],
    ["a JPEG without a frame", jpeg.subarray(0, 14), "IMAGE_BROKEN", /JPEG header is damaged or cut off/],
    ["a TIFF without tags", tiff.subarray(0, 20), "IMAGE_BROKEN", /TIFF header is damaged or cut off/],
    ["a GIF of no width", gif.with(6, 0).with(7, 0), "IMAGE_BROKEN", /GIF header says 0 x 520/],
  ])("of %s is refused", (_, file, code, message) => {
    expect(() => readHeader(file)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  it("never ends in anything but a size or a fault (20,000 mutations)", () => {
    const seeds = [...Object.values(files), lossless, extended, bigTiff];
    const edit = fc.record({
      seed: fc.nat(seeds.length - 1),
      bytes: fc.array(fc.tuple(fc.nat(120), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 255))), {
        maxLength: 5,
      }),
      cut: fc.option(fc.nat(120), { freq: 3 }),
    });
    let sizes = 0;
    fc.assert(
      fc.property(edit, ({ seed, bytes: changes, cut }) => {
        const file = seeds[seed]!.slice(0, cut ?? undefined);
        for (const [at, value] of changes) if (at < file.length) file[at] = value;
        try {
          const { width, height } = readHeader(file);
          sizes++;
          expect(width * height).toBeGreaterThanOrEqual(1);
        } catch (error) {
          if (!(error instanceof ImageFault)) throw error;
        }
      }),
      { numRuns: 20_000 },
    );
    expect(sizes).toBeGreaterThan(2000);
  });
});
