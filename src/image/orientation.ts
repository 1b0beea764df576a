/** @file EXIF orientation: where the camera held its top row. */

import { blankImage, type RgbImage } from "./image.js";
import { readTiffTags } from "./tiff.js";

const orientationTag = 274;

/** The orientation, 1 to 8, in an EXIF block (a small TIFF file, some with JPEG's mark before it); 1 is upright. */
export function exifOrientation(exif: Uint8Array): number {
  const isMarked = [0x45, 0x78, 0x69, 0x66, 0, 0].every((byte, i) => exif[i] === byte);
  const value = readTiffTags(isMarked ? exif.subarray(6) : exif)?.get(orientationTag) ?? 1;
  return value >= 1 && value <= 8 ? value : 1;
}

/** For each orientation, the direction in which a stored row and a stored column are read: [along, down]. */
const directions: Record<number, readonly [1 | -1, 1 | -1]> = {
  2: [-1, 1],
  3: [-1, -1],
  4: [1, -1],
  5: [1, 1],
  6: [1, -1],
  7: [-1, -1],
  8: [-1, 1],
};

/** The image as it should be seen, as PIL's ImageOps.exif_transpose turns it. */
export function orient(image: RgbImage, orientation: number): RgbImage {
  const direction = directions[orientation];
  if (!direction) return image;
  const { width, height, data } = image;
  const [along, down] = direction;
  const column = along > 0 ? 0 : width - 1;
  const row = down > 0 ? 0 : height - 1;
  // Orientations 5 to 8 lie on their side: what was a column becomes a row.
  const swapped = orientation >= 5;
  const turned = swapped ? blankImage(height, width) : blankImage(width, height);
  const stepX = swapped ? down * width * 3 : along * 3;
  const stepY = swapped ? along * 3 : down * width * 3;
  const start = (row * width + column) * 3;
  for (let y = 0, to = 0; y < turned.height; y++) {
    for (let x = 0, from = start + y * stepY; x < turned.width; x++, from += stepX, to += 3) {
      turned.data[to] = data[from]!;
      turned.data[to + 1] = data[from + 1]!;
      turned.data[to + 2] = data[from + 2]!;
    }
  }
  return turned;
}
