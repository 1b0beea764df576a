/** @file The other direction of src/diorama/wavelet.ts. */

import { levelsOf, quadrants, stepOf } from "../../src/diorama/wavelet.js";

function split(plane: Int32Array, start: number, stride: number, count: number): void {
  const half = count >> 1;
  const line = Array.from({ length: count }, (_, i) => plane[start + i * stride]!);
  const details = Array.from({ length: half }, (_, i) => {
    const left = line[2 * i]!;
    const right = i + 1 < half ? line[2 * i + 2]! : left;
    return line[2 * i + 1]! - ((left + right) >> 1);
  });
  for (let i = 0; i < half; i++) {
    const previous = details[Math.max(0, i - 1)]!;
    plane[start + i * stride] = line[2 * i]! + ((previous + details[i]! + 2) >> 2);
    plane[start + (half + i) * stride] = details[i]!;
  }
}

function write(to: number[], value: number): void {
  const code = value < 0 ? -2 * value - 1 : 2 * value;
  if (code < 255) to.push(code);
  else to.push(255, code & 255, code >> 8);
}

function encodePlane(
  source: ArrayLike<number>,
  width: number,
  height: number,
  step: number,
  to: number[],
): void {
  const plane = Int32Array.from(source);
  const levels = levelsOf(width, height);
  for (let level = 0; level < levels; level++) {
    const [w, h] = [width >> level, height >> level];
    for (let y = 0; y < h; y++) split(plane, y * width, 1, w);
    for (let x = 0; x < w; x++) split(plane, x, width, h);
  }
  let before = 0;
  for (let y = 0; y < height >> levels; y++) {
    for (let x = 0; x < width >> levels; x++) {
      write(to, plane[y * width + x]! - before);
      before = plane[y * width + x]!;
    }
  }
  for (let level = levels - 1; level >= 0; level--) {
    const [w, h] = [width >> (level + 1), height >> (level + 1)];
    const size = stepOf(step, level);
    for (const [right, below] of quadrants) {
      for (let y = below * h; y < (below + 1) * h; y++) {
        for (let x = right * w; x < (right + 1) * w; x++) {
          const value = plane[y * width + x]!;
          write(to, Math.sign(value) * Math.floor(Math.abs(value) / size));
        }
      }
    }
  }
}

/** Packs RGBA pixels; see decodePicture. */
export function encodePicture(
  data: Uint8Array,
  width: number,
  height: number,
  alpha: boolean,
  steps: readonly [number, number],
): Uint8Array {
  const planes = [0, 1, 2, 3].map(() => new Int32Array(width * height));
  for (let i = 0; i < width * height; i++) {
    const [r, g, b, a] = [data[i * 4]!, data[i * 4 + 1]!, data[i * 4 + 2]!, data[i * 4 + 3]!];
    const orange = r - b;
    const middle = b + (orange >> 1);
    const green = g - middle;
    planes[0]![i] = middle + (green >> 1);
    planes[1]![i] = orange;
    planes[2]![i] = green;
    planes[3]![i] = a;
  }
  const bytes: number[] = [];
  encodePlane(planes[0]!, width, height, steps[0], bytes);
  encodePlane(planes[1]!, width, height, steps[1], bytes);
  encodePlane(planes[2]!, width, height, steps[1], bytes);
  if (alpha) encodePlane(planes[3]!, width, height, steps[0], bytes);
  return Uint8Array.from(bytes);
}
