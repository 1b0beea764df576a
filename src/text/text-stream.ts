/** @file The text of tokens that arrive one by one. */

import type { TokenId } from "./byte-pairs.js";
import type { TokenWriter } from "./token-text.js";
import type { DecodeOptions, Tokenizer } from "./tokenizer.js";

export interface TextStreamOptions extends DecodeOptions {
  /** Texts that end the answer; they are not part of it. */
  stop?: readonly string[];
}

/**
 * Tells text as soon as it is certain: characters when all of their bytes are there (of a run of bytes, when the run has
 * ended: a later byte may make all of it unreadable), and nothing that could be the beginning of a stop string. All it
 * tells, joined, is the tokenizer's `decode` up to the first stop string.
 */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  readonly #writer: TokenWriter;
  readonly #stop: readonly string[];
  readonly #skip: boolean;
  #held = "";
  #stopped: string | undefined;

  constructor(tokenizer: Tokenizer, { stop = [], skipSpecialTokens = true }: TextStreamOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#writer = tokenizer.writing();
    this.#stop = stop.filter((text) => text !== "");
    this.#skip = skipSpecialTokens;
  }

  /** The stop string that was met. From then on nothing more is told. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** The text that this token makes certain. */
  push(id: TokenId): string {
    if (this.#stopped !== undefined || (this.#skip && this.#tokenizer.isSpecial(id))) return "";
    const token = this.#tokenizer.token(id);
    return token === undefined ? "" : this.#tell(this.#writer.push(token));
  }

  /** The rest, when no more tokens come. */
  end(): string {
    if (this.#stopped !== undefined) return "";
    const text = this.#tell(this.#writer.end()) + this.#held;
    this.#held = "";
    return text;
  }

  #tell(text: string): string {
    const known = this.#held + text;
    const [stop, at] = this.#firstStop(known);
    this.#stopped = stop;
    const certain = stop === undefined ? known.length - this.#uncertain(known) : at;
    this.#held = stop === undefined ? known.slice(certain) : "";
    return known.slice(0, certain);
  }

  #firstStop(text: string): [stop: string | undefined, at: number] {
    let found: [string | undefined, number] = [undefined, text.length];
    for (const stop of this.#stop) {
      const at = text.indexOf(stop);
      if (at !== -1 && at < found[1]) found = [stop, at];
    }
    return found;
  }

  /** How many characters at the end may begin a stop string. */
  #uncertain(text: string): number {
    let longest = 0;
    for (const stop of this.#stop) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
