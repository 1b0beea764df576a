/** @file Dropout as inputs of the graph: masks that are drawn outside, from the seed, the step and the part alone. */

import { input, type Value } from "../graph/index.js";
import { type Dims, misuse, type Tensor, type TorchGenerator } from "../tensor/index.js";

export interface Mask {
  value: Value<"input">;
  rate: number;
}

/** The masks that a graph asks for, in the order in which it does. */
export class Masks {
  readonly #masks = new Map<string, Mask>();

  /** @throws misuse GRAPH when two dropouts of a graph have one name */
  add(name: string, dims: Dims, rate: number): Value {
    if (this.#masks.has(name)) throw misuse("GRAPH", `Two dropouts are called "${name}".`);
    const value = input(`dropout ${name}`, dims);
    this.#masks.set(name, { value, rate });
    return value;
  }

  get all(): readonly Mask[] {
    return [...this.#masks.values()];
  }
}

/** Fills a mask: 0 with a probability of `rate`, else 1 / (1 - rate). */
export function drawMask(place: Tensor, rate: number, random: TorchGenerator): void {
  const kept = 1 / (1 - rate);
  const mask = place.data as Float32Array;
  const drawn = random.rand([mask.length]).data as Float32Array;
  for (let i = 0; i < mask.length; i++) mask[i] = drawn[i]! < rate ? 0 : kept;
}
