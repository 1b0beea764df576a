/** @file Decoding PNG (W3C PNG, third edition) to RGB as PIL does, the same bits on every host. */

import { Inflate } from "fflate";
import { crc32 } from "./crc32.js";
import { broken, ImageFault } from "./header.js";
import { blankImage, type RgbImage } from "./image.js";
import { exifOrientation, orient } from "./orientation.js";

export const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Samples a pixel and allowed bits a sample of each colour type. */
const colourTypes: Record<number, { samples: number; depths: readonly number[] }> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};

/** A grid of pixels that is stored as a picture of its own: the whole image, or one of Adam7's seven passes. */
interface Pass {
  x: number;
  y: number;
  stepX: number;
  stepY: number;
}

const whole: readonly Pass[] = [{ x: 0, y: 0, stepX: 1, stepY: 1 }];
const adam7: readonly Pass[] = [
  { x: 0, y: 0, stepX: 8, stepY: 8 },
  { x: 4, y: 0, stepX: 8, stepY: 8 },
  { x: 0, y: 4, stepX: 4, stepY: 8 },
  { x: 2, y: 0, stepX: 4, stepY: 4 },
  { x: 0, y: 2, stepX: 2, stepY: 4 },
  { x: 1, y: 0, stepX: 2, stepY: 2 },
  { x: 0, y: 1, stepX: 1, stepY: 2 },
];

/** Deflate's best ratio: fewer compressed bytes than this cannot hold the pixels. */
const bestRatio = 1032;

/** Compressed bytes handed over at once, so that a bomb is noticed after at most 64 MiB. */
const slice = 1 << 16;

/**
 * Decodes a PNG to RGB as PIL's convert("RGB"): alpha and transparent colours are dropped, 16-bit colour keeps its
 * high byte, 16-bit grey is clipped at 255. The size has been checked by the caller (readHeader).
 * @throws ImageFault IMAGE_BROKEN
 */
export function decodePng(bytes: Uint8Array): RgbImage {
  const { header, palette, compressed, orientation } = readChunks(bytes);
  const { width, height, depth, colour, interlaced } = header;
  const bits = depth * colourTypes[colour]!.samples;

  const rowBytes = (pass: Pass) => Math.ceil((Math.ceil((width - pass.x) / pass.stepX) * bits) / 8);
  const rows = (pass: Pass) => Math.ceil((height - pass.y) / pass.stepY);
  const passes = (interlaced ? adam7 : whole).filter((pass) => pass.x < width && pass.y < height);
  const total = passes.reduce((sum, pass) => sum + rows(pass) * (1 + rowBytes(pass)), 0);
  const stored = compressed.reduce((sum, part) => sum + part.length, 0);
  if (stored * bestRatio < total)
    throw broken(`its pixels are cut off (${stored} bytes for ${width} x ${height}).`);

  const image = blankImage(width, height);
  const write = rowWriter(header, palette);
  const pixelBytes = Math.max(1, bits >> 3);
  let current = 0;
  let y = passes[0]!.y;
  let row = new Uint8Array(1 + rowBytes(passes[0]!));
  let previous = new Uint8Array(row.length);
  let filled = 0;

  const takeRow = (): void => {
    const pass = passes[current]!;
    unfilter(row, previous, pixelBytes);
    write(
      row,
      Math.ceil((width - pass.x) / pass.stepX),
      image.data,
      (y * width + pass.x) * 3,
      pass.stepX * 3,
    );
    [row, previous] = [previous, row];
    filled = 0;
    y += pass.stepY;
    const next = y < height ? undefined : passes[++current];
    if (!next) return;
    y = next.y;
    row = new Uint8Array(1 + rowBytes(next));
    previous = new Uint8Array(row.length);
  };

  inflate(compressed, (chunk) => {
    for (let at = 0; at < chunk.length && current < passes.length; ) {
      const part = chunk.subarray(at, at + row.length - filled);
      row.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled === row.length) takeRow();
    }
    return current < passes.length;
  });
  if (current < passes.length) throw broken("its pixels are cut off.");
  return orient(image, orientation);
}

interface PngHeader {
  width: number;
  height: number;
  depth: number;
  colour: number;
  interlaced: boolean;
}

function readChunks(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const compressed: Uint8Array[] = [];
  let header: PngHeader | undefined;
  let palette: Uint8Array | undefined;
  let orientation = 1;
  for (let at = pngSignature.length; at < bytes.length; ) {
    const length = at + 12 <= bytes.length ? view.getUint32(at) : Number.POSITIVE_INFINITY;
    const end = at + 12 + length;
    if (end > bytes.length) throw broken("it is cut off.");
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, end - 4);
    const critical = (bytes[at + 4]! & 0x20) === 0;
    if (critical && crc32(bytes, at + 4, end - 4) !== view.getUint32(end - 4)) {
      throw broken(`its ${type.replace(/[^ -~]/g, "?")} chunk at byte ${at} is damaged (wrong checksum).`);
    }
    if (type === "IHDR") header = readImageHeader(body);
    else if (type === "PLTE") palette = body;
    else if (type === "IDAT") compressed.push(body);
    else if (type === "eXIf") orientation = exifOrientation(body);
    else if (type === "IEND") break;
    at = end;
  }
  if (!header) throw broken("it has no header.");
  if (header.colour === 3 && !palette) throw broken("it has no palette.");
  return { header, palette: palette ?? new Uint8Array(), compressed, orientation };
}

