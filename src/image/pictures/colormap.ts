/** @file Colour maps, and maps of numbers drawn with them. */

import { misuse, type Tensor } from "../../tensor/index.js";
import { blankImage, type RgbImage } from "../image.js";
import { type Normalise, plane, valueRange } from "./values.js";

/**
 * Anchors at even distances, RGB in hexadecimal. `viridis`, `magma` and `inferno` (S. van der Walt, N. Smith, CC0) and
 * `cividis` (Nunez, Anderton, Renslow 2018; J. Davies' polynomial) are every fifth of their 256 colours. `blue-red`
 * runs through OKLab: lightness 0.40 to 0.975 and back in even steps, hues 255 and 26 degrees.
 */
const anchors = {
  viridis: [
    "44015446085c471063481769481d6f482475472a7a46307e453781433d844142873f48893d4e8a3a538b38598c355e8d",
    "33638d31688e2e6d8e2c718e2a768e297b8e27808e25848e23898e218e8d20928c1f978b1e9c891fa18821a58524aa83",
    "28ae802eb37c35b7793dbc7446c06f50c46a5ac86465cb5e70cf577cd25089d54895d840a2da37b0dd2fbddf26cae11f",
    "d8e219e5e419f1e51dfde725",
  ].join(""),
  magma: [
    "00000402020b0504160907200e0b2b140e361a104221114e29115a311165390f6e420f754a107952137c5a167e621980",
    "6a1c81721f81792282812581892881912b81992d80a1307eaa337db2357bba3878c23b75ca3e72d2426fd9466be04c67",
    "e75263ec5860f1605df4695cf7725cf97b5dfb8560fc8e64fd9869fea16efeaa74feb47bfebd82fec68afecf92fed89a",
    "fde2a3fdebacfcf4b6fcfdbf",
  ].join(""),
  inferno: [
    "00000402020c0504170a072210092d160b391e0c45260c512f0a5b380962400a67490b6a510e6c59106e61136e69166e",
    "71196e781c6d801f6c88226a902568982766a02a63a82e5fb0315bb73557bf3952c63d4dcc4248d34743d94d3ddf5337",
    "e45a31e9612bed6925f1711ff47918f78212f98b0bfa9407fb9d07fca60cfcb014fbba1ffac42af8cd37f6d746f4e156",
    "f2ea69f2f27df5f992fcffa4",
  ].join(""),
  cividis: [
    "00205100245900275f002b64052e6709326a0f356c15396d1c3c6e23406e29436e30476e374a6e3e4e6e44526d4b556d",
    "51596e575c6e5c606e62646f67676f6c6b70706f717572727976737d7a74817d758581768985778e8978928d78969178",
    "9b95789f9978a49d78a9a177aea575b4a974baae72bfb26fc5b66cccbb69d2bf66d8c462dec85ee4cd5aead256f0d652",
    "f4db4ef8e04bfbe548fdea45",
  ].join(""),
  "blue-red": [
    "01468c0d50991a5ba52765b03470ba417bc44f87cd5e92d46d9ddb7ca8e18db4e69dbfebaecaeec0d5f1d2e1f3e4ecf5",
    "f7f7f7f7e6e4f7d6d2f6c6c1f3b6aff0a69feb978ee6877fdf7870d86961cf5b54c64d47bb3f3ab0312fa4232497151a",
    "8a0310",
  ].join(""),
} as const;

/** Sequential: `viridis`, `magma`, `inferno`, `cividis` (for colour-blind readers). Diverging: `blue-red`. */
export type ColormapName = keyof typeof anchors;

export const colormapNames = Object.keys(anchors) as ColormapName[];

const tables = new Map<ColormapName, Uint8Array>();

/** The 256 colours of a map, RGB one after the other. */
export function colormapTable(name: ColormapName): Uint8Array {
  const known = tables.get(name);
  if (known) return known;
  if (!Object.hasOwn(anchors, name)) {
    throw misuse("UNKNOWN_COLORMAP", `Unknown colour map "${name}". There are: ${colormapNames.join(", ")}.`);
  }
  const points = anchors[name].match(/../g)!.map((digits) => Number.parseInt(digits, 16));
  const last = points.length / 3 - 1;
  const table = Uint8Array.from({ length: 768 }, (_, i) => {
    const position = (Math.floor(i / 3) / 255) * last;
    const before = Math.min(Math.floor(position), last - 1);
    const [low, high] = [points[before * 3 + (i % 3)]!, points[before * 3 + 3 + (i % 3)]!];
    return Math.round(low + (high - low) * (position - before));
  });
  tables.set(name, table);
  return table;
}

/** The grey that stands for NaN. */
const noNumber = 150;

/**
 * Draws a map of numbers, one pixel a number.
 * @param map [height, width], leading axes of size 1 allowed
 * @param options the numbers at the two ends of the colour map (default: the map's own); beyond them colours stay the same
 */
export function colorize(
  map: Tensor,
  { min, max, normalise = "minmax", colormap = "viridis" }: ColorizeOptions = {},
): RgbImage {
  const { values, width, height } = plane(map);
  const range = valueRange([values], normalise);
  const low = min ?? range.min;
  const high = max ?? range.max;
  const table = colormapTable(colormap);
  const image = blankImage(width, height);
  for (let i = 0; i < values.length; i++) {
    const step = colourStep(values[i]!, low, high);
    for (let channel = 0; channel < 3; channel++) {
      image.data[i * 3 + channel] = step === undefined ? noNumber : table[step * 3 + channel]!;
    }
  }
  return image;
}

export interface ColorizeOptions {
  min?: number;
  max?: number;
  /** How the ends are chosen where `min` or `max` is not given. */
  normalise?: Normalise;
  colormap?: ColormapName;
}

/** Index into a colour table; a map without any spread lies at its low end. */
function colourStep(value: number, min: number, max: number): number | undefined {
  if (Number.isNaN(value)) return undefined;
  if (value <= min || !(max > min)) return 0;
  return value >= max ? 255 : Math.round(((value - min) / (max - min)) * 255);
}
