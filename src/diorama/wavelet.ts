/**
 * @file Pictures in the pack: planes of whole numbers in the reversible 5/3 wavelet of JPEG 2000 (ISO 15444-1,
 * annex F), in integers throughout, so that every host decodes the same pixels. Sides are powers of two.
 */

import { failure } from "../tensor/index.js";

/** Halvings of a plane: the coarsest part is 8 pixels wide or high, or after five. */
export function levelsOf(width: number, height: number): number {
  let levels = 0;
  while (levels < 5 && Math.min(width, height) >> (levels + 1) >= 8) levels++;
  return levels;
}

/** Step by which the details of a level (0: the finest) were divided; `step` is the finest level's. */
export function stepOf(step: number, level: number): number {
  return Math.max(1, step >> level);
}

/** The four parts of a level in their order: the coarse one last, which is itself split further. */
export const quadrants = [
  [1, 0],
  [0, 1],
  [1, 1],
] as const;

/** Reads small signed numbers: one byte each below 255, else 255 and two bytes. */
export class Coefficients {
  #at = 0;
  constructor(readonly bytes: Uint8Array) {}
  next(): number {
    const first = this.bytes[this.#at++];
    if (first === undefined) throw failure("PACK_BROKEN", "The diorama's pack ends within a picture.");
    let code = first;
    if (first === 255) {
      code = this.bytes[this.#at]! + 256 * this.bytes[this.#at + 1]!;
      this.#at += 2;
    }
    return code & 1 ? -((code + 1) >> 1) : code >> 1;
  }
}

/** One plane, [height, width]; `step` as it was packed, 1 for none. */
export function decodePlane(from: Coefficients, width: number, height: number, step: number): Int16Array {
  const plane = new Int16Array(width * height);
  const levels = levelsOf(width, height);
  const coarseWidth = width >> levels;
  const coarseHeight = height >> levels;
  let before = 0;
  for (let y = 0; y < coarseHeight; y++) {
    for (let x = 0; x < coarseWidth; x++) {
      before += from.next();
      plane[y * width + x] = before;
    }
  }
  const line = new Int16Array(Math.max(width, height));
  for (let level = levels - 1; level >= 0; level--) {
    const w = width >> level;
    const h = height >> level;
    const size = stepOf(step, level);
    const middle = (size * 2 - size) >> 2;
    for (const [right, below] of quadrants) {
      const x0 = right * (w >> 1);
      const y0 = below * (h >> 1);
      for (let y = y0; y < y0 + (h >> 1); y++) {
        for (let x = x0; x < x0 + (w >> 1); x++) {
          const code = from.next();
          plane[y * width + x] = code > 0 ? code * size + middle : code < 0 ? code * size - middle : 0;
        }
      }
    }
    for (let x = 0; x < w; x++) merge(plane, x, width, h, line);
    for (let y = 0; y < h; y++) merge(plane, y * width, 1, w, line);
  }
  return plane;
}

/** Undoes one lifting step along a line of `count` numbers, coarse half first. */
function merge(plane: Int16Array, start: number, stride: number, count: number, line: Int16Array): void {
  const half = count >> 1;
  for (let i = 0; i < half; i++) {
    const detail = plane[start + (half + i) * stride]!;
    const previous = i > 0 ? plane[start + (half + i - 1) * stride]! : detail;
    line[2 * i] = plane[start + i * stride]! - ((previous + detail + 2) >> 2);
  }
  for (let i = 0; i < half; i++) {
    const left = line[2 * i]!;
    const right = i + 1 < half ? line[2 * i + 2]! : left;
    line[2 * i + 1] = plane[start + (half + i) * stride]! + ((left + right) >> 1);
  }
  for (let i = 0; i < count; i++) plane[start + i * stride] = line[i]!;
}

/** RGBA, sRGB; pictures without alpha are opaque. */
export interface PackedPicture {
  width: number;
  height: number;
  alpha: boolean;
  /** Steps of brightness and of colour. */
  steps: readonly [brightness: number, colour: number];
}

/** Decodes a picture's planes (YCoCg-R) to [height, width, 4]. */
export function decodePicture(bytes: Uint8Array, { width, height, alpha, steps }: PackedPicture): Uint8Array {
  const from = new Coefficients(bytes);
  const brightness = decodePlane(from, width, height, steps[0]);
  const orange = decodePlane(from, width, height, steps[1]);
  const green = decodePlane(from, width, height, steps[1]);
  const cover = alpha ? decodePlane(from, width, height, steps[0]) : undefined;
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < brightness.length; i++) {
    const middle = brightness[i]! - (green[i]! >> 1);
    const blue = middle - (orange[i]! >> 1);
    pixels[i * 4] = blue + orange[i]!;
    pixels[i * 4 + 1] = green[i]! + middle;
    pixels[i * 4 + 2] = blue;
    pixels[i * 4 + 3] = cover ? cover[i]! : 255;
  }
  return new Uint8Array(pixels.buffer);
}
