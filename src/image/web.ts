/** @file Images in the browser: addresses by fetch; JPEG, WebP and AVIF by createImageBitmap. */

import { failure } from "../tensor/index.js";
import { broken, type ImageHeader } from "./header.js";
import { type RgbImage, rgbFromRaw } from "./image.js";
import { fetchBytes, type SourceOptions } from "./source.js";

/**
 * Reads the bytes of an address, relative ones as the page means them.
 * @throws DiffsightError FILE_NOT_FOUND, NETWORK, ABORTED; ImageFault IMAGE_TOO_LARGE
 */
export function readSource(source: string | URL, options: SourceOptions): Promise<Uint8Array> {
  return fetchBytes(source, options);
}

/**
 * Decodes what the browser can; EXIF orientation is obeyed, colour profiles are not, as in PIL. A canvas keeps colours
 * multiplied by alpha: what is hidden by transparency comes out black, which PIL would show.
 */
export async function decodePixels(bytes: Uint8Array, { format }: ImageHeader): Promise<RgbImage> {
  const file = new Blob([bytes as Uint8Array<ArrayBuffer>], { type: `image/${format.toLowerCase()}` });
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" } as const;
  const bitmap = await createImageBitmap(file, options).catch((cause) => {
    if (format === "TIFF") throw failure("IMAGE_UNSUPPORTED", "this browser does not read TIFF.", cause);
    throw broken(`this browser cannot decode it as ${format}.`);
  });
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!canvas) throw failure("OUT_OF_MEMORY", `this browser gives no canvas of ${width} x ${height}.`);
  canvas.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = canvas.getImageData(0, 0, width, height);
  return rgbFromRaw({ data: new Uint8Array(data.buffer), width, height, channels: 4 });
}
