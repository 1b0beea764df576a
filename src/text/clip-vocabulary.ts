/** @file A tokenizer for a small closed vocabulary, in the files of CLIP's. */

import { misuse } from "../tensor/index.js";
import { byteCharacters } from "./byte-pairs.js";
import { clipTokenizer } from "./clip-files.js";
import { learnMerges } from "./learn-merges.js";

/** The files of a `CLIPTokenizer` folder, by name. */
export type ClipVocabularyFiles = Record<
  "vocab.json" | "merges.txt" | "tokenizer_config.json" | "special_tokens_map.json",
  string
>;

export interface ClipVocabularyOptions {
  /** `model_max_length`: how many ids a prompt always gets. */
  length?: number;
  /** What follows a prompt's end; Stable Diffusion 2 has "!", 1.x the end itself. */
  padding?: string;
}

/**
 * Byte pairs learnt from the words, so that each of them is one token; what else a prompt may hold is spelt in bytes.
 * The files read the same here and in transformers.
 * @param words in any order, which does not matter; in small letters, as prompts are read
 * @throws DiffsightError VOCABULARY when a word is several to CLIP's tokenizer
 * @see Sennrich et al. 2016, algorithm 1
 */
export function clipVocabulary(
  words: Iterable<string>,
  { length = 32, padding = "<|endoftext|>" }: ClipVocabularyOptions = {},
): ClipVocabularyFiles {
  const distinct = [...new Set(words)].sort((a, b) => (a < b ? -1 : 1));
  const merges = learnMerges(distinct.map(spell));
  const bytes = [...byteCharacters].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const merged = merges.map(([left, right]) => left + right);
  const tokens = new Set([
    ...bytes,
    ...bytes.map((character) => `${character}</w>`),
    ...merged,
    "<|startoftext|>",
    "<|endoftext|>",
  ]);
  const special = {
    bos_token: "<|startoftext|>",
    eos_token: "<|endoftext|>",
    pad_token: padding,
    unk_token: "<|endoftext|>",
  };
  const config = {
    ...special,
    do_lower_case: true,
    model_max_length: length,
    tokenizer_class: "CLIPTokenizer",
  };
  const files = {
    "vocab.json": `${JSON.stringify(Object.fromEntries([...tokens].map((token, id) => [token, id])))}\n`,
    "merges.txt": ["#version: 0.2", ...merges.map((pair) => pair.join(" ")), ""].join("\n"),
    "tokenizer_config.json": `${JSON.stringify(config, undefined, 2)}\n`,
    "special_tokens_map.json": `${JSON.stringify(special, undefined, 2)}\n`,
  };
  const tokenizer = clipTokenizer(files);
  for (const word of distinct) {
    const count = tokenizer.encode(word).tokens - 2;
    if (count !== 1) {
      throw misuse(
        "VOCABULARY",
        `${JSON.stringify(word)} cannot be one token: to CLIP's tokenizer it is ${count} of them. Words are runs of small letters, single digits or runs of signs.`,
      );
    }
  }
  return files;
}

/** The bytes of a word as symbols, the last of them marked. */
function spell(word: string): string[] {
  const symbols = Array.from(new TextEncoder().encode(word), (byte) => byteCharacters[byte]!);
  return [...symbols.slice(0, -1), ...symbols.slice(-1).map((last) => `${last}</w>`)];
}
