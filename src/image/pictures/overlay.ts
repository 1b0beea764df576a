/** @file Heat maps over the picture that they belong to. */

import { misuse, type Tensor } from "../../tensor/index.js";
import type { RgbImage } from "../image.js";
import { interpolate } from "../interpolate.js";
import { resize } from "../resize.js";
import { type ColormapName, colormapTable } from "./colormap.js";
import { contactSheet, type Tile } from "./sheet.js";
import { formatRange, type Normalise, plane, type Range, valueRange } from "./values.js";

export interface OverlayOptions {
  /** How much of the picture the largest value hides, 0 to 1. */
  opacity?: number;
  /** Which numbers are the weakest and the strongest: per map unless a range is given. */
  normalise?: Normalise;
  colormap?: ColormapName;
}

export interface OverlayPictureOptions extends OverlayOptions {
  /** What is seen: a word, a layer, a timestep. */
  title?: string;
  caption?: string;
  /** Pixels of the picture's longer side; its own size unless told. */
  side?: number;
}

/**
 * Lays a map over a picture, which turns greyer and darker so that the strong places glow. The stronger the value the
 * less of the picture shows through. The map is enlarged bicubically and covers the whole picture, whatever its aspect.
 * @param map [h, w]
 * @returns an image of the picture's size
 */
export function overlay(image: RgbImage, map: Tensor, options: OverlayOptions = {}): RgbImage {
  return lay(image, map, overlayRange(map, options), options);
}

/** `overlay` with its title, colour bar and caption. */
export function overlayPicture(image: RgbImage, map: Tensor, options: OverlayPictureOptions = {}): RgbImage {
  return contactSheet([overlayTile(image, map, options)]);
}

/** The same as a tile for `contactSheet`, where words, layers or timesteps lie side by side. */
export function overlayTile(
  image: RgbImage,
  map: Tensor,
  { title, caption, side, ...options }: OverlayPictureOptions = {},
): Tile {
  const range = overlayRange(map, options);
  const legend = { colormap: options.colormap ?? defaultColormap, ...formatRange(range) };
  const shown = lay(side === undefined ? image : scaledTo(image, side), map, range, options);
  return { image: shown, legend, ...(title && { title }), ...(caption && { caption }) };
}

/** An image in its own aspect, the longer side `side` pixels. */
export function scaledTo(image: RgbImage, side: number): RgbImage {
  const scale = side / Math.max(image.width, image.height);
  const of = (length: number) => Math.max(1, Math.round(length * scale));
  return resize(image, of(image.width), of(image.height), "bicubic");
}

const defaultColormap: ColormapName = "inferno";

function overlayRange(map: Tensor, { normalise = "minmax" }: OverlayOptions): Range {
  return valueRange([plane(map).values], normalise);
}

function lay(
  image: RgbImage,
  map: Tensor,
  { min, max }: Range,
  { opacity = 0.75, colormap }: OverlayOptions,
): RgbImage {
  if (!(opacity >= 0 && opacity <= 1))
    throw misuse("OPACITY", `The opacity lies between 0 and 1, not at ${opacity}.`);
  const { width, height } = plane(map);
  const table = colormapTable(colormap ?? defaultColormap);
  const fine = interpolate(map.reshape([height, width]), [image.height, image.width], "bicubic").toFloat32();
  // At the default opacity colours keep 40 % and lightness 62 %: weak places recede, yet can be recognised.
  const [fading, dimming] = [0.8 * opacity, 0.5 * opacity];
  const data = new Uint8Array(image.data.length);
  for (let i = 0; i < fine.length; i++) {
    const at = i * 3;
    const grey = 0.299 * image.data[at]! + 0.587 * image.data[at + 1]! + 0.114 * image.data[at + 2]!;
    const share = max > min ? Math.min(Math.max((fine[i]! - min) / (max - min), 0), 1) : 0;
    const strength = Number.isNaN(share) ? 0 : share;
    const step = Math.round(strength * 255) * 3;
    for (let channel = 0; channel < 3; channel++) {
      const own = image.data[at + channel]!;
      const under = (own + (grey - own) * fading) * (1 - dimming);
      data[at + channel] = Math.round(under + (table[step + channel]! - under) * opacity * strength);
    }
  }
  return { width: image.width, height: image.height, data };
}
