/** @file One sheet for a file of features: a row of pictures a tensor. */

import { formatDims, misuse, Tensor } from "../../tensor/index.js";
import type { RgbImage } from "../image.js";
import { resize } from "../resize.js";
import {
  type Display,
  deltaTile,
  displaySize,
  isGrid,
  markPatch,
  normTile,
  type Patch,
  pcaTiles,
  similarityTile,
} from "./features.js";
import { type Section, type SheetOptions, sheet, type Tile } from "./sheet.js";

export const featureKinds = ["pca", "norm", "delta", "similarity"] as const;
export type FeatureKind = (typeof featureKinds)[number];

export interface FeatureSheetOptions extends SheetOptions {
  /** The picture that the features are of, in the geometry in which the network saw it. */
  image?: RgbImage;
  kinds?: readonly FeatureKind[];
  /** The place whose similarity to all others is shown, as shares of width and height; the centre unless told. */
  point?: { x: number; y: number };
  /** Pixels of the longer side of each picture. */
  side?: number;
  smooth?: boolean;
}

interface NamedGrid {
  name: string;
  /** `<tap>` of `<tap>/t<timestep>/<part>`. */
  tap: string;
  timestep: string;
  part: string;
  tensor: Tensor;
}

/**
 * Draws features by kind, a row a tensor, in the map's order. Components and their colours are common to all parts of one
 * tap and timestep. The change is that of the row's tap and timestep: its part `delta`, or else conditional - unconditional; it is
 * drawn in the first row that it belongs to. Tensors without a grid (tokens x channels) are named, not drawn.
 * @param tensors `<tap>/t<timestep>/<part>` -> [C, H, W]; other names are taken as a tap of their own
 * @throws misuse when no tensor is a grid, or the options are out of range
 */
export function featureSheet(
  tensors: ReadonlyMap<string, Tensor>,
  {
    image,
    kinds = featureKinds,
    point = { x: 0.5, y: 0.5 },
    side = 192,
    smooth = false,
    ...head
  }: FeatureSheetOptions = {},
): RgbImage {
  check(kinds, point);
  const grids = [...tensors].filter(([, tensor]) => isGrid(tensor)).map(parse);
  if (grids.length === 0) {
    const found = [...tensors].map(([name, { dims }]) => `${name} ${formatDims(dims)}`).join(", ");
    throw misuse(
      "NO_GRID",
      `There are no features [C, H, W] to draw among: ${found || "no tensors at all"}.`,
    );
  }
  const display: Display = { side, smooth };
  const components = kinds.includes("pca") ? componentTiles(grids, display) : undefined;
  const drawnChanges = new Set<string>();

  const sections: Section[] = [];
  for (const grid of rowsOf(grids)) {
    const { tensor, tap, timestep, part } = grid;
    const [height, width] = tensor.dims.slice(-2) as [number, number];
    const patch = { x: cell(point.x, width), y: cell(point.y, height) };
    const place = `${tap}/${timestep}`;
    const draw: Record<FeatureKind, () => Tile | undefined> = {
      pca: () => components?.get(grid),
      norm: () => normTile(tensor, display),
      delta: () => {
        const change = changeAt(grids, place);
        if (!change || drawnChanges.has(place)) return undefined;
        drawnChanges.add(place);
        return deltaTile(change.delta, change.reference, display);
      },
      similarity: () => similarityTile(tensor, patch, display),
    };
    const tiles = kinds.map((kind) => draw[kind]());
    const input = image ? [inputTile(image, tensor, patch, display, kinds.includes("similarity"))] : [];
    sections.push({ heading: tap, note: describe(timestep, part, tensor), tiles: [...input, ...tiles] });
  }
  for (const [name, tensor] of tensors) {
    if (!isGrid(tensor))
      sections.push({ heading: name, note: `${formatDims(tensor.dims)}: no grid to draw`, tiles: [] });
  }
  return sheet(withoutEmptyColumns(sections), head);
}

