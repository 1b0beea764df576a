/** @file A panorama's light: tone-mapped pixels, one sun, and the rest as irradiance in spherical harmonics. */

import { readPanorama, sharp, type Triple } from "./sources.js";

/** The curve that src/diorama uses for things (Narkowicz's fit of ACES): scene light to display light. */
export const tone = (x: number) => Math.min(1, (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14));
const encode = (x: number) => (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055);

export interface PanoramaChoice {
  source: string;
  indoor: boolean;
  /** Turns (of 4096) with free floor before the camera. */
  turns: number[];
  /** Stops brighter than the automatic exposure. */
  stops?: number;
  /** Pixels beside bright lights that the source's compression has spoilt; 2 unless told. */
  mend?: number;
  /** Times the sun found in the picture, which has lost what overflowed. */
  sun?: number;
}

export interface Light {
  /** Toward the sun. */
  toward: Triple;
  /** Light that a white surface facing the sun gives back, exposure included. */
  sun: Triple;
  /** Nine coefficients of three colours: the same of all other light, by the surface's normal. */
  ambient: number[];
}

/** Real spherical harmonics up to the second order, with the cosine lobe's factors over pi. */
const harmonics = ([x, y, z]: Triple) => [
  0.282095,
  0.488603 * y,
  0.488603 * z,
  0.488603 * x,
  1.092548 * x * y,
  1.092548 * y * z,
  0.315392 * (3 * z * z - 1),
  1.092548 * x * z,
  0.546274 * (x * x - y * y),
];
const lobes = [1, 2 / 3, 2 / 3, 2 / 3, 1 / 4, 1 / 4, 1 / 4, 1 / 4, 1 / 4];

export async function makePanorama(choice: PanoramaChoice, width: number, height: number) {
  const source = await readPanorama(choice.source, choice.mend);
  const { width: w, height: h, data } = source;
  const direction = (x: number, y: number): Triple => {
    const polar = ((y + 0.5) / h) * Math.PI;
    const azimuth = ((x + 0.5) / w) * 2 * Math.PI;
    return [Math.sin(polar) * Math.sin(azimuth), Math.cos(polar), -Math.sin(polar) * Math.cos(azimuth)];
  };
  const luminance = (i: number) => 0.2126 * data[i]! + 0.7152 * data[i + 1]! + 0.0722 * data[i + 2]!;

  // Exposure: the geometric mean about the horizon becomes a middle grey.
  let logs = 0;
  let count = 0;
  for (let y = Math.floor(h * 0.3); y < h * 0.75; y++) {
    for (let x = 0; x < w; x++) {
      logs += Math.log(Math.max(1e-4, luminance((y * w + x) * 3)));
      count++;
    }
  }
  const exposure = (0.3 / Math.exp(logs / count)) * 2 ** (choice.stops ?? 0);

  // The sun: the middle of the brightest part of the upper half.
  let best = 0;
  for (let y = 0; y < h * 0.48; y++)
    for (let x = 0; x < w; x++) best = Math.max(best, luminance((y * w + x) * 3));
  let toward: Triple = [0, 0, 0];
  const weigh = (limit: number) => {
    const sum: Triple = [0, 0, 0];
    for (let y = 0; y < h * 0.48; y++) {
      for (let x = 0; x < w; x++) {
        const i = (y * w + x) * 3;
        const light = luminance(i);
        const d = direction(x, y);
        if (light < best * limit) continue;
        const weight = light * Math.sin(((y + 0.5) / h) * Math.PI);
        for (let k = 0; k < 3; k++) sum[k]! += d[k]! * weight;
      }
    }
    const length = Math.hypot(...sum) || 1;
    return sum.map((v) => v / length) as Triple;
  };
  toward = weigh(0.5);
  const found = toward;

  const ambient = new Array<number>(27).fill(0);
  const sun: Triple = [0, 0, 0];
  for (let y = 0; y < h; y++) {
    const area = ((Math.PI / h) * (2 * Math.PI) * Math.sin(((y + 0.5) / h) * Math.PI)) / w;
    for (let x = 0; x < w; x++) {
      const i = (y * w + x) * 3;
      const d = direction(x, y);
      const near = d[0] * found[0] + d[1] * found[1] + d[2] * found[2] > 0.96;
      const basis = harmonics(d);
      for (let k = 0; k < 3; k++) {
        const value = data[i + k]!;
        if (near) sun[k]! += (value * area) / Math.PI;
        else
          for (let n = 0; n < 9; n++)
            ambient[n * 3 + k]! += Math.min(value, 12) * area * basis[n]! * lobes[n]!;
      }
    }
  }
  // A low sun throws shadows out of the picture: it is raised to about 35 degrees.
  const raise = (v: Triple, least: number): Triple => {
    if (v[1] >= least) return v;
    const flat = Math.hypot(v[0], v[2]) || 1;
    const across = Math.sqrt(1 - least * least) / flat;
    return [v[0] * across, least, v[2] * across];
  };
  toward = raise(toward, 0.58);

  // What shares of the light fall on the floor: clipped suns are mended, lamps are kept from drowning the room.
  const up = [0, 1, 2].map((k) =>
    harmonics([0, 1, 0]).reduce((sum, basis, n) => sum + basis * ambient[n * 3 + k]!, 0),
  ) as Triple;
  const grey = (c: Triple) => 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  const [low, high] = choice.indoor ? [0.45, 0.9] : [0.8, 2.2];
  const ratio = ((grey(sun) * toward[1]) / grey(up)) * (choice.sun ?? 1);
  const wanted = Math.min(high, Math.max(low, ratio));
  const hue = sun.map((v) => (0.5 * v) / (grey(sun) || 1) + 0.5) as Triple;
  const strength = (wanted * grey(up)) / toward[1];
  // Things are lit as a photographer would expose for them: a white floor stays below white, and is no night.
  const total = grey(up) * (1 + wanted) * exposure;
  const level = (exposure * Math.min(1.15, Math.max(0.85, total))) / total;
  console.error(
    `  ${choice.source}: exposure ${exposure.toFixed(2)}, sun/ambient ${ratio.toFixed(2)} -> ${wanted.toFixed(2)}, floor ${total.toFixed(2)}`,
  );
  // Colours stay nameable: tinted light is brought halfway to grey.
  const paler = (c: Triple) => c.map((v) => 0.55 * v + 0.45 * grey(c)) as Triple;
  for (let n = 0; n < 27; n += 3) {
    const pale = paler([ambient[n]!, ambient[n + 1]!, ambient[n + 2]!]);
    // A little of the light comes from everywhere: what faces away from a window is not black.
    const [r, g, b] = pale.map((v) => (n === 0 ? v : 0.75 * v)) as Triple;
    ambient.splice(n, 3, r, g, b);
  }

  const pixels = new Uint8Array(w * h * 4);
  for (let i = 0; i < w * h; i++) {
    for (let k = 0; k < 3; k++)
      pixels[i * 4 + k] = Math.round(255 * encode(tone(data[i * 3 + k]! * exposure)));
    pixels[i * 4 + 3] = 255;
  }
  const data8 =
    w === width && h === height
      ? pixels
      : new Uint8Array(
          await sharp(pixels, { raw: { width: w, height: h, channels: 4 } })
            .resize(width, height, { fit: "fill" })
            .raw()
            .toBuffer(),
        );
  const light: Light = {
    toward,
    sun: hue.map((v) => v * strength * level) as Triple,
    ambient: ambient.map((v) => v * level),
  };
  return { pixels: data8, light };
}
