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

/** Words of a relation, of a viewpoint: the longest first, so that "in front of" is not "in". */
const phrases = (table: Readonly<Record<string, { words: string }>>) =>
  Object.values(table)
    .map(({ words }) => words.split(" "))
    .sort((a, b) => b.length - a.length);
const relationPhrases = phrases(relations);
const viewPhrases = phrases(views);
const facingPhrases = phrases(facings);

/**
 * What a caption claims, each claim once. Words that the grammar has no place for are passed over, so that any text has
 * its tuples.
 */
export function captionTuples(caption: string): CaptionTuple[] {
  const words = captionWords(caption);
  const tuples = new Map<string, CaptionTuple>();
  const claim = (...tuple: string[]): void => void tuples.set(tuple.join("|"), tuple);
  const startsWith = (at: number, phrase: readonly string[]) =>
    phrase.every((word, i) => words[at + i] === word);
  const find = (list: readonly (readonly string[])[], at: number) => list.find((one) => startsWith(at, one));

  let thing: string | undefined;
  let relation: string | undefined;
  let pending: string[] = [];
  for (let at = 0; at < words.length; ) {
    const word = words[at]!;
    const next = words[at + 1];
    const noun = singular.get(word);
    // 1. Where it is; a square is a place here, and a table's shape elsewhere
    if (word === "in" && next === "the" && words[at + 2]! in places) {
      claim("in", words[at + 2]!);
      at += 3;
    } else if (thing && word === "with" && startsWith(at + 1, ["a", "hat"])) {
      claim(thing, "with a hat");
      at += 3;
    } else if (thing && word === "with" && startsWith(at + 1, ["no", "hat"])) {
      claim(thing, "with no hat");
      at += 3;
    } else if (thing && word === "facing" && find(facingPhrases, at + 1)) {
      const phrase = find(facingPhrases, at + 1)!;
      claim(thing, `facing ${phrase.join(" ")}`);
      at += 1 + phrase.length;
    } else if (thing && word === "seen" && find(viewPhrases, at + 1)) {
      const phrase = find(viewPhrases, at + 1)!;
      claim(thing, `seen ${phrase.join(" ")}`);
      at += 1 + phrase.length;
    } else if (thing && word === "that" && next === "says" && words[at + 2] !== undefined) {
      claim(thing, `says ${words[at + 2]}`);
      at += 3;
    } else if (word === "no" && next !== undefined && singular.has(next)) {
      claim("no", singular.get(next)!);
      pending = [];
      at += 2;
    }
    // 2. A thing, with what was said before it
    else if (noun) {
      claim(noun);
      for (const attribute of pending) claim(noun, attribute);
      if (relation && thing) claim(thing, relation, noun);
      [thing, relation, pending] = [noun, undefined, []];
      at += 1;
    } else if (attributes.has(word)) {
      pending.push(word);
      at += 1;
    } else if (thing && find(relationPhrases, at)) {
      const phrase = find(relationPhrases, at)!;
      relation = phrase.join(" ");
      at += phrase.length;
    } else {
      if (!articles.has(word)) pending = [];
      if (word === "and") relation = undefined;
      at += 1;
    }
  }
  return [...tuples.values()];
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
