/** @file Images in the browser: addresses by fetch; JPEG, WebP and AVIF by the browser's own decoders. */

import { failure } from "../tensor/index.js";
import { broken, type ImageHeader } from "./header.js";
import { type RgbImage, rgbFromRaw } from "./image.js";
import { exifOrientation, orient } from "./orientation.js";
import { fetchBytes, type SourceOptions } from "./source.js";

/**
 * Reads the bytes of an address, relative ones as the page means them.
 * @throws DiffsightError FILE_NOT_FOUND, NETWORK, ABORTED; ImageFault IMAGE_TOO_LARGE
 */
export function readSource(source: string | URL, options: SourceOptions): Promise<Uint8Array> {
  return fetchBytes(source, options);
}

/**
 * Decodes what the browser can; EXIF orientation is obeyed, colour profiles are not, and alpha is dropped, as in PIL.
 */
export async function decodePixels(bytes: Uint8Array, { format }: ImageHeader): Promise<RgbImage> {
  const { still, orientation } = format === "WebP" ? withoutExif(bytes) : { still: bytes, orientation: 1 };
  const file = new Blob([still as Uint8Array<ArrayBuffer>], { type: `image/${format.toLowerCase()}` });
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" } as const;
  const bitmap = await createImageBitmap(file, options).catch((cause) => {
    if (format === "TIFF") throw failure("IMAGE_UNSUPPORTED", "this browser does not read TIFF.", cause);
    throw broken(`this browser cannot decode it as ${format}.`);
  });
  const { width, height } = bitmap;
  // Only WebP and AVIF can be transparent here.
  const data = (format === "JPEG" ? undefined : readTexture(bitmap)) ?? readCanvas(bitmap);
  bitmap.close();
  return orient(rgbFromRaw({ data, width, height, channels: 4 }), orientation);
}

/** A canvas keeps colours multiplied by alpha: what is hidden by transparency would come out black. */
function readCanvas(bitmap: ImageBitmap): Uint8Array {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!canvas) throw failure("OUT_OF_MEMORY", `this browser gives no canvas of ${width} x ${height}.`);
  canvas.drawImage(bitmap, 0, 0);
  return new Uint8Array(canvas.getImageData(0, 0, width, height).data.buffer);
}

/** A texture keeps colours as they are; nothing where the browser has no WebGL 2, or no texture of that size. */
function readTexture(bitmap: ImageBitmap): Uint8Array | undefined {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl) return undefined;
  try {
    if (Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return undefined;
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    const texture = gl.getParameter(gl.TEXTURE_BINDING_2D);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    const data = new Uint8Array(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    return gl.getError() === gl.NO_ERROR ? data : undefined;
  } finally {
    gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

/** Browsers differ in whether they obey a WebP's EXIF block: it is read here and hidden from them. */
function withoutExif(bytes: Uint8Array): { still: Uint8Array; orientation: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const exif = 0x45584946;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const end = at + 8 + view.getUint32(at + 4, true);
    if (view.getUint32(at) === exif && end <= bytes.length) {
      const still = bytes.slice();
      still.fill(0x20, at, at + 4);
      return { still, orientation: exifOrientation(bytes.subarray(at + 8, end)) };
    }
    at = end + (end % 2);
  }
  return { still: bytes, orientation: 1 };
}
