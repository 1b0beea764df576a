/** @file Remembers results by key up to a number of bytes, the least recently used ones leaving first. */

import type { Tensor } from "../tensor/index.js";

export type Tensors = Readonly<Record<string, Tensor>>;

function bytesOf(tensors: Tensors): number {
  return Object.values(tensors).reduce((total, { data }) => total + data.byteLength, 0);
}

export class Memory {
  readonly #entries = new Map<string, Tensors>();
  #bytes = 0;

  constructor(readonly limit: number) {}

  /** The remembered tensors of this key, or those that `compute` gives now. */
  async recall(key: string, compute: () => Promise<Tensors>): Promise<Tensors> {
    const known = this.#entries.get(key);
    const tensors = known ?? (await compute());
    this.#entries.delete(key);
    this.#entries.set(key, tensors);
    if (!known) this.#bytes += bytesOf(tensors);
    for (const [oldest, old] of this.#entries) {
      if (this.#bytes <= this.limit || oldest === key) break;
      this.#entries.delete(oldest);
      this.#bytes -= bytesOf(old);
    }
    return tensors;
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }
}
