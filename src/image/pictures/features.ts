/** @file Pictures of feature grids: principal components, norms, changes and similarities. */

import { formatDims, misuse, Tensor } from "../../tensor/index.js";
import { blankImage, type Colour, type RgbImage } from "../image.js";
import { interpolate } from "../interpolate.js";
import { strokeRectangle } from "./canvas.js";
import { type ColormapName, colorize } from "./colormap.js";
import { principalComponents } from "./pca.js";
import { type SheetOptions, sheet, type Tile } from "./sheet.js";
import {
  formatNumber,
  formatRange,
  percentile,
  type Range,
  requireFinite,
  sortedFinite,
  valueRange,
} from "./values.js";

export interface FeaturePictureOptions extends SheetOptions {
  /** Pixels of the longer side of the picture itself. */
  side?: number;
  /** Bicubic between the cells instead of showing them. */
  smooth?: boolean;
}

/** A position of the grid: column and row, from the top left. */
export interface Patch {
  x: number;
  y: number;
}

/** How large a grid is drawn, and how. */
export type Display = Required<Pick<FeaturePictureOptions, "side" | "smooth">>;

/**
 * The first three principal components over all positions, as red, green and blue, each from its 1st to its 99th percentile.
 * @param features [C, H, W], or [1, C, H, W]
 */
export function pcaPicture(features: Tensor, options: FeaturePictureOptions = {}): RgbImage {
  return pcaPictures([features], options)[0]!;
}

/** Like `pcaPicture`, with the components and scales of all tensors together, so that their colours can be compared. */
export function pcaPictures(features: readonly Tensor[], options: FeaturePictureOptions = {}): RgbImage[] {
  return pcaTiles(features, display(options)).map((tile) => figure(tile, options));
}

/** The L2 norm of each position's features; registers, positions of far larger norm, stand out. */
export function normPicture(features: Tensor, options: FeaturePictureOptions = {}): RgbImage {
  return figure(normTile(features, display(options)), options);
}

/**
 * Where the question changed the features: the L2 norm of conditional - unconditional at each position, from 0 up.
 * @param options reference: features to whose mean norm the change is compared in the caption
 */
export function deltaPicture(
  delta: Tensor,
  { reference, ...options }: FeaturePictureOptions & { reference?: Tensor } = {},
): RgbImage {
  return figure(deltaTile(delta, reference, display(options)), options);
}

/** The cosine between the features of one patch, which is marked, and those of all. */
export function similarityPicture(
  features: Tensor,
  patch: Patch,
  options: FeaturePictureOptions = {},
): RgbImage {
  return figure(similarityTile(features, patch, display(options)), options);
}

function display({ side = 384, smooth = false }: FeaturePictureOptions): Display {
  return { side, smooth };
}

function figure(tile: Tile, options: SheetOptions): RgbImage {
  return sheet([{ tiles: [tile] }], options);
}

interface Grid {
  channels: number;
  height: number;
  width: number;
  /** [C, H, W] */
  values: Float32Array;
}

/** Whether a tensor is a grid of features, of one image. */
export function isGrid({ dims }: Tensor): boolean {
  return (dims.length === 3 || (dims.length === 4 && dims[0] === 1)) && dims.every((size) => size > 0);
}

function featureGrid(features: Tensor): Grid {
  if (!isGrid(features)) {
    throw misuse(
      "SHAPE",
      `A picture needs features [C, H, W] of one image, not ${formatDims(features.dims)}.`,
    );
  }
  const [channels, height, width] = features.dims.slice(-3) as [number, number, number];
  const values = features.toFloat32();
  requireFinite(values, `A feature tensor ${formatDims(features.dims)}`);
  return { channels, height, width, values };
}

/** L2 norm over the channels. [C, H, W] -> [H, W] */
export function normMap(features: Tensor): Tensor {
  const { channels, height, width, values } = featureGrid(features);
  const positions = height * width;
  const norms = Float32Array.from({ length: positions }, (_, position) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += values[c * positions + position]! ** 2;
    return Math.sqrt(sum);
  });
  return new Tensor("f32", [height, width], norms);
}

