/** @file Format and size of an encoded image from its first bytes, before any memory is spent on its pixels. */

import { readTiffTags } from "./tiff.js";

export type ImageFormat = "JPEG" | "PNG" | "WebP" | "AVIF" | "TIFF" | "GIF";

export const imageFormats: readonly ImageFormat[] = ["JPEG", "PNG", "WebP", "AVIF", "TIFF", "GIF"];

export interface ImageHeader {
  format: ImageFormat;
  width: number;
  height: number;
}

/** What is wrong with an image, without its name: decodeImage puts that in front. */
export class ImageFault extends Error {
  constructor(
    readonly code: "IMAGE_BROKEN" | "IMAGE_UNSUPPORTED" | "IMAGE_TOO_LARGE",
    message: string,
  ) {
    super(message);
  }
}

/** A damaged image: `sentence` says where. */
export function broken(sentence: string): ImageFault {
  return new ImageFault("IMAGE_BROKEN", sentence);
}

/**
 * Reads format and size (as stored: EXIF orientation may swap the sides).
 * @throws ImageFault for bytes that are no image, of a format not read here, or damaged in the header
 */
export function readHeader(bytes: Uint8Array): ImageHeader {
  if (bytes.length === 0) throw broken("it is empty (0 bytes).");
  const format = sniffFormat(bytes);
  const size = sizeReaders[format](bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (!size) throw broken(`its ${format} header is damaged or cut off: no size in it.`);
  const [width, height] = size;
  if (width < 1 || height < 1) throw broken(`its ${format} header says ${width} x ${height} pixels.`);
  return { format, width, height };
}

function sniffFormat(bytes: Uint8Array): ImageFormat {
  const start = latin1(bytes, 0, 16);
  if (start.startsWith("\xff\xd8\xff")) return "JPEG";
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "PNG";
  if (start.startsWith("RIFF") && start.startsWith("WEBP", 8)) return "WebP";
  if (start.startsWith("GIF87a") || start.startsWith("GIF89a")) return "GIF";
  if (/^(II[*+]\0|MM\0[*+])/.test(start)) return "TIFF";
  if (start.startsWith("ftyp", 4)) {
    const brands = latin1(bytes, 8, 64);
    if (brands.includes("avif") || brands.includes("avis")) return "AVIF";
    throw unsupported(`is a HEIC picture or a video (brand "${brands.slice(0, 4).replace(/[^ -~]/g, "?")}")`);
  }
  const known = otherFormats.find(([mark]) => start.startsWith(mark));
  const first = Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  throw unsupported(known ? `is a ${known[1]} file` : `is not an image (it starts with the bytes ${first})`);
}

/** Formats that people do try, to name them in the refusal. */
const otherFormats = [
  ["BM", "BMP"],
  ["%PDF", "PDF"],
  ["<svg", "SVG"],
  ["<?xml", "SVG or XML"],
  ["\xff\x0a", "JPEG XL"],
  ["8BPS", "Photoshop"],
] as const;

function unsupported(what: string): ImageFault {
  return new ImageFault("IMAGE_UNSUPPORTED", `it ${what}; readable are ${imageFormats.join(", ")}.`);
}

type SizeReader = (bytes: Uint8Array, view: DataView) => readonly [width: number, height: number] | undefined;

const sizeReaders: Record<ImageFormat, SizeReader> = {
  PNG: (bytes, view) =>
    bytes.length >= 24 && latin1(bytes, 12, 4) === "IHDR"
      ? [view.getUint32(16), view.getUint32(20)]
      : undefined,

  GIF: (bytes, view) => (bytes.length >= 10 ? [view.getUint16(6, true), view.getUint16(8, true)] : undefined),

  /** Walks the segments up to the frame header (ITU T.81 B.2.2). */
  JPEG: (bytes, view) => {
    let at = 2;
    while (at + 9 <= bytes.length && bytes[at] === 0xff) {
      const marker = bytes[at + 1]!;
      if (marker === 0xff) {
        at++; // a fill byte
      } else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
        return [view.getUint16(at + 7), view.getUint16(at + 5)];
      } else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
        at += 2; // markers without a body
      } else {
        at += 2 + view.getUint16(at + 2);
      }
    }
    return undefined;
  },

  WebP: (bytes, view) => {
    if (bytes.length < 30) return undefined;
    const kind = latin1(bytes, 12, 4);
    if (kind === "VP8X")
      return [(view.getUint32(24, true) & 0xffffff) + 1, (view.getUint32(26, true) >>> 8) + 1];
    if (kind === "VP8L") {
      const bits = view.getUint32(21, true);
      return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
    }
    if (kind === "VP8 ") return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
    return undefined;
  },

  TIFF: (bytes) => {
    const tags = readTiffTags(bytes);
    const [width, height] = [tags?.get(256), tags?.get(257)];
    return width === undefined || height === undefined ? undefined : [width, height];
  },

  /** The largest of the items' sizes (`ispe`), tiles and alpha planes included (ISO 23008-12). */
  AVIF: (bytes, view) => {
    let largest: readonly [number, number] | undefined;
    for (const meta of boxes(view, "meta", 0, bytes.length)) {
      for (const properties of boxes(view, "iprp", meta.from + 4, meta.to)) {
        for (const container of boxes(view, "ipco", properties.from, properties.to)) {
          for (const { from, to } of boxes(view, "ispe", container.from, container.to)) {
            if (to < from + 12) continue;
            const [width, height] = [view.getUint32(from + 4), view.getUint32(from + 8)];
            if (!largest || width * height > largest[0] * largest[1]) largest = [width, height];
          }
        }
      }
    }
    return largest;
  },
};

/** The contents of the boxes of one type between two offsets of an ISO media file (ISO 14496-12, 4.2). */
function* boxes(view: DataView, type: string, from: number, to: number) {
  const mark = [...type].reduce((word, letter) => word * 256 + letter.charCodeAt(0), 0);
  for (let at = from; at + 16 <= to; ) {
    const short = view.getUint32(at);
    // 0: up to the end; 1: a 64-bit size follows.
    const size = short === 0 ? to - at : short === 1 ? Number(view.getBigUint64(at + 8)) : short;
    if (size < 8) return;
    const end = Math.min(to, at + size);
    if (view.getUint32(at + 4) === mark) yield { from: at + (short === 1 ? 16 : 8), to: end };
    at = end;
  }
}

function latin1(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}
