/** @file Tokenizers of language models: text to ids and back. */

import { type AddedToken, TokenSplitter } from "./added-tokens.js";
import type { TokenId } from "./byte-pairs.js";
import type { TokenModel } from "./token-models.js";
import type { TokenWriting } from "./token-text.js";

/** What a tokenizer is made of. */
export interface TokenizerParts {
  /** Every token and its id, the added ones among them. */
  vocabulary: ReadonlyMap<string, TokenId>;
  added: readonly AddedToken[];
  /** @param isStart whether the section begins the text */
  normalize(section: string, isStart: boolean): string;
  /** Pieces that no token crosses the ends of. */
  split(normalized: string, isStart: boolean): Iterable<string>;
  model: TokenModel;
  /** Special tokens before and after a text. */
  template: { before: readonly TokenId[]; after: readonly TokenId[] };
  writing: TokenWriting;
  roles: TokenRoles;
  /** `model_max_length`, where the files give one. */
  maxLength?: number | undefined;
}

/** Tokens with a part to play; undefined where the files name none. */
export interface TokenRoles {
  /** Begins a text ("<s>"). */
  start?: TokenId | undefined;
  /** Ends an answer ("</s>"). */
  end?: TokenId | undefined;
  padding?: TokenId | undefined;
  unknown?: TokenId | undefined;
}

export interface TextOptions {
  /** Whether the special tokens of the template ("<s>" before a text) are added; true unless told. */
  addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Whether special tokens are left out of the text. */
  skipSpecialTokens?: boolean;
}

/** A tokenizer of a language model. Every text has ids; every list of ids has a text. */
export class Tokenizer {
  /** One more than the highest id. */
  readonly size: number;
  readonly start: TokenId | undefined;
  readonly end: TokenId | undefined;
  readonly padding: TokenId | undefined;
  readonly unknown: TokenId | undefined;
  readonly maxLength: number | undefined;
  readonly writing: TokenWriting;
  readonly #parts: TokenizerParts;
  readonly #added: ReadonlyMap<string, TokenId>;
  readonly #tokens: ReadonlyMap<TokenId, string>;
  readonly #special: ReadonlySet<TokenId>;
  /** Finds added tokens in a text as it is. */
  readonly #plain: TokenSplitter;
  /** Finds added tokens in a normalised text. */
  readonly #normalized: TokenSplitter;

  constructor(parts: TokenizerParts) {
    const { vocabulary, added, roles } = parts;
    this.#parts = parts;
    this.start = roles.start;
    this.end = roles.end;
    this.padding = roles.padding;
    this.unknown = roles.unknown;
    this.maxLength = parts.maxLength;
    this.writing = parts.writing;
    this.#added = new Map(added.map(({ id, content }) => [content, id]));
    const tokens = new Map<TokenId, string>();
    for (const ids of [vocabulary, this.#added]) for (const [token, id] of ids) tokens.set(id, token);
    this.#tokens = tokens;
    this.size = [...this.#tokens.keys()].reduce((most, id) => Math.max(most, id), -1) + 1;
    this.#special = new Set(added.filter(({ special }) => special).map(({ id }) => id));
    this.#plain = new TokenSplitter(
      added.filter(({ normalized }) => !normalized).map((token) => [token.content, token]),
    );
    this.#normalized = new TokenSplitter(
      added
        .filter(({ normalized }) => normalized)
        .map((token) => [parts.normalize(token.content, false), token]),
    );
  }

  /** The id of a token as the vocabulary spells it. */
  id(token: string): TokenId | undefined {
    return this.#added.get(token) ?? this.#parts.vocabulary.get(token);
  }

  /** A token as the vocabulary spells it. */
  token(id: TokenId): string | undefined {
    return this.#tokens.get(id);
  }

  isSpecial(id: TokenId): boolean {
    return this.#special.has(id);
  }

  /** Ids of a text. Special tokens that the text spells are taken as such. */
  encode(text: string, { addSpecialTokens = true }: TextOptions = {}): TokenId[] {
    const { model, normalize, split } = this.#parts;
    const ids: TokenId[] = [];
    for (const section of this.#plain.split(text)) {
      if (section.token) {
        ids.push(section.token.id);
        continue;
      }
      const isStart = section.start === 0;
      for (const part of this.#normalized.split(normalize(section.text, isStart))) {
        if (part.token) ids.push(part.token.id);
        else {
          for (const piece of split(part.text, isStart && part.start === 0)) {
            for (const id of model.encode(piece)) ids.push(id);
          }
        }
      }
    }
    return addSpecialTokens ? this.surround(ids) : ids;
  }

  /** Ids of a text with the special tokens before and after it. */
  surround(ids: readonly TokenId[]): TokenId[] {
    const { before, after } = this.#parts.template;
    return [...before, ...ids, ...after];
  }

  /** Text of ids; those that no token has are left out, as in transformers. */
  decode(ids: Iterable<TokenId>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const writer = this.writing();
    const texts: string[] = [];
    for (const id of ids) {
      const token = this.token(id);
      if (token === undefined || (skipSpecialTokens && this.isSpecial(id))) continue;
      texts.push(writer.push(token));
    }
    texts.push(writer.end());
    return texts.join("");
  }
}
