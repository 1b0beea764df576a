/** @file From interleaved bytes to one plane a channel, each byte translated by a table. */

import { allocate, Tensor } from "../tensor/index.js";
import type { RgbImage } from "./image.js";

/** What each byte becomes, for red, green and blue. */
export type ByteTables = readonly [Float32Array, Float32Array, Float32Array];

/** -> f32 [1, 3, height, width] */
export function planes({ width, height, data }: RgbImage, tables: ByteTables): Tensor {
  const area = width * height;
  const values = allocate("f32", 3 * area) as Float32Array;
  for (const [channel, table] of tables.entries()) {
    for (let i = 0, at = channel; i < area; i++, at += 3) values[channel * area + i] = table[data[at]!]!;
  }
  return new Tensor("f32", [1, 3, height, width], values);
}
