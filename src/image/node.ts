/** @file Images on Node: files by fs; JPEG, WebP, AVIF and TIFF by sharp, which decodes and does nothing else. */

import { createReadStream } from "node:fs";
import { failure } from "../tensor/index.js";
import type { ImageHeader } from "./header.js";
import { blankImage, type RgbImage, rgbFromRaw } from "./image.js";
import { collect, fetchBytes, type SourceOptions } from "./source.js";

/**
 * Reads the bytes of a path or an address.
 * @throws DiffsightError FILE_NOT_FOUND, FILE_UNREADABLE, NETWORK, ABORTED; ImageFault IMAGE_TOO_LARGE
 */
export async function readSource(source: string | URL, options: SourceOptions): Promise<Uint8Array> {
  if (source instanceof URL && source.protocol !== "file:") return fetchBytes(source, options);
  try {
    const file = createReadStream(source, options.signal ? { signal: options.signal } : {});
    return await collect(file, options.bytes);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR")
      throw failure("FILE_NOT_FOUND", "there is no such file.", cause);
    if (code === "EISDIR") throw failure("FILE_UNREADABLE", "it is a folder.", cause);
    if (code === "EACCES" || code === "EPERM") throw failure("FILE_UNREADABLE", "access is denied.", cause);
    throw cause;
  }
}

/**
 * Decodes a JPEG, WebP, AVIF or TIFF whose size has been checked; EXIF orientation is obeyed, colour profiles are
 * not, as in PIL.
 */
export async function decodePixels(
  bytes: Uint8Array,
  { format, width, height }: ImageHeader,
): Promise<RgbImage> {
  const { default: sharp } = await import("sharp").catch((cause) => {
    throw failure(
      "IMAGE_UNSUPPORTED",
      `reading ${format} needs the package sharp: npm install sharp.`,
      cause,
    );
  });
  const image = sharp(format === "AVIF" ? asStillImage(bytes) : bytes, {
    autoOrient: true,
    ignoreIcc: true,
    failOn: "warning",
    limitInputPixels: width * height,
  });
  const { space, depth, channels } = await image.metadata();
  if (space === "cmyk") {
    const { data, info } = await image
      .pipelineColourspace("cmyk")
      .toColourspace("cmyk")
      .raw()
      .toBuffer(withInfo);
    return rgbFromCmyk(data, info.width, info.height);
  }
  if (depth === "ushort") {
    const wide = channels < 3 ? "grey16" : "rgb16";
    const pixels = image.pipelineColourspace(wide).toColourspace(wide).raw({ depth: "ushort" });
    const { data, info } = await pixels.toBuffer(withInfo);
    const words = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
    // PIL clips 16-bit grey at 255, but keeps the high byte of 16-bit colour.
    const narrow = channels < 3 ? (word: number) => Math.min(word, 255) : (word: number) => word >> 8;
    return rgbFromRaw({ ...rawShape(info), data: Uint8Array.from(words, narrow) });
  }
  const { data, info } = await image.toColourspace("srgb").raw().toBuffer(withInfo);
  if (info.channels !== 3) return rgbFromRaw({ ...rawShape(info), data });
  return {
    width: info.width,
    height: info.height,
    data: new Uint8Array(data.buffer, data.byteOffset, data.length),
  };
}

const withInfo = { resolveWithObject: true } as const;

function rawShape({ width, height, channels }: { width: number; height: number; channels: number }) {
  return { width, height, channels: channels as 1 | 2 | 3 | 4 };
}

/** PIL's plain conversion: each ink darkens what black leaves. */
function rgbFromCmyk(inks: Uint8Array, width: number, height: number): RgbImage {
  const image = blankImage(width, height);
  for (let from = 0, to = 0; to < image.data.length; from += 4) {
    const light = 255 - inks[from + 3]!;
    for (let ink = 0; ink < 3; ink++) {
      const product = inks[from + ink]! * light + 128;
      image.data[to++] = Math.max(0, light - (((product >> 8) + product) >> 8));
    }
  }
  return image;
}

/** libheif refuses files of the brand "avis" (animations), though their first picture is stored like any other. */
function asStillImage(bytes: Uint8Array): Uint8Array {
  const isSequence = bytes[8] === 0x61 && bytes[9] === 0x76 && bytes[10] === 0x69 && bytes[11] === 0x73;
  if (!isSequence) return bytes;
  const still = bytes.slice();
  still[11] = 0x66;
  return still;
}
