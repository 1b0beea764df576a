/** @file CLIP's tokenizer, as transformers' `CLIPTokenizer` (the text encoders of Stable Diffusion). */

import { misuse } from "../tensor/index.js";
import { byteCharacters, type Merge, MergeTable, type TokenId, tokenBytes } from "./byte-pairs.js";
import { lowerCase, normalForm } from "./unicode.js";

/** What the files of a tokenizer say. */
export interface ClipVocabulary {
  ids: ReadonlyMap<string, TokenId>;
  merges: readonly Merge[];
  start: TokenId;
  end: TokenId;
  padding: TokenId;
  /** Stands for bytes that the vocabulary lacks. */
  unknown: TokenId;
  /** Tokens that are taken whole wherever a prompt spells them, the special ones among them. */
  literal: ReadonlyMap<string, TokenId>;
  /** `model_max_length`: how many ids a prompt always gets. */
  length: number;
}

/** A word, a digit or a run of signs of the prompt, and where its tokens stand. */
export interface TokenWord {
  /** As the prompt spells it (in Unicode's composed form). */
  text: string;
  /** First position, counted with the start token at 0. */
  start: number;
  /** One past the last position. */
  end: number;
}

export interface EncodedPrompt {
  /** `length` ids: start, words, end, padding. */
  ids: TokenId[];
  /** How many come before the padding. The start token is at 0, the end token at `tokens - 1`, padding from `tokens` on. */
  tokens: number;
  /** The words that were kept, in order. */
  words: TokenWord[];
}

export interface Truncation {
  /** How many tokens the whole prompt has, start and end included. */
  tokens: number;
  /** How many fit. */
  limit: number;
  /** The part of the prompt that was left out, from its first word that is not whole. */
  cut: string;
}

export interface EncodeOptions {
  /** A prompt that is too long is cut (default), or an error. */
  truncate?: "cut" | "error";
  onTruncate?: (truncation: Truncation) => void;
}

/** A piece of the prompt before it is split into tokens. */
interface Piece {
  text: string;
  ids: readonly TokenId[];
  /** The prompt from this piece on. */
  rest: () => string;
}

export class ClipTokenizer {
  /** `model_max_length`: the number of ids of every encoded prompt. */
  readonly length: number;
  /** `vocab_size`: one more than the highest id. */
  readonly size: number;
  readonly start: TokenId;
  readonly end: TokenId;
  readonly padding: TokenId;
  readonly #vocabulary: ClipVocabulary;
  readonly #tokens: ReadonlyMap<TokenId, string>;
  readonly #merges: MergeTable;
  /** The id of each byte inside a word, then of each byte as a word's last. */
  readonly #bytes: readonly TokenId[];
  readonly #literal: RegExp;
  readonly #cache = new Map<string, readonly TokenId[]>();

