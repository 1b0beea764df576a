/** @file Decoding the first picture of a GIF (GIF89a) to RGB as PIL does, the same bits on every host. */

import { allocate } from "../tensor/index.js";
import { broken } from "./header.js";
import { blankImage, type RgbImage } from "./image.js";
import { greys, paletteColours } from "./png.js";

/** The pixels of a picture inside the screen. */
interface Frame {
  x: number;
  y: number;
  width: number;
  height: number;
  interlaced: boolean;
  palette: Uint8Array;
  /** The picture's LZW stream starts here. */
  at: number;
}

/** Rows of an interlaced picture come in four passes: [first row, step]. */
const interlacedRows = [
  [0, 8],
  [4, 8],
  [2, 4],
  [1, 2],
] as const;

/** LZW's best ratio, pixels a byte: a code of 12 bits for 4096 of them. */
const bestRatio = 2731;

/**
 * Decodes the first picture. Transparent pixels get their entry's colour, as PIL's convert("RGB") gives them; what
 * the picture leaves of the screen gets the transparent entry's colour, or entry 0's.
 * @param fits told the size before it is allocated: the picture may stick out of the header's screen
 * @throws ImageFault IMAGE_BROKEN
 */
export function decodeGif(bytes: Uint8Array, fits: (width: number, height: number) => void): RgbImage {
  const { frame, transparent, screen } = readBlocks(bytes);
  const width = Math.max(screen[0], frame.x + frame.width);
  const height = Math.max(screen[1], frame.y + frame.height);
  fits(width, height);

  const indices = inflateLzw(bytes, frame.at, frame.width * frame.height);
  const colours = frame.palette.length === 0 ? greys(8) : paletteColours(frame.palette);
  const background = 3 * (transparent ?? 0);
  const image = blankImage(width, height, [
    colours[background]!,
    colours[background + 1]!,
    colours[background + 2]!,
  ]);
  const passes = frame.interlaced ? interlacedRows : ([[0, 1]] as const);
  let from = 0;
  for (const [first, step] of passes) {
    for (let row = first; row < frame.height; row += step) {
      let to = ((frame.y + row) * width + frame.x) * 3;
      for (let x = 0; x < frame.width; x++, to += 3) {
        const entry = indices[from++]! * 3;
        image.data[to] = colours[entry]!;
        image.data[to + 1] = colours[entry + 1]!;
        image.data[to + 2] = colours[entry + 2]!;
      }
    }
  }
  return image;
}

function readBlocks(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const need = (end: number): void => {
    if (end > bytes.length) throw broken("it is cut off.");
  };
  const paletteBytes = (flags: number) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  need(13);
  const screen = [view.getUint16(6, true), view.getUint16(8, true)] as const;
  let at = 13 + paletteBytes(bytes[10]!);
  need(at);
  const globalPalette = bytes.subarray(13, at);
  let transparent: number | undefined;

  for (;;) {
    need(at + 1);
    const kind = bytes[at++];
    if (kind === 0x21) {
      // An extension: its label, then sub-blocks, each after its length, up to an empty one.
      need(at + 2);
      if (bytes[at] === 0xf9 && bytes[at + 1]! >= 4) {
        need(at + 6);
        if (bytes[at + 2]! & 1) transparent = bytes[at + 5]!;
      }
      at++;
      while (bytes[at] !== 0) {
        need(at + 1);
        at += 1 + bytes[at]!;
      }
      at++;
    } else if (kind === 0x2c) {
      need(at + 9);
      const [x, y, width, height] = [0, 2, 4, 6].map((offset) => view.getUint16(at + offset, true)) as Four;
      const flags = bytes[at + 8]!;
      const start = at + 9 + paletteBytes(flags);
      need(start);
      const palette = flags & 0x80 ? bytes.subarray(at + 9, start) : globalPalette;
      if (width < 1 || height < 1) throw broken(`its first picture has ${width} x ${height} pixels.`);
      const frame: Frame = { x, y, width, height, interlaced: (flags & 0x40) !== 0, palette, at: start };
      return { frame, transparent, screen };
    } else if (kind === 0x3b) {
      throw broken("it holds no picture.");
    }
  }
}

type Four = [number, number, number, number];

/** Unpacks GIF's LZW: variable-length codes, least significant bit first, in sub-blocks (GIF89a appendix F). */
function inflateLzw(bytes: Uint8Array, at: number, count: number): Uint8Array {
  const rootBits = bytes[at]!;
  if (!(rootBits >= 1 && rootBits <= 8)) throw broken(`its picture has codes of ${rootBits ?? "no"} bits.`);
  const clear = 1 << rootBits;
  const prefixes = new Uint16Array(4096);
  const suffixes = new Uint8Array(4096);
  const lengths = new Uint16Array(4096);
  for (let code = 0; code < clear; code++) {
    suffixes[code] = code;
    lengths[code] = 1;
  }
  let next = clear + 2;
  let width = rootBits + 1;
  let previous = -1;
  let first = 0;
  if ((bytes.length - at) * bestRatio < count)
    throw broken(`its pixels are cut off (${count} do not fit in).`);
  const indices = allocate("u8", count) as Uint8Array;
  let filled = 0;

  let word = 0;
  let bits = 0;
  let blockEnd = ++at;
  while (filled < count) {
    while (bits < width) {
      if (at === blockEnd) {
        blockEnd += 1 + (bytes[at] ?? 0);
        at++;
        if (at >= blockEnd || blockEnd > bytes.length) throw broken("its pixels are cut off.");
      }
      word |= bytes[at++]! << bits;
      bits += 8;
    }
    const code = word & ((1 << width) - 1);
    word >>>= width;
    bits -= width;

    if (code === clear) {
      next = clear + 2;
      width = rootBits + 1;
      previous = -1;
      continue;
    }
    if (code === clear + 1) throw broken("its pixels end too early.");
    if (code > next || (code === next && previous < 0))
      throw broken(`its pixels use the unknown code ${code}.`);
    // What sticks out of the picture falls off the typed array's end.
    // A code that is about to be defined stands for the previous string and that string's own first symbol.
    const known = code === next ? previous : code;
    const length = lengths[known]! + (code === next ? 1 : 0);
    if (code === next) indices[filled + length - 1] = first;
    for (
      let symbol = known, to = filled + lengths[known]! - 1;
      to >= filled;
      to--, symbol = prefixes[symbol]!
    ) {
      indices[to] = suffixes[symbol]!;
    }
    first = indices[filled]!;
    filled += length;
    if (previous >= 0 && next < 4096) {
      prefixes[next] = previous;
      suffixes[next] = first;
      lengths[next] = lengths[previous]! + 1;
      next++;
      if (next === 1 << width && width < 12) width++;
    }
    previous = code;
  }
  return indices;
}
