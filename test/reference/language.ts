/** @file The operations of language models by their definitions, in doubles. */

import type { OpName } from "../../src/graph/index.js";
import { count } from "../../src/tensor/index.js";
import type { Operation } from "./operations.js";

export const language: { [K in "rotary" | "cachedAttention" | "quantizedLinear"]: Operation<K> } = {
  rotary: ({ attributes: { heads }, dims }, [x, cos, sin]) => {
    const channels = dims[2]!;
    const size = channels / heads;
    const half = size / 2;
    return new Float64Array(count(dims)).map((_, at) => {
      const token = Math.floor(at / channels) % cos!.dims[0]!;
      const place = at % size;
      const angle = token * half + (place % half);
      const other = place < half ? -x!.data[at + half]! : x!.data[at - half]!;
      return x!.data[at]! * cos!.data[angle]! + other * sin!.data[angle]!;
    });
  },

  cachedAttention: ({ attributes: { heads, scale }, dims }, [q, k, v, pastKeys, pastValues, bias]) => {
    const [, length] = dims as [number, number, number];
    const [past, kvHeads, width] = pastKeys!.dims as [number, number, number];
    const widthV = pastValues!.dims[2]!;
    const groups = heads / kvHeads;
    const keys = [...pastKeys!.data, ...k!.data];
    const values = [...pastValues!.data, ...v!.data];
    const results = new Float64Array(count(dims));
    for (let head = 0; head < heads; head++) {
      const shared = Math.floor(head / groups);
      for (let i = 0; i < length; i++) {
        const scores = Array.from({ length: past + length }, (_, j) => {
          let sum = 0;
          for (let d = 0; d < width; d++) {
            sum += q!.data[(i * heads + head) * width + d]! * keys[(j * kvHeads + shared) * width + d]!;
          }
          return scale * sum + bias!.data[((head % groups) * length + i) * (past + length) + j]!;
        });
        const top = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - top));
        const total = weights.reduce((sum, one) => sum + one, 0);
        weights.forEach((weight, j) => {
          for (let d = 0; d < widthV; d++) {
            results[(i * heads + head) * widthV + d]! +=
              (weight / total) * values[(j * kvHeads + shared) * widthV + d]!;
          }
        });
      }
    }
    return results;
  },

  quantizedLinear: ({ attributes: { bits, block }, dims }, [x, packed, scales, bias]) => {
    const out = dims.at(-1)!;
    const terms = x!.dims.at(-1)!;
    const weights = Float64Array.from({ length: out * terms }, (_, i) => {
      const whole = bits === 8 ? packed!.data[i]! : (packed!.data[i >> 1]! >> (4 * (i & 1))) & 15;
      return (whole - 2 ** (bits - 1)) * scales!.data[Math.floor(i / block)]!;
    });
    return new Float64Array(count(dims)).map((_, at) => {
      const [row, column] = [Math.floor(at / out), at % out];
      let sum = bias?.data[column] ?? 0;
      for (let i = 0; i < terms; i++) sum += x!.data[row * terms + i]! * weights[column * terms + i]!;
      return sum;
    });
  },
} satisfies Partial<{ [K in OpName]: Operation<K> }>;
