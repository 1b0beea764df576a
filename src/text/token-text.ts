/** @file What tokens stand for: text, or bytes that only together are text. */

import { tokenBytes } from "./byte-pairs.js";
import { type ByteReader, eachReader, lossyReader, wholeReader } from "./byte-text.js";

/** How a vocabulary writes text. */
export interface TokenWriting {
  /** `bytes`: GPT-2's characters for bytes; `pieces`: SentencePiece's, where "▁" is a space. */
  form: "bytes" | "pieces";
  /** Of pieces: whether "<0x0A>" is a byte. */
  byteFallback: boolean;
  /** How many spaces at the very beginning of a text are left out. */
  leadingSpaces: number;
  /** What a run of byte pieces is that is not UTF-8: U+FFFD for all of its bytes, or for the wrong ones. */
  wrongBytes: "run" | "each";
}

/** What a token stands for by itself. */
export type TokenText = string | readonly number[];

export function tokenText({ form, byteFallback }: TokenWriting, token: string): TokenText {
  if (form === "bytes") return tokenBytes(token) ?? [...new TextEncoder().encode(token)];
  if (byteFallback && /^<0x[0-9a-fA-F]{2}>$/.test(token)) return [Number.parseInt(token.slice(3, 5), 16)];
  return token.replaceAll("▁", " ");
}

/** Joins what tokens stand for. */
export class TextJoiner {
  readonly #bytes: ByteReader;
  /** How many spaces may still be left out. */
  #spaces: number;
  /** SentencePiece leaves out the space of a text's first piece, not one that is spelt as a byte. */
  readonly #keepsByteSpace: boolean;

  constructor({ form, leadingSpaces, wrongBytes }: TokenWriting) {
    this.#bytes = form === "bytes" ? lossyReader() : wrongBytes === "run" ? wholeReader() : eachReader();
    this.#spaces = leadingSpaces;
    this.#keepsByteSpace = form === "pieces" && wrongBytes === "each";
  }

  push(text: TokenText): string {
    if (this.#keepsByteSpace && typeof text !== "string" && text.length > 0) this.#spaces = 0;
    return this.#strip(typeof text === "string" ? this.#bytes.end() + text : this.#bytes.push(text));
  }

  end(): string {
    return this.#strip(this.#bytes.end());
  }

  #strip(text: string): string {
    let start = 0;
    while (this.#spaces > 0 && text[start] === " ") {
      start++;
      this.#spaces--;
    }
    if (start < text.length) this.#spaces = 0;
    return text.slice(start);
  }
}
