/** @file Products of two matrices, whatever the number of threads. */

import type { Emitter } from "./emitter.js";
import { productVaries } from "./threads.js";

/** A matrix of a product: [rows, terms] and [terms, columns], or the same with its axes swapped. */
export interface Factor {
  name: string;
  transposed: boolean;
}

/** Sizes of a product. */
export interface ProductSizes {
  rows: number;
  terms: number;
  columns: number;
}

/** a b [rows, columns]; computed as the transpose of bᵀ aᵀ where its bits would depend on the number of threads. */
export function product(a: Factor, b: Factor, sizes: ProductSizes, to: Emitter): string {
  const { rows, terms, columns } = sizes;
  if (!productVaries(rows, terms, columns)) return gemm(a, b, to);
  return to.transpose(gemm(turned(b), turned(a), to), [1, 0]);
}

function gemm(a: Factor, b: Factor, to: Emitter): string {
  return to.emit("Gemm", [a.name, b.name], { transA: Number(a.transposed), transB: Number(b.transposed) });
}

const turned = ({ name, transposed }: Factor): Factor => ({ name, transposed: !transposed });
