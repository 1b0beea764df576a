/** @file What an image is here: 8-bit RGB pixels; and what a caller may hand in as one. */

import { allocate, misuse } from "../tensor/index.js";

/** Pixels row by row, 3 bytes each (red, green, blue), as PIL's mode "RGB". */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array;
}

/** Pixels as they come from a camera, a canvas or another library. 2 and 4 channels end with alpha, which is dropped. */
export interface RawImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: 1 | 2 | 3 | 4;
}

/** A path (in the browser: an address), a URL object, a Blob, an encoded file's bytes, or raw pixels. */
export type ImageInput = string | URL | Blob | Uint8Array | RawImage;

/** Red, green, blue, each 0 to 255. */
export type Colour = readonly [number, number, number];

/** An image of one colour; black unless told. */
export function blankImage(width: number, height: number, colour: Colour = [0, 0, 0]): RgbImage {
  checkSides(width, height);
  const data = allocate("u8", width * height * 3) as Uint8Array;
  if (colour.some((value) => value !== 0)) {
    for (let i = 0; i < data.length; i += 3) data.set(colour, i);
  }
  return { width, height, data };
}

/** Raw pixels as RGB: grey is repeated, alpha dropped without blending, as PIL's convert("RGB") does. */
export function rgbFromRaw({ data, width, height, channels }: RawImage): RgbImage {
  checkSides(width, height);
  if (![1, 2, 3, 4].includes(channels)) {
    throw misuse("SHAPE", `Raw pixels have 1, 2, 3 or 4 channels, not ${channels}.`);
  }
  if (data.length !== width * height * channels) {
    const need = `${width} x ${height} x ${channels} = ${width * height * channels}`;
    throw misuse("SHAPE", `Raw pixels of ${need} bytes are needed, not ${data.length}.`);
  }
  const image = blankImage(width, height);
  const green = channels < 3 ? 0 : 1;
  const blue = channels < 3 ? 0 : 2;
  for (let from = 0, to = 0; to < image.data.length; from += channels, to += 3) {
    image.data[to] = data[from]!;
    image.data[to + 1] = data[from + green]!;
    image.data[to + 2] = data[from + blue]!;
  }
  return image;
}

/** @throws misuse SHAPE when a side is no positive whole number */
export function checkSides(width: number, height: number): void {
  if (!Number.isSafeInteger(width) || !Number.isSafeInteger(height) || width < 1 || height < 1) {
    throw misuse("SHAPE", `An image's sides are whole numbers from 1 on, not ${width} x ${height}.`);
  }
}
