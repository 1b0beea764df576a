/** @file Bringing an image to a network's size: squashed, cropped, padded, or left as it is. */

import { misuse } from "../tensor/index.js";
import { blankImage, type Colour, checkSides, type RgbImage } from "./image.js";
import { type ResizeFilter, resize } from "./resize.js";

/** `squash`: to the size, distorted; `crop`: short side, then centre; `pad`: with borders in CLIP's mean colour. */
export type Fit = "squash" | "crop" | "pad";

export const fits: readonly Fit[] = ["squash", "crop", "pad"];

/** CLIP's mean colour as LLaVA's expand2square rounds it: int(255 x mean). */
export const clipMeanColour: Colour = [122, 116, 104];

export interface Size {
  width: number;
  height: number;
}

export interface FitOptions extends Size {
  fit: Fit;
  filter: ResizeFilter;
}

/** Brings an image to exactly width x height. For a square `pad` is LLaVA's expand2square, then a resize. */
export function fitImage(image: RgbImage, { width, height, fit, filter }: FitOptions): RgbImage {
  checkSides(width, height);
  switch (fit) {
    case "squash":
      return resize(image, width, height, filter);
    case "crop": {
      const covering = coveringSize(image, { width, height });
      return cropCentre(resize(image, covering.width, covering.height, filter), width, height);
    }
    case "pad": {
      const shape = enclosingSize(image, { width, height });
      return resize(padTo(image, shape.width, shape.height, clipMeanColour), width, height, filter);
    }
    default:
      throw misuse("FIT", `Unknown fit "${fit}": ${fits.join(", ")} are known.`);
  }
}

/** The size after a resize that keeps the shape and covers the target: one side is equal, the other cut down (int). */
export function coveringSize(image: Size, target: Size): Size {
  return image.width * target.height <= target.width * image.height
    ? { width: target.width, height: Math.trunc((target.width * image.height) / image.width) }
    : { width: Math.trunc((target.height * image.width) / image.height), height: target.height };
}

/** The smallest size of the target's shape that holds the image: the longer side's square when that is square. */
function enclosingSize(image: Size, target: Size): Size {
  return image.width * target.height >= target.width * image.height
    ? {
        width: image.width,
        height: Math.max(image.height, Math.round((image.width * target.height) / target.width)),
      }
    : {
        width: Math.max(image.width, Math.round((image.height * target.width) / target.height)),
        height: image.height,
      };
}

/**
 * The middle of an image; when it is an odd pixel off, the part further up and left, as transformers cuts it. What a
 * side lacks is black.
 */
export function cropCentre(image: RgbImage, width: number, height: number): RgbImage {
  if (width === image.width && height === image.height) return image;
  // Below 0 where the image is smaller.
  const left = (image.width - width) >> 1;
  const top = (image.height - height) >> 1;
  const part = blankImage(width, height);
  const [from, to] = [Math.max(0, left), Math.min(image.width, left + width)];
  for (let y = Math.max(0, top); y < Math.min(image.height, top + height); y++) {
    const row = image.data.subarray((y * image.width + from) * 3, (y * image.width + to) * 3);
    part.data.set(row, ((y - top) * width + from - left) * 3);
  }
  return part;
}

/** The image in the middle of a larger one of a single colour (an odd pixel goes to the right and the bottom). */
export function padTo(image: RgbImage, width: number, height: number, colour: Colour): RgbImage {
  if (width === image.width && height === image.height) return image;
  if (width < image.width || height < image.height) {
    throw misuse("SHAPE", `${image.width} x ${image.height} does not fit into ${width} x ${height}.`);
  }
  const left = (width - image.width) >> 1;
  const top = (height - image.height) >> 1;
  const padded = blankImage(width, height, colour);
  const rowBytes = image.width * 3;
  for (let y = 0; y < image.height; y++) {
    padded.data.set(image.data.subarray(y * rowBytes, (y + 1) * rowBytes), ((top + y) * width + left) * 3);
  }
  return padded;
}

/** The longer side's square, filled up with a colour: LLaVA's expand2square. */
export function padToSquare(image: RgbImage, colour: Colour = clipMeanColour): RgbImage {
  const side = Math.max(image.width, image.height);
  return padTo(image, side, side, colour);
}

/**
 * The image's own size, each side at the nearest multiple of the VAE's factor (at least one of it).
 * @param maxPixels at most 1 megapixel unless told: attention's memory grows with the square of it
 * @throws misuse IMAGE_TOO_LARGE
 */
export function nativeSize({ width, height }: Size, multiple: number, maxPixels = 1 << 20): Size {
  const nearest = (side: number) => Math.max(1, Math.round(side / multiple)) * multiple;
  const size = { width: nearest(width), height: nearest(height) };
  const pixels = size.width * size.height;
  if (pixels > maxPixels) {
    const positions = pixels / multiple ** 2;
    const gigabytes = (4 * positions ** 2) / 1e9;
    throw misuse(
      "IMAGE_TOO_LARGE",
      `At its own size the image has ${size.width} x ${size.height} = ${pixels} pixels; at most ${maxPixels} are ` +
        `allowed: one head of self-attention over its ${positions} positions alone takes ` +
        `${gigabytes.toFixed(gigabytes < 10 ? 1 : 0)} GB. Choose a size, or the fit ${fits.join(", ")}.`,
    );
  }
  return size;
}
