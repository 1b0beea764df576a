/** @file A photographic panorama: what is seen behind things, and the light that falls on them. */

import type { PackedPanorama } from "./pack.js";
import type { Vector } from "./stage.js";
import { angleOf } from "./tables.js";
import { type Level, makeTexture } from "./texture.js";

export interface Panorama {
  levels: readonly Level[];
  /** Toward the sun, in the panorama's own frame. */
  toward: Vector;
  sun: Vector;
  /** Light by a normal (x, y, z): 1, y, z, x, xy, yz, 3zz - 1, xz, xx - yy; three colours each. */
  ambient: Float64Array;
}

/** Factors of the real spherical harmonics up to the second order. */
const factors = [0.282095, 0.488603, 0.488603, 0.488603, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274];

export function makePanorama(
  { toward, sun, ambient, width, height }: PackedPanorama,
  pixels: Uint8Array,
): Panorama {
  return {
    levels: makeTexture(pixels, width, height).slice(0, 5),
    toward,
    sun,
    ambient: Float64Array.from(ambient, (value, i) => value * factors[Math.floor(i / 3)]!),
  };
}

/** Writes the light on a surface of normal (x, y, z) in the panorama's frame to `light`. */
export function ambientLight(a: Float64Array, x: number, y: number, z: number, light: Float64Array): void {
  const xy = x * y;
  const yz = y * z;
  const zz = 3 * z * z - 1;
  const xz = x * z;
  const xxyy = x * x - y * y;
  for (let k = 0; k < 3; k++) {
    const value =
      a[k]! +
      a[3 + k]! * y +
      a[6 + k]! * z +
      a[9 + k]! * x +
      a[12 + k]! * xy +
      a[15 + k]! * yz +
      a[18 + k]! * zz +
      a[21 + k]! * xz +
      a[24 + k]! * xxyy;
    light[k] = value > 0.02 ? value : 0.02;
  }
}

/** Writes what is seen in direction (x, y, z), display light, to `light`; `turn` in turns. */
export function lookUp(
  level: Level,
  x: number,
  y: number,
  z: number,
  turn: number,
  light: Float64Array,
): void {
  const { width, height, texels } = level;
  const around = angleOf(x, -z) / (2 * Math.PI) + turn;
  const above = angleOf(y, Math.sqrt(x * x + z * z)) / Math.PI;
  let fx = (around - Math.floor(around)) * width - 0.5;
  let fy = (0.5 - above) * height - 0.5;
  if (fx < 0) fx += width;
  if (fy < 0) fy = 0;
  if (fy > height - 1) fy = height - 1;
  const x0 = Math.floor(fx);
  const y0 = Math.floor(fy);
  const gx = fx - x0;
  const gy = fy - y0;
  const x1 = x0 + 1 < width ? x0 + 1 : 0;
  const y1 = y0 + 1 < height ? y0 + 1 : y0;
  const a = (y0 * width + x0) * 4;
  const b = (y0 * width + x1) * 4;
  const c = (y1 * width + x0) * 4;
  const d = (y1 * width + x1) * 4;
  const wa = ((1 - gx) * (1 - gy)) / 65535;
  const wb = (gx * (1 - gy)) / 65535;
  const wc = ((1 - gx) * gy) / 65535;
  const wd = (gx * gy) / 65535;
  for (let k = 0; k < 3; k++) {
    light[k] = texels[a + k]! * wa + texels[b + k]! * wb + texels[c + k]! * wc + texels[d + k]! * wd;
  }
}
