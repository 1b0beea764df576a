/** @file Chance as a function: what is drawn depends on the seed, the step and the part, never on what was drawn before. */

import { TorchGenerator } from "../tensor/index.js";

/** Mixes whole numbers to 32 bits (Murmur hash's third version, its rounds and its end). */
function mix(...numbers: readonly number[]): number {
  let hash = 0x9747b28c;
  for (const number of numbers) {
    let block = Math.imul(number | 0, 0xcc9e2d51);
    block = Math.imul((block << 15) | (block >>> 17), 0x1b873593);
    hash ^= block;
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** What a generator is for, so that no two uses draw the same numbers. */
const purposes = ["initial", "order", "train", "validation", "dropout", "measured"] as const;

/** The generator of one purpose at one place. */
export function randomAt(
  purpose: (typeof purposes)[number],
  seed: number,
  ...place: readonly number[]
): TorchGenerator {
  const [low, high] = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  return new TorchGenerator(mix(purposes.indexOf(purpose), low, high, ...place));
}

/** The order of examples: every epoch another one, in which each example comes once. */
export class Order {
  #epoch = -1;
  #order: ArrayLike<number> = [];

  /** @param shuffle draws an epoch's order; default: any */
  constructor(
    readonly seed: number,
    readonly examples: number,
    readonly shuffle: (random: TorchGenerator) => ArrayLike<number> = (random) =>
      Int32Array.from(random.randperm(examples).data as BigInt64Array, Number),
  ) {}

  /** The examples at places from .. from + length - 1 of the endless row of epochs. */
  rows(from: number, length: number): number[] {
    return Array.from({ length }, (_, i) => {
      const epoch = Math.floor((from + i) / this.examples);
      if (epoch !== this.#epoch) {
        this.#order = this.shuffle(randomAt("order", this.seed, epoch));
        this.#epoch = epoch;
      }
      return this.#order[(from + i) % this.examples]!;
    });
  }
}
