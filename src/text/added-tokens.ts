/** @file Tokens that are found in a text before anything else looks at it. */

import type { TokenId } from "./byte-pairs.js";
import { Trie } from "./trie.js";

/** A token beside the model's own vocabulary, as tokenizer.json describes it. */
export interface AddedToken {
  id: TokenId;
  content: string;
  /** Left out when a text is decoded without special tokens. */
  special: boolean;
  /** Looked for after the text has been normalised, not before. */
  normalized: boolean;
  /** Taken only where no letter, digit or underscore stands beside it. */
  singleWord: boolean;
  /** Takes the white space before it along. */
  lstrip: boolean;
  /** Takes the white space after it along. */
  rstrip: boolean;
}

/** A part of a text: a token that was found, or what stands between tokens. */
export interface Section {
  text: string;
  /** Where it begins in the text. */
  start: number;
  token?: AddedToken;
}

/** Splits texts at tokens: leftmost first, of those that begin together the longest. */
export class TokenSplitter {
  readonly #tokens: readonly AddedToken[];
  readonly #spellings: Trie | undefined;

  constructor(tokens: Iterable<readonly [spelling: string, token: AddedToken]>) {
    const spelt = [...tokens].filter(([spelling]) => spelling !== "");
    this.#tokens = spelt.map(([, token]) => token);
    this.#spellings = spelt.length === 0 ? undefined : new Trie(spelt.map(([spelling], i) => [spelling, i]));
  }

  /** The parts of a text in order; empty ones are left out. */
  *split(text: string): Generator<Section> {
    let at = 0;
    for (let place = 0; this.#spellings && place < text.length; ) {
      const found = this.#spellings.longest(text, place);
      if (!found) {
        place++;
        continue;
      }
      const token = this.#tokens[found.value]!;
      let [start, end] = [place, found.end];
      place = end;
      if (
        token.singleWord &&
        (isWord(text.slice(Math.max(0, start - 2), start), -1) || isWord(text.slice(end, end + 2), 0))
      ) {
        continue;
      }
      if (token.lstrip) while (start > at && /\p{White_Space}/u.test(text[start - 1]!)) start--;
      if (token.rstrip) while (end < text.length && /\p{White_Space}/u.test(text[end]!)) end++;
      if (at < start) yield { text: text.slice(at, start), start: at };
      yield { text: text.slice(start, end), start, token };
      at = place = end;
    }
    if (at < text.length) yield { text: text.slice(at), start: at };
  }
}

/** Whether the first or the last character is part of a word. */
function isWord(text: string, at: 0 | -1): boolean {
  return /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u.test([...text].at(at) ?? "");
}