  constructor(vocabulary: ClipVocabulary) {
    const { ids, merges, literal, unknown } = vocabulary;
    this.#vocabulary = vocabulary;
    this.length = vocabulary.length;
    this.start = vocabulary.start;
    this.end = vocabulary.end;
    this.padding = vocabulary.padding;
    this.#tokens = new Map([...ids, ...literal].map(([token, id]) => [id, token]));
    this.size = [...this.#tokens.keys()].reduce((most, id) => Math.max(most, id), 0) + 1;
    this.#merges = new MergeTable(merges, this.size);
    this.#bytes = ["", "</w>"].flatMap((suffix) => byteCharacters.map((c) => ids.get(c + suffix) ?? unknown));
    const longestFirst = [...literal.keys()].sort((a, b) => b.length - a.length);
    this.#literal = new RegExp(longestFirst.map(escaped).join("|"), "gu");
  }

  /**
   * Ids of a prompt, padded to `length`.
   * @throws PROMPT_TOO_LONG when it has more tokens and `truncate` is "error"
   */
  encode(text: string, { truncate = "cut", onTruncate }: EncodeOptions = {}): EncodedPrompt {
    const ids = [this.start];
    const words: TokenWord[] = [];
    const limit = this.length;
    let tokens = 2;
    let cut: string | undefined;
    for (const piece of this.#pieces(text)) {
      tokens += piece.ids.length;
      if (tokens > limit) cut ??= piece.rest();
      const start = ids.length;
      ids.push(...piece.ids.slice(0, limit - 1 - start));
      if (ids.length > start) words.push({ text: piece.text, start, end: ids.length });
    }
    if (cut !== undefined) {
      if (truncate === "error") {
        throw misuse("PROMPT_TOO_LONG", `The prompt has ${tokens} tokens; the text encoder takes ${limit}.`);
      }
      onTruncate?.({ tokens, limit, cut });
    }
    ids.push(this.end);
    const kept = ids.length;
    while (ids.length < limit) ids.push(this.padding);
    return { ids, tokens: kept, words };
  }

  /** Where a word or phrase occurs among the words of an encoded prompt, whatever its case. */
  find({ words }: EncodedPrompt, phrase: string): TokenWord[] {
    const wanted = [...this.#pieces(phrase)].map(({ text }) => lowerCase(text));
    if (wanted.length === 0) return [];
    const found: TokenWord[] = [];
    for (let at = 0; at + wanted.length <= words.length; at++) {
      const run = words.slice(at, at + wanted.length);
      if (!run.every(({ text }, i) => lowerCase(text) === wanted[i])) continue;
      found.push({ text: phrase.trim(), start: run[0]!.start, end: run[run.length - 1]!.end });
    }
    return found;
  }

  /** Text of ids, with a space after each word as transformers' `decode` writes it. */
  decode(
    ids: Iterable<TokenId>,
    { skipSpecialTokens = false }: { skipSpecialTokens?: boolean } = {},
  ): string {
    const special = new Set(this.#vocabulary.literal.values());
    const bytes: number[] = [];
    for (const id of ids) {
      const token = this.#tokens.get(id);
      if (token === undefined)
        throw misuse("TOKEN_ID", `No token has id ${id}; ids go to ${this.#tokens.size - 1}.`);
      if (skipSpecialTokens && special.has(id)) continue;
      for (const byte of tokenBytes(token) ?? new TextEncoder().encode(token)) bytes.push(byte);
    }
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
    return text.replaceAll("</w>", " ").trim();
  }

  *#pieces(text: string): Generator<Piece> {
    let at = 0;
    for (const match of text.matchAll(this.#literal)) {
      const from = match.index;
      yield* this.#ordinaryPieces(text, at, from);
      at = from + match[0].length;
      yield { text: match[0], ids: [this.#vocabulary.literal.get(match[0])!], rest: () => text.slice(from) };
    }
    yield* this.#ordinaryPieces(text, at, text.length);
  }

  *#ordinaryPieces(text: string, from: number, to: number): Generator<Piece> {
    // Composed but not yet in lower case; only this letter changes its length there.
    const surface = normalForm(text.slice(from, to), "NFC").replaceAll("İ", "i\u0307");
    const lower = lowerCase(surface);
    for (const outer of lower.matchAll(clipPieces)) {
      for (const inner of outer[0].matchAll(byteLevelPieces)) {
        const start = outer.index + inner.index;
        yield {
          text: surface.slice(start, start + inner[0].length),
          ids: this.#encodePiece(inner[0]),
          rest: () => surface.slice(start) + text.slice(to),
        };
      }
    }
  }

  #encodePiece(piece: string): readonly TokenId[] {
    const known = this.#cache.get(piece);
    if (known) return known;
    const bytes = new TextEncoder().encode(piece);
    const last = bytes.length - 1;
    const ids = this.#merges.apply(
      Array.from(bytes, (byte, i) => this.#bytes[i === last ? 256 + byte : byte]!),
    );
    if (piece.length <= 64) {
      if (this.#cache.size >= 10_000) this.#cache.clear();
      this.#cache.set(piece, ids);
    }
    return ids;
  }
}

/** CLIP's split: the two marks, English contractions, letters, single digits, runs of other signs. */
const clipPieces =
  /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+/gu;
/** GPT-2's split, which the byte-level step applies once more: it takes the two marks apart when they are no tokens. */
const byteLevelPieces = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}+|[^\p{White_Space}\p{L}\p{N}]+/gu;

/** A text as a regular expression that matches it alone. */
function escaped(text: string): string {
  return text.replace(/[^\p{L}\p{N}]/gu, (sign) => `\\u{${sign.codePointAt(0)!.toString(16)}}`);
}