function readImageHeader(body: Uint8Array): PngHeader {
  if (body.length !== 13) throw broken("its header has a wrong length.");
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const [depth, colour, compression, filter, interlace] = [8, 9, 10, 11, 12].map(
    (at) => body[at]!,
  ) as number[];
  if (!colourTypes[colour!]?.depths.includes(depth!) || compression !== 0 || filter !== 0 || interlace! > 1) {
    throw broken(`its header names an unknown kind of pixels (colour type ${colour}, ${depth} bits).`);
  }
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  return { width, height, depth: depth!, colour: colour!, interlaced: interlace === 1 };
}

/** Feeds the inflated bytes (zlib, RFC 1950) to `take` until it wants no more. */
function inflate(compressed: readonly Uint8Array[], take: (chunk: Uint8Array) => boolean): void {
  let wanted = true;
  const stream = new Inflate((chunk) => {
    wanted = take(chunk);
  });
  const [method = 0, flags = 0] = compressed.flatMap((part) => [...part.subarray(0, 2)]);
  if ((method & 15) !== 8 || (method * 256 + flags) % 31 !== 0 || flags & 32) {
    throw broken("its compressed pixels do not begin as zlib does.");
  }
  let skip = 2;
  try {
    for (const part of compressed) {
      for (let at = Math.min(skip, part.length); at < part.length && wanted; at += slice) {
        stream.push(part.subarray(at, at + slice));
      }
      skip -= Math.min(skip, part.length);
    }
  } catch (cause) {
    throw cause instanceof ImageFault
      ? cause
      : broken(`its compressed pixels are damaged (${(cause as Error).message}).`);
  }
}

/** Undoes a row's filter in place; its first byte names the filter (PNG section 9). */
function unfilter(row: Uint8Array, above: Uint8Array, pixelBytes: number): void {
  const first = 1 + pixelBytes;
  switch (row[0]) {
    case 0:
      return;
    case 1:
      for (let i = first; i < row.length; i++) row[i] = row[i]! + row[i - pixelBytes]!;
      return;
    case 2:
      for (let i = 1; i < row.length; i++) row[i] = row[i]! + above[i]!;
      return;
    case 3:
      for (let i = 1; i < first; i++) row[i] = row[i]! + (above[i]! >> 1);
      for (let i = first; i < row.length; i++) row[i] = row[i]! + ((row[i - pixelBytes]! + above[i]!) >> 1);
      return;
    case 4:
      for (let i = 1; i < first; i++) row[i] = row[i]! + above[i]!;
      for (let i = first; i < row.length; i++) {
        row[i] = row[i]! + paeth(row[i - pixelBytes]!, above[i]!, above[i - pixelBytes]!);
      }
      return;
    default:
      throw broken(`a row names the unknown filter ${row[0]}.`);
  }
}

export function paeth(left: number, up: number, corner: number): number {
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** Writes `count` pixels of an unfiltered row (after its filter byte) as RGB to `to`, from `at` on, `step` apart. */
type RowWriter = (row: Uint8Array, count: number, to: Uint8Array, at: number, step: number) => void;

function rowWriter({ depth, colour }: PngHeader, palette: Uint8Array): RowWriter {
  const wide = depth === 16 ? 2 : 1;
  if (colour === 2 || colour === 6) {
    const pixel = wide * (colour === 2 ? 3 : 4);
    return (row, count, to, at, step) => {
      for (let i = 0, from = 1; i < count; i++, from += pixel, at += step) {
        to[at] = row[from]!;
        to[at + 1] = row[from + wide]!;
        to[at + 2] = row[from + 2 * wide]!;
      }
    };
  }
  const colours = colour === 3 ? paletteColours(palette) : greys(depth);
  if (colour === 0 && depth === 16) {
    return (row, count, to, at, step) => {
      for (let i = 0; i < count; i++, at += step) {
        to.fill(row[1 + 2 * i] ? 255 : row[2 + 2 * i]!, at, at + 3);
      }
    };
  }
  if (depth < 8) {
    const mask = (1 << depth) - 1;
    return (row, count, to, at, step) => {
      for (let i = 0, bit = 8; i < count; i++, bit += depth, at += step) {
        const entry = 3 * ((row[bit >> 3]! >> (8 - depth - (bit & 7))) & mask);
        to[at] = colours[entry]!;
        to[at + 1] = colours[entry + 1]!;
        to[at + 2] = colours[entry + 2]!;
      }
    };
  }
  const pixel = colour === 4 ? 2 * wide : 1;
  return (row, count, to, at, step) => {
    for (let i = 0, from = 1; i < count; i++, from += pixel, at += step) {
      const entry = 3 * row[from]!;
      to[at] = colours[entry]!;
      to[at + 1] = colours[entry + 1]!;
      to[at + 2] = colours[entry + 2]!;
    }
  };
}

/** RGB of every sample of grey: spread over 0 to 255. */
export function greys(depth: number): Uint8Array {
  const levels = depth >= 8 ? 256 : 1 << depth;
  return Uint8Array.from({ length: levels * 3 }, (_, i) => (Math.floor(i / 3) * 255) / (levels - 1));
}

/** RGB of all 256 indices; those that the palette leaves out are black, as in PIL. */
export function paletteColours(palette: Uint8Array): Uint8Array {
  const colours = new Uint8Array(256 * 3);
  colours.set(palette.subarray(0, Math.min(colours.length, palette.length - (palette.length % 3))));
  return colours;
}
