/** @file One way in for every image: find the bytes, check the header, decode to RGB. */

import { decodePixels, readSource } from "#host/image";
import { aborted, DiffsightError, failure, misuse } from "../tensor/index.js";
import { decodeGif } from "./gif.js";
import { broken, ImageFault, readHeader } from "./header.js";
import { type ImageInput, type RgbImage, rgbFromRaw } from "./image.js";
import { decodePng } from "./png.js";
import { reason, tooManyBytes } from "./source.js";

export interface ImageLimits {
  /** Most decoded pixels, width x height; 100 million unless told. */
  pixels?: number;
  /** Most encoded bytes; 1 GiB unless told. */
  bytes?: number;
}

export interface DecodeOptions {
  limits?: ImageLimits;
  /** How errors call the image; found from the input when left out. */
  name?: string;
  signal?: AbortSignal | undefined;
}

/** As in libpng: no honest image is longer, and a row of it fits into memory. */
const longestSide = 1_000_000;

/**
 * Decodes an image (JPEG, PNG, WebP, AVIF, TIFF, GIF) to 8-bit RGB as PIL's `exif_transpose(image).convert("RGB")`:
 * EXIF orientation is obeyed, alpha dropped, colour profiles are ignored; of several pictures the first is taken. The
 * size in the header is checked before memory is spent.
 * @throws DiffsightError IMAGE_BROKEN, IMAGE_UNSUPPORTED, IMAGE_TOO_LARGE, FILE_NOT_FOUND, FILE_UNREADABLE, NETWORK,
 *   OUT_OF_MEMORY, ABORTED; SHAPE for raw pixels that do not fit their size
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<RgbImage> {
  const { limits = {}, signal } = options;
  const { pixels = 100_000_000, bytes: mostBytes = 1 << 30 } = limits;
  if (isRaw(input)) return rgbFromRaw(input);
  if (!(typeof input === "string" || sources.some((source) => input instanceof source))) {
    const allowed = "a path, a URL, a Blob, bytes or raw pixels { data, width, height, channels }";
    throw misuse("IMAGE_INPUT", `An image is ${allowed}, not ${String(input)}.`);
  }
  const name = options.name ?? nameOf(input);
  try {
    const bytes = await readInput(input, mostBytes, signal);
    const checkSize = (width: number, height: number): void => {
      if (width * height > pixels || Math.max(width, height) > longestSide) {
        const found = `${width} x ${height} = ${width * height} pixels`;
        const allowed = `at most ${pixels} pixels and sides of ${longestSide} are allowed`;
        throw new ImageFault("IMAGE_TOO_LARGE", `it has ${found}; ${allowed}.`);
      }
    };
    const header = readHeader(bytes);
    checkSize(header.width, header.height);
    if (signal?.aborted) throw aborted();
    if (header.format === "PNG") return decodePng(bytes);
    if (header.format === "GIF") return decodeGif(bytes, checkSize);
    if (header.format === "JPEG") checkJpegEnds(bytes);
    return await decodePixels(bytes, header).catch((cause) => {
      throw isOurs(cause) ? cause : broken(`it cannot be decoded as ${header.format} (${reason(cause)}).`);
    });
  } catch (cause) {
    throw named(name, cause, signal);
  }
}

const sources = [URL, Blob, Uint8Array];

function isRaw(input: ImageInput): input is Exclude<ImageInput, string | URL | Blob | Uint8Array> {
  return typeof input === "object" && input !== null && "channels" in input;
}

async function readInput(input: string | URL | Blob | Uint8Array, bytes: number, signal?: AbortSignal) {
  if (typeof input === "string" || input instanceof URL) return readSource(input, { bytes, signal });
  const size = input instanceof Blob ? input.size : input.length;
  if (size > bytes) throw tooManyBytes(bytes, size);
  return input instanceof Blob ? new Uint8Array(await input.arrayBuffer()) : input;
}

function nameOf(input: string | URL | Blob | Uint8Array): string {
  if (typeof input === "string") return `"${input}"`;
  if (input instanceof URL) return input.protocol === "data:" ? "from a data: address" : `"${input.href}"`;
  if (input instanceof Blob) return "name" in input ? `"${input.name}"` : "from a Blob";
  return "from bytes";
}

function isOurs(cause: unknown): boolean {
  return cause instanceof DiffsightError || cause instanceof ImageFault;
}

/** Puts the image's name in front of what went wrong. */
function named(name: string, cause: unknown, signal?: AbortSignal): DiffsightError {
  if (signal?.aborted) return aborted();
  const sentence = (text: string) => `Cannot read the image ${name}: ${text}`;
  if (cause instanceof ImageFault) return failure(cause.code, sentence(cause.message));
  if (cause instanceof DiffsightError) return failure(cause.code, sentence(cause.message), cause);
  return failure("FILE_UNREADABLE", sentence(`${reason(cause)}.`), cause);
}

/** A JPEG that stops before its end marker would be filled up with grey (ITU T.81 B.1.1.3: D9 is no data). */
function checkJpegEnds(bytes: Uint8Array): void {
  for (let at = bytes.indexOf(0xff, 2); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    if (bytes[at + 1] === 0xd9) return;
  }
  throw broken("the JPEG is cut off: it has no end marker.");
}