function check(kinds: readonly FeatureKind[], { x, y }: { x: number; y: number }): void {
  const unknown = kinds.find((kind) => !featureKinds.includes(kind));
  if (unknown !== undefined || kinds.length === 0) {
    throw misuse(
      "UNKNOWN_KIND",
      `Unknown kind of picture "${unknown ?? ""}". There are: ${featureKinds.join(", ")}.`,
    );
  }
  if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) {
    throw misuse("POINT", `A point lies between (0, 0) and (1, 1) of the picture, not at (${x}, ${y}).`);
  }
}

function parse([name, tensor]: [string, Tensor]): NamedGrid {
  const match = /^(.+)\/(t[\d.]+)\/(guided|conditional|unconditional|delta)$/.exec(name);
  const [, tap = name, timestep = "", part = ""] = match ?? [];
  return { name, tap, timestep, part, tensor };
}

/** A change has a row of its own only where nothing else of its tap and timestep was kept. */
function rowsOf(grids: readonly NamedGrid[]): NamedGrid[] {
  const others = new Set(
    grids.filter(({ part }) => part !== "delta").map(({ tap, timestep }) => `${tap}/${timestep}`),
  );
  return grids.filter(({ tap, timestep, part }) => part !== "delta" || !others.has(`${tap}/${timestep}`));
}

/** The change at one tap and timestep, and the features whose size it is compared to. */
function changeAt(
  grids: readonly NamedGrid[],
  place: string,
): { delta: Tensor; reference: Tensor | undefined } | undefined {
  const part = (wanted: string) =>
    grids.find(({ tap, timestep, part }) => `${tap}/${timestep}` === place && part === wanted)?.tensor;
  const [conditional, unconditional] = [part("conditional"), part("unconditional")];
  const reference = unconditional ?? conditional ?? part("guided");
  const delta = part("delta") ?? (conditional && unconditional && difference(conditional, unconditional));
  return delta && { delta, reference };
}

function difference(a: Tensor, b: Tensor): Tensor {
  const subtracted = b.toFloat32();
  return new Tensor(
    "f32",
    a.dims,
    a.toFloat32().map((value, i) => value - subtracted[i]!),
  );
}

/** Components are sought once for the parts of one tap and timestep, so that their colours can be compared. */
function componentTiles(grids: readonly NamedGrid[], display: Display): Map<NamedGrid, Tile> {
  const byPlace = new Map<string, NamedGrid[]>();
  for (const grid of rowsOf(grids)) {
    const key = `${grid.tap}/${grid.timestep}`;
    byPlace.set(key, [...(byPlace.get(key) ?? []), grid]);
  }
  const tiles = new Map<NamedGrid, Tile>();
  for (const rows of byPlace.values()) {
    const drawn = pcaTiles(
      rows.map(({ tensor }) => tensor),
      display,
    );
    for (const [i, row] of rows.entries()) tiles.set(row, drawn[i]!);
  }
  return tiles;
}

function cell(share: number, cells: number): number {
  return Math.min(Math.floor(share * cells), cells - 1);
}

function inputTile(image: RgbImage, tensor: Tensor, patch: Patch, { side }: Display, marked: boolean): Tile {
  const [height, width] = displaySize(tensor, side);
  const shown = resize(image, width, height, "bicubic");
  const [rows, columns] = tensor.dims.slice(-2) as [number, number];
  if (marked) markPatch(shown, patch, columns, rows);
  return { image: shown, title: "Picture" };
}

function describe(timestep: string, part: string, tensor: Tensor): string {
  const size = tensor.dims.slice(-3).join(" × ");
  return [timestep.replace("t", "t = "), part, size].filter(Boolean).join(" · ");
}

/** Kinds that no row has take no room. */
function withoutEmptyColumns(sections: readonly Section[]): Section[] {
  const used = (column: number) => sections.some(({ tiles }) => tiles[column] !== undefined);
  return sections.map((section) => ({
    ...section,
    tiles: section.tiles.filter((_, column) => used(column)),
  }));
}
