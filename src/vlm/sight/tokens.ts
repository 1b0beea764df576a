/** @file A grid of features as tokens, a place each or several places together. */

import { formatDims, misuse, Tensor } from "../../tensor/index.js";

/**
 * Places as tokens, row by row. With `fold` k the k x k places of a block become one token, their channels side by side:
 * fewer tokens, and nothing is lost ("space to depth", as InternVL's pixel shuffle).
 * @param grid [C, H, W]; H and W are whole multiples of k
 * @returns [H W / k², C k²]
 * @throws misuse FOLD
 */
export function gridTokens(grid: Tensor, fold = 1): Tensor {
  const [channels, height, width] = grid.dims as [number, number, number];
  if (height % fold !== 0 || width % fold !== 0) {
    throw misuse(
      "FOLD",
      `Features ${formatDims(grid.dims)} do not fold by ${fold}: both sides must be multiples of it.`,
    );
  }
  const values = grid.toFloat32();
  const [rows, columns] = [height / fold, width / fold];
  const tokens = new Float32Array(values.length);
  let at = 0;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      for (let c = 0; c < channels; c++) {
        for (let dy = 0; dy < fold; dy++) {
          for (let dx = 0; dx < fold; dx++) {
            tokens[at++] = values[(c * height + y * fold + dy) * width + x * fold + dx]!;
          }
        }
      }
    }
  }
  return Tensor.f32([rows * columns, channels * fold * fold], tokens);
}
