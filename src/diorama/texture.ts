/** @file Pictures as the renderer reads them: linear light in 16 bits, in ever smaller copies (mipmaps). */

import { decodeTable } from "./tables.js";

export interface Level {
  width: number;
  height: number;
  /** [height, width, 4]: linear light and cover, 0 to 65535. */
  texels: Uint16Array;
}

/** The picture and its halvings down to one pixel. Sides are powers of two. */
export type Texture = readonly Level[];

/** Makes a texture of RGBA bytes (sRGB); clear pixels take no part in the smaller copies' colours. */
export function makeTexture(pixels: Uint8Array, width: number, height: number): Texture {
  const texels = new Uint16Array(width * height * 4);
  for (let i = 0; i < texels.length; i += 4) {
    for (let k = 0; k < 3; k++) texels[i + k] = Math.floor(decodeTable[pixels[i + k]!]! * 65535 + 0.5);
    texels[i + 3] = pixels[i + 3]! * 257;
  }
  const levels: Level[] = [{ width, height, texels }];
  while (levels.at(-1)!.width > 1 || levels.at(-1)!.height > 1) levels.push(halve(levels.at(-1)!));
  return levels;
}

function halve({ width, height, texels }: Level): Level {
  const [w, h] = [width > 1 ? width >> 1 : 1, height > 1 ? height >> 1 : 1];
  const [right, down] = [width > 1 ? 4 : 0, height > 1 ? width * 4 : 0];
  const half = new Uint16Array(w * h * 4);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const from = (y * (height > 1 ? 2 : 1) * width + x * (width > 1 ? 2 : 1)) * 4;
      const four = [from, from + right, from + down, from + right + down];
      let cover = 0;
      for (const at of four) cover += texels[at + 3]!;
      const to = (y * w + x) * 4;
      for (let k = 0; k < 3; k++) {
        let sum = 0;
        for (const at of four) sum += texels[at + k]! * (cover > 0 ? texels[at + 3]! : 1);
        half[to + k] = Math.floor(sum / (cover > 0 ? cover : 4) + 0.5);
      }
      half[to + 3] = Math.floor(cover / 4 + 0.5);
    }
  }
  return { width: w, height: h, texels: half };
}
