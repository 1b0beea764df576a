/** @file Encoding PNG: the same pixels give the same bytes on every host. */

import { zlibSync } from "fflate";
import { misuse } from "../tensor/index.js";
import { crc32 } from "./crc32.js";
import { checkSides, type RawImage, type RgbImage } from "./image.js";
import { paeth, pngSignature } from "./png.js";

/** PNG's colour type for 1 to 4 channels: grey, grey and alpha, RGB, RGBA. */
const colourTypes = [0, 4, 2, 6];

/** Encodes 8-bit RGB, or raw pixels of 1 (grey), 2 (grey, alpha), 3 or 4 (RGBA) channels. */
export function encodePng(image: RgbImage | RawImage): Uint8Array {
  const { width, height, data } = image;
  const channels = "channels" in image ? image.channels : 3;
  checkSides(width, height);
  const colour = colourTypes[channels - 1];
  if (colour === undefined || data.length !== width * height * channels) {
    const shape = `${width} x ${height} x ${channels} bytes (1 to 4 a pixel)`;
    throw misuse("SHAPE", `A PNG is made of ${shape}; the data has ${data.length}.`);
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, colour], 8);
  const pixels = zlibSync(filterRows(data, width * channels, height, channels));

  const chunks = [chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", new Uint8Array())];
  const file = new Uint8Array(pngSignature.length + chunks.reduce((sum, { length }) => sum + length, 0));
  file.set(pngSignature);
  let at = pngSignature.length;
  for (const part of chunks) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

function chunk(type: string, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(
    Array.from(type, (letter) => letter.charCodeAt(0)),
    4,
  );
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes, 4, 8 + body.length));
  return bytes;
}

/** Gives each row the filter whose result is smallest in sum of absolute values (PNG section 12.7). */
function filterRows(data: Uint8Array, rowBytes: number, height: number, pixelBytes: number): Uint8Array {
  const filtered = new Uint8Array(height * (1 + rowBytes));
  const candidates = Array.from({ length: 5 }, () => new Uint8Array(rowBytes));
  const [none, sub, up, average, predicted] = candidates as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  for (let y = 0; y < height; y++) {
    const start = y * rowBytes;
    const sums = [0, 0, 0, 0, 0];
    for (let i = 0; i < rowBytes; i++) {
      const value = data[start + i]!;
      const left = i < pixelBytes ? 0 : data[start + i - pixelBytes]!;
      const above = y === 0 ? 0 : data[start - rowBytes + i]!;
      const corner = y === 0 || i < pixelBytes ? 0 : data[start - rowBytes + i - pixelBytes]!;
      none[i] = value;
      sub[i] = value - left;
      up[i] = value - above;
      average[i] = value - ((left + above) >> 1);
      predicted[i] = value - paeth(left, above, corner);
      for (let filter = 0; filter < 5; filter++) {
        const byte = candidates[filter]![i]!;
        sums[filter]! += byte < 128 ? byte : 256 - byte;
      }
    }
    const best = sums.indexOf(Math.min(...sums));
    filtered[start + y] = best;
    filtered.set(candidates[best]!, start + y + 1);
  }
  return filtered;
}
