/** @file Patches of several encoders on one grid: by area average along an axis that shrinks, bilinear along one that grows. */

import { z } from "zod";
import { slice, type Value } from "../../graph/index.js";
import { resampleTokens, resampling } from "../../models/index.js";
import { misuse } from "../../tensor/index.js";
import type { NamedShape, Stream } from "./fusion.js";

const side = z.number().int().min(1).max(256);

/** Rows and columns, or one number for both. */
export const gridSchema = z.union([side.transform((n): [number, number] => [n, n]), z.tuple([side, side])]);

/**
 * The grid that streams meet on: the wanted one, else the first stream's.
 * @throws misuse FUSION when a stream has none
 */
export function meetingGrid(
  inputs: readonly NamedShape[],
  wanted: readonly [number, number] | undefined,
): readonly [number, number] {
  const grids = inputs.map(({ grid, name }) => {
    if (grid) return grid;
    throw misuse(
      "FUSION",
      `The tokens of "${name}" are no grid; only patches of a picture can be brought to one.`,
    );
  });
  return wanted ?? grids[0]!;
}

/** A stream's patches, its class token left out, on another grid: [B, rows columns, C] */
export function patchesOn(stream: Stream, grid: readonly [number, number]): Value {
  const own = stream.grid!;
  const count = own[0] * own[1];
  const { tokens, value } = stream;
  const patches = tokens === count ? value : slice(value, 1, tokens - count, tokens);
  return resampleTokens(patches, own, grid, (from, to) =>
    resampling(from, to, to < from ? "area" : "bilinear"),
  );
}
