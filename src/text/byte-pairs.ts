/** @file Byte-level byte-pair encoding (Sennrich et al. 2016; GPT-2's printable bytes). */

export type TokenId = number;

/** One entry of a merge list: two tokens that stand side by side, and the token that they become. */
export interface Merge {
  left: TokenId;
  right: TokenId;
  merged: TokenId;
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

/** Merges in the order of their list, looked up by pair. */
export class MergeTable {
  readonly #ranks = new Map<number, number>();
  readonly #merged: TokenId[];
  readonly #size: number;

  /** @param size one more than the highest token id, at most 2^26 */
  constructor(merges: readonly Merge[], size: number) {
    this.#size = size;
    this.#merged = merges.map(({ merged }) => merged);
    merges.forEach(({ left, right }, rank) => {
      this.#ranks.set(left * size + right, rank);
    });
  }

  /**
   * Merges neighbours until no pair of the list is left: always the pair that is listed first, of equal ones the
   * leftmost. In n log n steps, so that a word of a million characters takes seconds, not hours.
   */
  apply(symbols: readonly TokenId[]): TokenId[] {
    const ids = [...symbols];
    const end = ids.length;
    const previous = Int32Array.from(ids, (_, i) => i - 1);
    const next = Int32Array.from(ids, (_, i) => i + 1);
    const rankAt = (at: number): number | undefined =>
      at >= 0 && next[at]! < end ? this.#ranks.get(ids[at]! * this.#size + ids[next[at]!]!) : undefined;

    const queue = new SmallestFirst();
    const propose = (at: number): void => {
      const rank = rankAt(at);
      if (rank !== undefined) queue.push(rank * positions + at);
    };
    for (let at = 0; at < end; at++) propose(at);

    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      const at = entry % positions;
      const merged = this.#merged[Math.floor(entry / positions)]!;
      const rank = rankAt(at);
      // A proposal is out of date when one of its two symbols has been merged otherwise in the meantime.
      if (ids[at] === gone || rank === undefined || this.#merged[rank] !== merged) continue;
      const right = next[at]!;
      ids[at] = merged;
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
