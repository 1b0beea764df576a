/** @file Whether a map looks where the thing is: pointing accuracy, overlap and mass against an object's mask. */

import { formatDims, misuse, type Tensor } from "../tensor/index.js";

/** How a map lies on one object. */
export interface Pointing {
  /** Whether the map's largest place is on the object. */
  hit: boolean;
  /** The object's share of the picture: how often a random place would hit. */
  chance: number;
  /** Overlap over union of the object and the map's largest places, as many as the object has. */
  iou: number;
  /** The object's share of the map's sum, of what lies above the map's smallest value. */
  mass: number;
}

/**
 * Holds a map against a mask of finer or equal grid: places of the map are squares of the mask.
 * @param map [h, w], larger where it looks
 * @param mask [H, W], nonzero on the object; H and W whole multiples of h and w
 * @throws DiffsightError SHAPE when the grids do not fit, MASK when the object is not in the picture
 * @see Zhang et al. 2018 (pointing game)
 */
export function pointing(
  map: Tensor,
  mask: { data: ArrayLike<number>; width: number; height: number },
): Pointing {
  const [height, width] = map.dims as [number, number];
  const { data } = mask;
  const [down, across] = [mask.height / height, mask.width / width];
  if (map.dims.length !== 2 || !Number.isInteger(down) || !Number.isInteger(across)) {
    throw misuse(
      "SHAPE",
      `A map ${formatDims(map.dims)} does not fit a mask of ${mask.height} x ${mask.width}.`,
    );
  }
  const values = map.toFloat32();
  const pixels = mask.height * mask.width;
  let covered = 0;
  for (let i = 0; i < pixels; i++) covered += Number(data[i] !== 0);
  if (covered === 0) throw misuse("MASK", "The object has no pixel in the picture.");

  // Pixels in the order of the map's value: whole squares of the mask at a time.
  const inSquare = new Float64Array(values.length);
  for (let y = 0; y < mask.height; y++) {
    for (let x = 0; x < mask.width; x++) {
      if (data[y * mask.width + x]) inSquare[Math.floor(y / down) * width + Math.floor(x / across)]!++;
    }
  }
  const order = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
  const square = down * across;
  let [taken, both] = [0, 0];
  for (const place of order) {
    const share = Math.min(1, (covered - taken) / square);
    taken += share * square;
    both += share * inSquare[place]!;
    if (taken >= covered) break;
  }
  const least = values[order.at(-1)!]!;
  let [sum, on] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    sum += values[i]! - least;
    on += ((values[i]! - least) * inSquare[i]!) / square;
  }
  return {
    hit: inSquare[order[0]!]! >= square / 2,
    chance: covered / pixels,
    iou: both / (2 * covered - both),
    mass: sum > 0 ? on / sum : covered / pixels,
  };
}
