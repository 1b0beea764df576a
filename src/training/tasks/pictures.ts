/** @file Pictures of a store as batches of pixels. */

import type { Store, Stores } from "../../data/index.js";
import type { RgbImage } from "../../image/index.js";
import { type DType, formatDims, misuse, Tensor } from "../../tensor/index.js";

/** The column of a store of pictures: u8 [height, width, 3]. */
export const pictureColumn = "rgb";

/**
 * The stores that a task needs, by name.
 * @throws DiffsightError DATA_MISSING when a stage's `data` lacks one
 */
export function roles<Name extends string>(data: Stores, ...names: Name[]): Record<Name, Store> {
  const missing = names.find((name) => !data[name]);
  if (missing) {
    const given = Object.keys(data).join(", ") || "nothing";
    throw misuse(
      "DATA_MISSING",
      `data: "${missing}" is missing: the task needs ${names.join(", ")}, not ${given}.`,
    );
  }
  return data as Record<Name, Store>;
}

/** @throws DiffsightError STORE_COLUMN when a store's rows hold something else under this name */
export function checkColumn(
  { columns, folder }: Store,
  name: string,
  dtypes: readonly DType[],
  dims: readonly number[],
): void {
  const column = columns[name];
  if (column && dtypes.includes(column.dtype) && `${column.dims}` === `${dims}`) return;
  const found = column ? `${column.dtype} ${formatDims(column.dims)}` : "missing";
  const wanted = `${dtypes.join(" or ")} ${formatDims(dims)}`;
  throw misuse("STORE_COLUMN", `${folder}: column "${name}" is ${found}, where the task needs ${wanted}.`);
}

/** @throws DiffsightError STORE_COLUMN when a store holds no pictures of side x side */
export function checkPictures(store: Store, side: number): void {
  checkColumn(store, pictureColumn, ["u8"], [side, side, 3]);
}

/** The pictures of some rows. */
export function picturesOf(store: Store, rows: readonly number[]): RgbImage[] {
  const pictures = store.gather(pictureColumn, rows);
  const [, height, width] = pictures.dims as [number, number, number, number];
  const bytes = pictures.data as Uint8Array;
  const size = width * height * 3;
  return rows.map((_, i) => ({ width, height, data: bytes.subarray(i * size, (i + 1) * size) }));
}

/** A square cut out of a picture. */
export function cutOut(image: RgbImage, left: number, top: number, side: number): RgbImage {
  const data = new Uint8Array(side * side * 3);
  for (let row = 0; row < side; row++) {
    const start = ((top + row) * image.width + left) * 3;
    data.set(image.data.subarray(start, start + side * 3), row * side * 3);
  }
  return { width: side, height: side, data };
}

/** Tensors [1, ...] as one: [n, ...] */
export function stacked(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors;
  const data = new Float32Array(tensors.length * first!.size);
  tensors.forEach((tensor, i) => {
    data.set(tensor.toFloat32(), i * first!.size);
  });
  return Tensor.f32([tensors.length, ...first!.dims.slice(1)], data);
}
