/** @file Resizing as Pillow does it, bit for bit (libImaging/Resample.c, 8 bits a channel). */

import { allocate } from "../tensor/index.js";
import { blankImage, checkSides, type RgbImage } from "./image.js";

export type ResizeFilter = "bilinear" | "bicubic" | "lanczos";

export const resizeFilters: readonly ResizeFilter[] = ["bilinear", "bicubic", "lanczos"];

/** A filter's reach in pixels (of the coarser grid), and its weight at a distance. */
interface Kernel {
  support: number;
  weight(distance: number): number;
}

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

const kernels: Record<ResizeFilter, Kernel> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight: (distance) => {
      const a = -0.5;
      const x = Math.abs(distance);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Bits behind the point of a weight: 8 bits are the pixel's, 2 keep sums from overflowing. */
const precision = 32 - 8 - 2;
const half = 1 << (precision - 1);

/** For each output position of one axis: where its inputs start, how many there are, and their weights. */
interface Axis {
  starts: Int32Array;
  counts: Int32Array;
  weights: Int32Array;
  /** Room for weights of each output. */
  stride: number;
}

/**
 * Resizes the whole image to exactly width x height, like `Image.resize` of Pillow 13: one pass along the rows and one
 * along the columns, each rounded to 8 bits; when shrinking, the filter widens to cover every input pixel.
 * @returns the same image when it has the size already
 * @throws misuse SHAPE when a side is no positive whole number
 */
export function resize(image: RgbImage, width: number, height: number, filter: ResizeFilter): RgbImage {
  checkSides(width, height);
  const kernel = kernels[filter];
  const rows = (from: RgbImage) => (from.width === width ? from : resizeRows(from, width, kernel));
  const columns = (from: RgbImage) => (from.height === height ? from : resizeColumns(from, height, kernel));
  // Rows first, as ever; but since Pillow 13 columns first when the height shrinks by far more (Pillow #9549).
  const isTall = image.height - height > Math.max(0, 2 * (image.width - width));
  return isTall ? rows(columns(image)) : columns(rows(image));
}

function axis(from: number, to: number, { support, weight }: Kernel): Axis {
  const scale = from / to;
  const filterScale = Math.max(scale, 1);
  const reach = support * filterScale;
  const stride = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = allocate("i32", to * stride) as Int32Array;
  const exact = new Float64Array(stride);
  const inverse = 1 / filterScale;
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const count = Math.min(from, Math.trunc(centre + reach + 0.5)) - start;
    let sum = 0;
    for (let k = 0; k < count; k++) sum += exact[k] = weight((k + start - centre + 0.5) * inverse);
    for (let k = 0; k < count; k++) {
      const share = (sum === 0 ? exact[k]! : exact[k]! / sum) * 2 ** precision;
      weights[i * stride + k] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
    starts[i] = start;
    counts[i] = count;
  }
  return { starts, counts, weights, stride };
}

function resizeRows({ width: from, height, data }: RgbImage, width: number, kernel: Kernel): RgbImage {
  const { starts, counts, weights, stride } = axis(from, width, kernel);
  const image = blankImage(width, height);
  const bytes = clamped(image);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      let red = half;
      let green = half;
      let blue = half;
      const end = x * stride + counts[x]!;
      for (let k = x * stride, at = (y * from + starts[x]!) * 3; k < end; k++, at += 3) {
        const weight = weights[k]!;
        red = (red + Math.imul(data[at]!, weight)) | 0;
        green = (green + Math.imul(data[at + 1]!, weight)) | 0;
        blue = (blue + Math.imul(data[at + 2]!, weight)) | 0;
      }
      bytes[to] = red >> precision;
      bytes[to + 1] = green >> precision;
      bytes[to + 2] = blue >> precision;
    }
  }
  return image;
}

function resizeColumns({ width, data, height: from }: RgbImage, height: number, kernel: Kernel): RgbImage {
  const { starts, counts, weights, stride } = axis(from, height, kernel);
  const image = blankImage(width, height);
  const bytes = clamped(image);
  const rowBytes = width * 3;
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < height; y++) {
    sums.fill(half);
    for (let k = 0, at = starts[y]! * rowBytes; k < counts[y]!; k++, at += rowBytes) {
      const weight = weights[y * stride + k]!;
      for (let i = 0; i < rowBytes; i++) sums[i] = (sums[i]! + Math.imul(data[at + i]!, weight)) | 0;
    }
    for (let i = 0, to = y * rowBytes; i < rowBytes; i++, to++) bytes[to] = sums[i]! >> precision;
  }
  return image;
}

/** The image's bytes as an array that clips what is written to 0 .. 255. */
function clamped({ data }: RgbImage): Uint8ClampedArray {
  return new Uint8ClampedArray(data.buffer, data.byteOffset, data.byteLength);
}
