/** @file Pixels for a VAE and back (diffusers `VaeImageProcessor`), in its single-precision order of operations. */

import { formatDims, misuse, type Tensor } from "../tensor/index.js";
import { blankImage, type RgbImage } from "./image.js";
import { planes } from "./planes.js";

const toUnit = Float32Array.from({ length: 256 }, (_, byte) => 2 * Math.fround(byte / 255) - 1);

/** An image of the right size already -> f32 [1, 3, height, width] in [-1, 1]. */
export function vaePixels(image: RgbImage): Tensor {
  return planes(image, [toUnit, toUnit, toUnit]);
}

/**
 * A decoded picture as an image: (x / 2 + 0.5) cut to [0, 1], times 255, rounded half to even.
 * @param tensor [B, 3, height, width]
 * @param index which of the batch
 */
export function fromVaePixels(tensor: Tensor, index = 0): RgbImage {
  const [batch, channels, height, width] = tensor.dims as [number, number, number, number];
  if (tensor.dims.length !== 4 || channels !== 3 || !(index >= 0 && index < batch)) {
    throw misuse(
      "SHAPE",
      `Picture ${index} of [B, 3, height, width] is needed, not of ${formatDims(tensor.dims)}.`,
    );
  }
  const image = blankImage(width, height);
  const area = width * height;
  const values = tensor.toFloat32().subarray(index * 3 * area, (index + 1) * 3 * area);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < area; i++) {
      const unit = Math.fround(Math.fround(values[channel * area + i]! * 0.5) + 0.5);
      image.data[i * 3 + channel] = roundHalfToEven(Math.fround(Math.min(1, Math.max(0, unit)) * 255));
    }
  }
  return image;
}

function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
