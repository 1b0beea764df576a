/** @file A prefix tree of strings, which finds every entry that begins at a place of a text. */

/** An entry that was found: its value, and where in the text it ends. */
export interface Found {
  value: number;
  end: number;
}

export class Trie {
  /** From node * 2^16 + UTF-16 code unit to the next node; node 0 is the root. */
  readonly #next = new Map<number, number>();
  readonly #values: (number | undefined)[] = [undefined];

  constructor(entries: Iterable<readonly [text: string, value: number]>) {
    for (const [text, value] of entries) {
      let node = 0;
      for (let i = 0; i < text.length; i++) {
        const edge = node * 65536 + text.charCodeAt(i);
        node = this.#next.get(edge) ?? this.#values.push(undefined) - 1;
        this.#next.set(edge, node);
      }
      this.#values[node] = value;
    }
  }

  /** The entries that begin at `start`, the shortest first. */
  *prefixes(text: string, start: number): Generator<Found> {
    let node: number | undefined = 0;
    for (let end = start; end < text.length; ) {
      node = this.#next.get(node * 65536 + text.charCodeAt(end++));
      if (node === undefined) return;
      const value = this.#values[node];
      if (value !== undefined) yield { value, end };
    }
  }

  /** The longest entry that begins at `start`. */
  longest(text: string, start: number): Found | undefined {
    // Most places of a text begin no entry.
    if (!this.#next.has(text.charCodeAt(start))) return undefined;
    let longest: Found | undefined;
    for (const found of this.prefixes(text, start)) longest = found;
    return longest;
  }
}
