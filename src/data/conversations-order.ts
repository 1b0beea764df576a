/** @file The order of conversations in training: those of one kind and of similar length together, as LLaVA's trainer. */

import { misuse, type TorchGenerator } from "../tensor/index.js";

export interface GroupOptions {
  /** Samples of one device's step. */
  batchSize: number;
  /** Devices times steps that are accumulated: parts of a batch that should cost the same. */
  parts?: number;
}

/**
 * One epoch's order (`group_by_modality_length`): batches are all pictures or all text, but for the last; within a batch
 * the longest come first, dealt out so that its parts have similar lengths.
 * @param lengths words of each conversation, negative of text alone, never 0
 * @throws misuse RANGE
 * @see LLaVA's `get_modality_length_grouped_indices`; same draws from the same torch generator
 */
export function modalityGroupedOrder(
  lengths: ArrayLike<number>,
  generator: TorchGenerator,
  { batchSize, parts = 1 }: GroupOptions,
): number[] {
  const all = Array.from(lengths);
  if (batchSize < 1 || parts < 1 || all.includes(0)) {
    throw misuse(
      "RANGE",
      `Lengths must not be 0; batches of ${batchSize} in ${parts} parts need at least 1 each.`,
    );
  }
  const rows = all.map((_, i) => i);
  const kinds = [rows.filter((i) => all[i]! > 0), rows.filter((i) => all[i]! < 0)];
  const group = (kind: readonly number[]) =>
    lengthGroups(
      kind.map((i) => Math.abs(all[i]!)),
      generator,
      batchSize,
      parts,
    ).map((batch) => batch.map((i) => kind[i]!));
  const used = kinds.filter((kind) => kind.length > 0);
  if (used.length === 1) return group(used[0]!).flat();
  const batches = used.map(group);
  const rest = batches.flatMap((kind) => kind.at(-1)!);
  const full = batches.flatMap((kind) => kind.slice(0, -1));
  const shuffled = permutation(full.length, generator).flatMap((i) => full[i]!);
  return [...shuffled, ...rest.sort((a, b) => a - b)];
}

/** A random order cut into batches, each sorted by length and dealt out to its parts. */
function lengthGroups(
  lengths: readonly number[],
  generator: TorchGenerator,
  batchSize: number,
  parts: number,
): number[][] {
  const order = permutation(lengths.length, generator);
  const size = batchSize * parts;
  return Array.from({ length: Math.ceil(order.length / size) }, (_, i) => {
    const batch = order.slice(i * size, (i + 1) * size).sort((a, b) => lengths[b]! - lengths[a]!);
    return evenParts(batch, lengths, parts).flat();
  });
}

function evenParts(batch: readonly number[], lengths: readonly number[], parts: number): number[][] {
  if (batch.length % parts !== 0) {
    return Array.from({ length: parts }, (_, part) => batch.filter((_, i) => i % parts === part));
  }
  const dealt = Array.from({ length: parts }, (): number[] => []);
  const sums = new Array<number>(parts).fill(0);
  for (const index of batch) {
    const shortest = sums.indexOf(Math.min(...sums));
    dealt[shortest]!.push(index);
    const isFull = dealt[shortest]!.length === batch.length / parts;
    sums[shortest] = isFull ? Number.POSITIVE_INFINITY : sums[shortest]! + lengths[index]!;
  }
  return dealt;
}

function permutation(count: number, generator: TorchGenerator): number[] {
  return Array.from(generator.randperm(count).data as BigInt64Array, Number);
}