/** Cosine with one patch, over the channels; 0 where a position has no features. [C, H, W] -> [H, W] */
export function similarityMap(features: Tensor, { x, y }: Patch): Tensor {
  const { channels, height, width, values } = featureGrid(features);
  if (!(Number.isInteger(x) && Number.isInteger(y) && x >= 0 && y >= 0 && x < width && y < height)) {
    throw misuse(
      "PATCH",
      `There is no patch (${x}, ${y}): columns are 0 to ${width - 1}, rows 0 to ${height - 1}.`,
    );
  }
  const positions = height * width;
  const norms = normMap(features).toFloat32();
  const chosen = y * width + x;
  const cosines = Float32Array.from({ length: positions }, (_, position) => {
    let sum = 0;
    for (let c = 0; c < channels; c++)
      sum += values[c * positions + position]! * values[c * positions + chosen]!;
    const lengths = norms[position]! * norms[chosen]!;
    return lengths > 0 ? Math.min(Math.max(sum / lengths, -1), 1) : 0;
  });
  return new Tensor("f32", [height, width], cosines);
}

/** More numbers than this are thinned out evenly before the components are sought: they change little, and cost much. */
const mostNumbersFitted = 1 << 21;

const componentColours: readonly Colour[] = [
  [214, 69, 65],
  [62, 160, 85],
  [62, 110, 200],
];

/** `pcaPictures` as tiles, for a sheet or a page of one's own. */
export function pcaTiles(features: readonly Tensor[], options: Display): Tile[] {
  const grids = features.map(featureGrid);
  const channels = grids[0]?.channels ?? 0;
  const other = grids.find((grid) => grid.channels !== channels);
  if (other) {
    throw misuse(
      "SHAPE",
      `Common components need equal numbers of channels, not ${channels} and ${other.channels}.`,
    );
  }
  const rows = grids.map(positionsByChannels);
  const fitted = principalComponents(thinned(rows, channels));
  const scores = rows.map((row) =>
    project(row, channels, fitted.mean.toFloat32(), fitted.components.toFloat32()),
  );
  const ranges = [0, 1, 2].map((k) =>
    valueRange(
      scores.map((score) => score[k]!),
      "robust",
    ),
  );
  const keys = componentColours.map((colour, k) => ({
    colour,
    text: `${Math.round(fitted.ratio[k]! * 100)}%`,
  }));
  return grids.map(({ height, width }, i) => {
    const shares = new Float32Array(3 * height * width);
    scores[i]!.forEach((score, k) => {
      const { min, max } = ranges[k]!;
      shares.set(
        score.map((value) => (max > min ? (value - min) / (max - min) : 0.5)),
        k * height * width,
      );
    });
    const shown = enlarge(new Tensor("f32", [3, height, width], shares), options);
    return {
      image: rgbOfPlanes(shown),
      title: "Principal components",
      legend: { keys },
      caption: "shares of variance",
    };
  });
}

/** [C, H, W] -> [H * W, C] */
function positionsByChannels({ channels, height, width, values }: Grid): Float32Array {
  const positions = height * width;
  const rows = new Float32Array(values.length);
  for (let c = 0; c < channels; c++) {
    for (let position = 0; position < positions; position++)
      rows[position * channels + c] = values[c * positions + position]!;
  }
  return rows;
}

/** All rows of several matrices, or as many evenly spaced ones as may be fitted; two at least. */
function thinned(matrices: readonly Float32Array[], channels: number): Tensor {
  const all = matrices.flatMap((matrix) =>
    Array.from({ length: matrix.length / channels }, (_, i) =>
      matrix.subarray(i * channels, (i + 1) * channels),
    ),
  );
  const count = Math.max(2, Math.min(all.length, Math.floor(mostNumbersFitted / channels)));
  const data = new Float32Array(count * channels);
  for (let i = 0; i < count; i++) data.set(all[Math.floor((i * all.length) / count)]!, i * channels);
  return new Tensor("f32", [count, channels], data);
}

/** Scores of rows along three components: three planes. */
function project(
  rows: Float32Array,
  channels: number,
  mean: Float32Array,
  components: Float32Array,
): Float32Array[] {
  return [0, 1, 2].map((k) =>
    Float32Array.from({ length: rows.length / channels }, (_, i) => {
      let sum = 0;
      for (let c = 0; c < channels; c++)
        sum += (rows[i * channels + c]! - mean[c]!) * components[k * channels + c]!;
      return sum;
    }),
  );
}

