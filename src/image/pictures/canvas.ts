/** @file Drawing on RGB images: rectangles, pasting, blending. Everything outside the image is cut off. */

import { misuse } from "../../tensor/index.js";
import { blankImage, type Colour, type RgbImage } from "../image.js";

export const ink: Colour = [26, 28, 32];
export const greyInk: Colour = [98, 102, 110];
export const hairline: Colour = [206, 209, 214];

/** A picture of more pixels than this is refused: it would not fit in memory, nor in a viewer. */
const maxPixels = 1 << 27;

export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** An empty sheet of paper. */
export function blankSheet(width: number, height: number): RgbImage {
  if (width * height > maxPixels) {
    throw misuse(
      "PICTURE_SIZE",
      `A picture of ${width} x ${height} is too large: at most ${maxPixels} pixels are drawn.`,
    );
  }
  const image = blankImage(width, height);
  image.data.fill(255);
  return image;
}

/** Mixes `colour` into one pixel; `amount` 0 keeps it, 1 replaces it. */
export function blendPixel(image: RgbImage, x: number, y: number, colour: Colour, amount: number): void {
  if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
  const at = (y * image.width + x) * 3;
  for (let channel = 0; channel < 3; channel++) {
    const under = image.data[at + channel]!;
    image.data[at + channel] = Math.round(under + (colour[channel]! - under) * amount);
  }
}

export function fillRectangle(image: RgbImage, { x, y, width, height }: Rectangle, colour: Colour): void {
  const [left, right] = [Math.max(x, 0), Math.min(x + width, image.width)];
  const [red, green, blue] = colour;
  for (let row = Math.max(y, 0); row < Math.min(y + height, image.height); row++) {
    for (let at = (row * image.width + left) * 3; at < (row * image.width + right) * 3; at += 3) {
      image.data[at] = red;
      image.data[at + 1] = green;
      image.data[at + 2] = blue;
    }
  }
}

/** A one pixel wide outline, inside the rectangle's edge. */
export function strokeRectangle(image: RgbImage, { x, y, width, height }: Rectangle, colour: Colour): void {
  fillRectangle(image, { x, y, width, height: 1 }, colour);
  fillRectangle(image, { x, y: y + height - 1, width, height: 1 }, colour);
  fillRectangle(image, { x, y, width: 1, height }, colour);
  fillRectangle(image, { x: x + width - 1, y, width: 1, height }, colour);
}

/** Copies `source` onto `target` with its top left corner at (x, y), both inside the target. */
export function paste(target: RgbImage, source: RgbImage, x: number, y: number): void {
  for (let row = 0; row < source.height; row++) {
    const line = source.data.subarray(row * source.width * 3, (row + 1) * source.width * 3);
    target.data.set(line, ((y + row) * target.width + x) * 3);
  }
}

/** Whole pixels enlarged to at most `side`, so that a small picture can be looked at as it is. */
export function enlarged(image: RgbImage, side: number): RgbImage {
  const times = Math.max(1, Math.floor(side / Math.max(image.width, image.height)));
  const [width, height] = [image.width * times, image.height * times];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (Math.floor(y / times) * image.width + Math.floor(x / times)) * 3;
      data.set(image.data.subarray(from, from + 3), (y * width + x) * 3);
    }
  }
  return { width, height, data };
}
