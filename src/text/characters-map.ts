/**
 * @file SentencePiece's precompiled normalisation: sequences of characters and what replaces them.
 * The bytes: length of a double array (u32), the double array (Darts-clone), the replacements, each ended by a 0.
 */

/** The longest replacement that begins at a place of a text. */
export interface Replacement {
  text: string;
  end: number;
}

export class CharactersMap {
  readonly #units: Uint32Array;
  readonly #replacements: Uint8Array;

  /** @throws RangeError when the length does not fit the bytes */
  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = bytes.length < 4 ? -1 : view.getUint32(0, true);
    if (length < 0 || length % 4 !== 0 || length > bytes.length - 4) {
      throw new RangeError(`its double array has ${length} bytes of ${bytes.length}`);
    }
    this.#units = Uint32Array.from({ length: length / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#replacements = bytes.subarray(4 + length);
  }

  /** The longest sequence of the map that begins at `start`. */
  longest(text: string, start: number): Replacement | undefined {
    return this.#find(text, start, false);
  }

  /** What the shortest sequence of the map that a text begins with becomes. */
  shortest(text: string): string | undefined {
    return this.#find(text, 0, true)?.text;
  }

  #find(text: string, start: number, isFirst: boolean): Replacement | undefined {
    let found: { value: number; end: number } | undefined;
    let node = offset(this.#units[0] ?? 0);
    for (let at = start; at < text.length; ) {
      const character = String.fromCodePoint(text.codePointAt(at)!);
      at += character.length;
      for (const byte of utf8(character)) {
        node ^= byte;
        const unit = this.#units[node];
        // A unit's label is its byte; a leaf's has the highest bit.
        if (unit === undefined || (unit & 0x800000ff) !== byte) return this.#replacement(found);
        node ^= offset(unit);
        if (unit & 0x100) found = { value: (this.#units[node] ?? 0) & 0x7fffffff, end: at };
        if (found && isFirst) return this.#replacement(found);
      }
    }
    return this.#replacement(found);
  }

  #replacement(found: { value: number; end: number } | undefined): Replacement | undefined {
    if (!found) return undefined;
    const end = this.#replacements.indexOf(0, found.value);
    const bytes = this.#replacements.subarray(found.value, end === -1 ? undefined : end);
    return { text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes), end: found.end };
  }
}

/** Where a unit's children lie, to be joined with their bytes by exclusive or. */
function offset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

const encoder = new TextEncoder();

function utf8(character: string): Uint8Array {
  return encoder.encode(character);
}