export function normTile(features: Tensor, options: Display): Tile {
  const norms = normMap(features);
  const sorted = sortedFinite([norms.toFloat32()]);
  const [median, peak] = [percentile(sorted, 50), sorted.at(-1)!];
  const ratio = median > 0 ? `, peak ${formatNumber(Number((peak / median).toPrecision(2)))} times that` : "";
  return {
    ...mapTile(norms, valueRange([norms.toFloat32()], "minmax"), "viridis", options),
    title: "Norm",
    caption: `median ${formatNumber(median)}${ratio}`,
  };
}

export function deltaTile(delta: Tensor, reference: Tensor | undefined, options: Display): Tile {
  const norms = normMap(delta);
  const mean = (map: Tensor) => map.toFloat32().reduce((sum, value) => sum + value, 0) / map.size;
  const whole = reference ? mean(normMap(reference)) : 0;
  const share =
    whole > 0 ? `, ${formatNumber(Number(((mean(norms) / whole) * 100).toPrecision(2)))}% of the norm` : "";
  return {
    ...mapTile(norms, valueRange([norms.toFloat32()], "max"), "magma", options),
    title: "Change by the text",
    caption: `mean ${formatNumber(mean(norms))}${share}`,
  };
}

export function similarityTile(features: Tensor, patch: Patch, options: Display): Tile {
  const cosines = similarityMap(features, patch);
  const { min } = valueRange([cosines.toFloat32()], "minmax");
  const tile = mapTile(cosines, { min, max: 1 }, "cividis", options);
  const [height, width] = cosines.dims as [number, number];
  markPatch(tile.image, patch, width, height);
  return { ...tile, title: "Similarity", caption: `cosine with patch (${patch.x}, ${patch.y})` };
}

function mapTile(map: Tensor, { min, max }: Range, colormap: ColormapName, options: Display): Tile {
  const image = colorize(enlarge(map, options), { min, max, colormap });
  return { image, legend: { colormap, ...formatRange({ min, max }) } };
}

/** Brings [.., H, W] to the size at which it is shown, the longer side `side` pixels. */
function enlarge(map: Tensor, { side, smooth }: Display): Tensor {
  const [height, width] = displaySize(map, side);
  const longest = Math.max(...map.dims.slice(-2));
  return interpolate(map, [height, width], longest > side ? "area" : smooth ? "bicubic" : "nearest");
}

/** [height, width] in pixels of a grid [.., H, W] whose longer side takes `side` pixels. */
export function displaySize({ dims }: Tensor, side: number): [number, number] {
  const [height, width] = dims.slice(-2) as [number, number];
  const scale = side / Math.max(height, width);
  return [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))];
}

/** Three planes [3, h, w] of shares 0 to 1, as red, green and blue, softened: pure ones would outshine what they show. */
function rgbOfPlanes(planes: Tensor): RgbImage {
  const [, height, width] = planes.dims as [number, number, number];
  const image = blankImage(width, height);
  const values = planes.toFloat32();
  const positions = width * height;
  for (let i = 0; i < positions; i++) {
    const rgb = [0, 1, 2].map((k) => Math.min(Math.max(values[k * positions + i]!, 0), 1));
    const grey = 0.299 * rgb[0]! + 0.587 * rgb[1]! + 0.114 * rgb[2]!;
    image.data.set(
      rgb.map((share) => Math.round(255 * (0.06 + 0.9 * (share + (grey - share) * 0.3)))),
      i * 3,
    );
  }
  return image;
}

/** Frames one patch of a grid of columns x rows, white within black so that it shows on any colour. */
export function markPatch(image: RgbImage, { x, y }: Patch, columns: number, rows: number): void {
  const [left, right] = [x, x + 1].map((column) => Math.floor((column * image.width) / columns)) as [
    number,
    number,
  ];
  const [top, bottom] = [y, y + 1].map((row) => Math.floor((row * image.height) / rows)) as [number, number];
  const around = (pixels: number) => ({
    x: left - pixels,
    y: top - pixels,
    width: right - left + 2 * pixels,
    height: bottom - top + 2 * pixels,
  });
  strokeRectangle(image, around(0), [255, 255, 255]);
  strokeRectangle(image, around(1), [255, 255, 255]);
  strokeRectangle(image, around(2), [0, 0, 0]);
}
