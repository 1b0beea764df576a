/** @file What splits a normalised piece of text into tokens: byte pairs, or the most probable pieces (unigram). */

import { type Merge, MergeTable, type TokenId } from "./byte-pairs.js";
import { Trie } from "./trie.js";

/** Splits a piece of text, which no token crosses the ends of. */
export interface TokenModel {
  encode(piece: string): readonly TokenId[];
}

/** What to do with a character that the vocabulary lacks. */
export interface UnknownRule {
  /** The token that stands for it; without one it is left out. */
  unknown?: TokenId | undefined;
  /** Whether a run of unknown characters is one unknown token. */
  fuse?: boolean;
  /** The tokens of the 256 bytes, when such a character is spelt in bytes; one with a byte that has none is not. */
  bytes?: readonly (TokenId | undefined)[] | undefined;
}

/** The name of a byte's own token: "<0x0A>". */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** The tokens of all 256 bytes, as far as there are any. */
export function byteTokens(id: (token: string) => TokenId | undefined): (TokenId | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) => id(byteToken(byte)));
}

export interface BytePairOptions extends UnknownRule {
  ids: ReadonlyMap<string, TokenId>;
  merges: readonly Merge[];
  /** One more than the highest id. */
  size: number;
  /** Whether a piece that is a token is taken whole, whatever the merges say. */
  ignoreMerges?: boolean;
  /** Tokens that are found first, longest first, and never merged. */
  frozen?: Trie;
}

/**
 * How many characters are remembered: of a piece, so that a conversation that grows is encoded turn by turn, and of all.
 */
const cached = { piece: 2 ** 14, all: 2 ** 20 };

/** Byte-pair encoding over characters (Sennrich et al. 2016). */
export class BytePairModel implements TokenModel {
  readonly #options: BytePairOptions;
  readonly #merges: MergeTable;
  readonly #cache = new Map<string, readonly TokenId[]>();
  /** Characters of all pieces in the cache. */
  #cached = 0;

  constructor(options: BytePairOptions) {
    this.#options = options;
    this.#merges = new MergeTable(options.merges, options.size);
  }

  encode(piece: string): readonly TokenId[] {
    const known = this.#cache.get(piece);
    if (known) return known;
    const ids = this.#encode(piece);
    if (piece.length <= cached.piece) {
      this.#cached += piece.length;
      if (this.#cached > cached.all) {
        this.#cache.clear();
        this.#cached = piece.length;
      }
      this.#cache.set(piece, ids);
    }
    return ids;
  }

  #encode(piece: string): readonly TokenId[] {
    const { ids, ignoreMerges, frozen } = this.#options;
    const whole = ignoreMerges ? ids.get(piece) : undefined;
    if (whole !== undefined) return [whole];
    const symbols = new Symbols(this.#options);
    for (let at = 0; at < piece.length; ) {
      const found = frozen?.longest(piece, at);
      if (found) {
        symbols.push(found.value);
        at = found.end;
        continue;
      }
      const character = String.fromCodePoint(piece.codePointAt(at)!);
      const id = ids.get(character);
      if (id === undefined) symbols.pushUnknown(character);
      else symbols.push(id);
      at += character.length;
    }
    return this.#merges.apply(symbols.end());
  }
}

export interface UnigramOptions extends UnknownRule {
  pieces: readonly { text: string; id: TokenId; score: number }[];
  /**
   * Pieces that win wherever they stand: they score their length in bytes times the best score, less 0.1, as in
   * SentencePiece.
   */
  preferred?: ReadonlySet<TokenId>;
  /** Rounds the score of a path: SentencePiece adds in single precision, tokenizers in double. */
  round?: (score: number) => number;
}

/** How much worse than the worst piece an unknown character is. */
const unknownPenalty = 10;

/** The most probable sequence of pieces (Kudo 2018), found by Viterbi's algorithm; of equal ones the first found. */
export class UnigramModel implements TokenModel {
  readonly #options: UnigramOptions;
  readonly #trie: Trie;
  readonly #scores: readonly number[];
  readonly #unknownScore: number;

  constructor(options: UnigramOptions) {
    const { pieces, preferred, round = (score) => score } = options;
    this.#options = { ...options, round };
    let [worst, best] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const { id, score } of pieces) {
      if (preferred?.has(id)) continue;
      worst = Math.min(worst, score);
      best = Math.max(best, score);
    }
    this.#unknownScore = round(worst - unknownPenalty);
    this.#scores = pieces.map(({ text, id, score }) =>
      preferred?.has(id) ? new TextEncoder().encode(text).length * best - 0.1 : score,
    );
    this.#trie = new Trie(pieces.map(({ text }, index) => [text, index]));
  }

  encode(piece: string): readonly TokenId[] {
    const { pieces, unknown, round } = this.#options;
    const length = piece.length;
    // The best path that ends at a place: its score, its last piece (-1: an unknown character), where that begins.
    const scores = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
    const last = new Int32Array(length + 1);
    const from = new Int32Array(length + 1).fill(-1);
    scores[0] = 0;
    for (let at = 0; at < length; ) {
      const character = piece.codePointAt(at)! > 0xffff ? 2 : 1;
      const offer = (index: number, score: number, end: number): void => {
        if (from[end] !== -1 && !(score > scores[end]!)) return;
        scores[end] = round!(score);
        last[end] = index;
        from[end] = at;
      };
      let isKnown = false;
      for (const { value, end } of this.#trie.prefixes(piece, at)) {
        offer(value, scores[at]! + this.#scores[value]!, end);
        isKnown ||= end === at + character;
      }
      if (!isKnown) offer(-1, scores[at]! + this.#unknownScore, at + character);
      at += character;
    }

    const path: [index: number, start: number, end: number][] = [];
    for (let end = length; end > 0; end = from[end]!) path.push([last[end]!, from[end]!, end]);
    const symbols = new Symbols({ ...this.#options, fuse: true });
    // Unknown characters in a row are unknown together.
    let run = "";
    for (const [index, start, end] of path.reverse()) {
      const id = index === -1 ? unknown : pieces[index]!.id;
      if (index === -1 || id === unknown) {
        run += piece.slice(start, end);
        continue;
      }
      if (run !== "") symbols.pushUnknown(run);
      run = "";
      symbols.push(id!);
    }
    if (run !== "") symbols.pushUnknown(run);
    return symbols.end();
  }
}

/** Collects tokens; unknown characters by the rule. */
class Symbols {
  readonly #ids: TokenId[] = [];
  /** An unknown token that is still to be pushed, because the next character may be part of it. */
  #pending: TokenId | undefined;

  constructor(readonly rule: UnknownRule) {}

  push(id: TokenId): void {
    this.#flush();
    this.#ids.push(id);
  }

  pushUnknown(text: string): void {
    const { unknown, fuse, bytes } = this.rule;
    const spelt = bytes && Array.from(new TextEncoder().encode(text), (byte) => bytes[byte]);
    if (spelt && !spelt.includes(undefined)) {
      // As in tokenizers, bytes come before an unknown token that is pending.
      for (const id of spelt) this.#ids.push(id!);
      return;
    }
    if (!fuse) this.#flush();
    this.#pending = unknown;
  }

  end(): TokenId[] {
    this.#flush();
    return this.#ids;
  }

  #flush(): void {
    if (this.#pending !== undefined) this.#ids.push(this.#pending);
    this.#pending = undefined;
  }
}
