/** @file Byte-level byte-pair encoding (Sennrich et al. 2016; GPT-2's printable bytes). */

export type TokenId = number;

/** One entry of a merge list: two tokens that stand side by side, and the token that they become. */
export interface Merge {
  left: TokenId;
  right: TokenId;
  merged: TokenId;
  /** Lower ones are merged first, equal ones from the left on; its place in the list unless told. */
  rank?: number;
}

/**
 * GPT-2 writes each byte as one printable character: those of Latin 1 stand for themselves, the others are moved
 * behind U+0100 in order.
 */
export const byteCharacters: readonly string[] = (() => {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  let moved = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : moved++));
})();

const byteOfCharacter = new Map(byteCharacters.map((character, byte) => [character, byte]));

/** The bytes that a token of the vocabulary stands for; undefined when it is not written in byte characters. */
export function tokenBytes(token: string): number[] | undefined {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = byteOfCharacter.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return bytes;
}

/** Merges with their ranks, looked up by pair. */
export class MergeTable {
  readonly #merges = new Map<number, { rank: number; merged: TokenId }>();
  /** What the pairs of a rank become. */
  readonly #merged: TokenId[] = [];
  readonly #size: number;

  /** @param size one more than the highest token id, at most 2^26 */
  constructor(merges: readonly Merge[], size: number) {
    this.#size = size;
    merges.forEach(({ left, right, merged, rank }, place) => {
      this.#merges.set(left * size + right, { rank: rank ?? place, merged });
      this.#merged[rank ?? place] = merged;
    });
  }

  /**
   * Merges neighbours until no pair of the list is left: always the pair of the lowest rank, of equal ones the
   * leftmost. In n log n steps, so that a word of a million characters takes seconds, not hours.
   */
  apply(symbols: readonly TokenId[]): TokenId[] {
    const ids = [...symbols];
    const end = ids.length;
    const previous = Int32Array.from(ids, (_, i) => i - 1);
    const next = Int32Array.from(ids, (_, i) => i + 1);
    const mergeAt = (at: number) =>
      at >= 0 && next[at]! < end ? this.#merges.get(ids[at]! * this.#size + ids[next[at]!]!) : undefined;

    const queue = new SmallestFirst();
    const propose = (at: number): void => {
      const merge = mergeAt(at);
      if (merge) queue.push(merge.rank * positions + at);
    };
    for (let at = 0; at < end; at++) propose(at);

    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      const at = entry % positions;
      const rank = Math.floor(entry / positions);
      const merge = ids[at] === gone ? undefined : mergeAt(at);
      // A proposal is out of date when one of its two symbols has been merged otherwise in the meantime.
      if (!merge || (merge.rank !== rank && merge.merged !== this.#merged[rank])) continue;
      const right = next[at]!;
      ids[at] = merge.merged;
      ids[right] = gone;
      next[at] = next[right]!;
      if (next[at]! < end) previous[next[at]!] = at;
      propose(previous[at]!);
      propose(at);
    }
    return ids.filter((id) => id !== gone);
  }
}

const gone = -1;
/** More than a word has symbols: an entry of the queue is rank * positions + position, exact in f64. */
const positions = 2 ** 32;

/** A binary heap of numbers. */
class SmallestFirst {
  readonly #heap: number[] = [];

  push(value: number): void {
    const heap = this.#heap;
    let at = heap.push(value) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= value) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = value;
  }

  pop(): number | undefined {
    const heap = this.#heap;
    const smallest = heap[0];
    const value = heap.pop();
    if (value === undefined || heap.length === 0) return smallest;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = value;
    return smallest;
  }
}
