/**
 * @file What a caption of the diorama claims, as tuples: things, their attributes, how they stand; and how far the claims
 * of two captions agree, as SPICE measures it (Anderson et al. 2016), with the world's own grammar in place of a parser.
 */

import {
  colours,
  facings,
  nouns,
  numbers,
  places,
  plural,
  relations,
  states,
  views,
} from "../diorama/index.js";
import { misuse } from "../tensor/index.js";
import { type CaptionPair, type CaptionScores, captionWords } from "./captions.js";

/** `["dog"]`, `["dog", "red"]`, `["dog", "to the left of", "cat"]`, `["in", "park"]`. */
export type CaptionTuple = readonly string[];

const singular = new Map(
  (Object.keys(nouns) as (keyof typeof nouns)[]).flatMap((noun) => [
    [noun as string, noun as string],
    [plural(noun), noun as string],
  ]),
);
const attributes = new Set([...Object.keys(colours), ...Object.keys(states), ...numbers]);
const articles = new Set(["a", "an"]);

/** The words of a table's phrases, the longest first, so that "in front of" is not "in". */
const phrases = (table: Readonly<Record<string, { words: string }>>, before = "") =>
  Object.values(table)
    .map(({ words }) => (before + words).split(" "))
    .sort((a, b) => b.length - a.length);

const relationPhrases = phrases(relations);
/** What is told of a thing behind its name. */
const asides = [
  ["with", "a", "hat"],
  ["with", "no", "hat"],
  ...phrases(facings, "facing "),
  ...phrases(views, "seen "),
];

/**
 * What a caption claims, each claim once. Words that the grammar has no place for are passed over, so that any text has
 * its tuples.
 */
export function captionTuples(caption: string): CaptionTuple[] {
  return new ClaimReader(captionWords(caption)).read();
}

/** Reads from left to right; each step says how many words it has used, 0 when it is not its turn. */
class ClaimReader {
  readonly #words: readonly string[];
  readonly #claims = new Map<string, CaptionTuple>();
  /** The thing that was named last, how it stands to the next, and what has been said of the next. */
  #thing: string | undefined;
  #relation: string | undefined;
  #attributes: string[] = [];

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  read(): CaptionTuple[] {
    for (let at = 0; at < this.#words.length; ) {
      at +=
        this.#place(at) ||
        this.#aside(at) ||
        this.#absence(at) ||
        this.#noun(at) ||
        this.#attribute(at) ||
        this.#relate(at) ||
        this.#pass(at);
    }
    return [...this.#claims.values()];
  }

  #claim(...tuple: string[]): void {
    this.#claims.set(tuple.join("|"), tuple);
  }

  #startsWith(at: number, phrase: readonly string[]): boolean {
    return phrase.every((word, i) => this.#words[at + i] === word);
  }

  /** A square is a place here, and a table's shape elsewhere. */
  #place(at: number): number {
    const place = this.#words[at + 2];
    if (!this.#startsWith(at, ["in", "the"]) || place === undefined || !Object.hasOwn(places, place))
      return 0;
    this.#claim("in", place);
    return 3;
  }

  #aside(at: number): number {
    if (this.#thing === undefined) return 0;
    const said = this.#words[at + 2];
    if (this.#startsWith(at, ["that", "says"]) && said !== undefined) {
      this.#claim(this.#thing, `says ${said}`);
      return 3;
    }
    const phrase = asides.find((one) => this.#startsWith(at, one));
    if (phrase) this.#claim(this.#thing, phrase.join(" "));
    return phrase?.length ?? 0;
  }

  #absence(at: number): number {
    const noun = singular.get(this.#words[at + 1] ?? "");
    if (this.#words[at] !== "no" || noun === undefined) return 0;
    this.#claim("no", noun);
    this.#attributes = [];
    return 2;
  }

  #noun(at: number): number {
    const noun = singular.get(this.#words[at]!);
    if (noun === undefined) return 0;
    this.#claim(noun);
    for (const attribute of this.#attributes) this.#claim(noun, attribute);
    if (this.#relation !== undefined && this.#thing !== undefined)
      this.#claim(this.#thing, this.#relation, noun);
    [this.#thing, this.#relation, this.#attributes] = [noun, undefined, []];
    return 1;
  }

  #attribute(at: number): number {
    if (!attributes.has(this.#words[at]!)) return 0;
    this.#attributes.push(this.#words[at]!);
    return 1;
  }

  #relate(at: number): number {
    const phrase = relationPhrases.find((one) => this.#startsWith(at, one));
    if (!phrase || this.#thing === undefined) return 0;
    this.#relation = phrase.join(" ");
    return phrase.length;
  }

  #pass(at: number): number {
    const word = this.#words[at]!;
    if (!articles.has(word)) this.#attributes = [];
    if (word === "and") this.#relation = undefined;
    return 1;
  }
}

/**
 * F1 of the caption's tuples against those of all its references; 1 when neither claims anything.
 * @throws misuse CAPTIONS
 */
export function tupleF1(pairs: readonly CaptionPair[]): CaptionScores {
  if (pairs.length === 0) throw misuse("CAPTIONS", "There are no captions to compare.");
  const each = pairs.map(({ caption, references }) => {
    const key = (tuple: CaptionTuple) => tuple.join("|");
    const claimed = new Set(captionTuples(caption).map(key));
    const wanted = new Set(references.flatMap(captionTuples).map(key));
    if (claimed.size + wanted.size === 0) return 1;
    const right = [...claimed].filter((tuple) => wanted.has(tuple)).length;
    return (2 * right) / (claimed.size + wanted.size);
  });
  return { score: each.reduce((sum, score) => sum + score, 0) / each.length, each };
}
