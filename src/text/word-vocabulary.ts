/** @file A tokenizer for the language model of a small world: its words are tokens, anything else is spelt in bytes. */

import { misuse } from "../tensor/index.js";
import { learnMerges } from "./learn-merges.js";
import { byteToken } from "./token-models.js";

/** The files of a tokenizer folder that transformers' `AutoTokenizer` opens, by name. */
export type WordVocabularyFiles = Record<"tokenizer.json" | "tokenizer_config.json", string>;

export interface WordVocabularyOptions {
  /** Special tokens beside "<unk>", "<s>" and "</s>"; ids go on in this order. */
  special?: readonly string[];
  /** `model_max_length`: how many ids the language model takes. */
  length?: number;
  /** Jinja text of `chat_template`. */
  chatTemplate?: string;
  /** Reads every text as if it were written in lower case; the words are to be given so. */
  lowercase?: boolean;
}

/**
 * LLaMA's kind of tokenizer, "▁" for spaces and bytes for what it lacks, with byte pairs learnt from the words, so that
 * each of them is one token with a space before it, and one without. Ids: "<unk>", "<s>", "</s>", the special tokens, 256
 * bytes, characters, then what the pairs become.
 * @param words in any order, which does not matter
 * @throws VOCABULARY when a word is empty or has white space or "▁" in it
 */
export function wordVocabulary(
  words: Iterable<string>,
  { special = ["<pad>", "<image>"], length = 2048, chatTemplate, lowercase }: WordVocabularyOptions = {},
): WordVocabularyFiles {
  const distinct = [...new Set(words)].sort((a, b) => (a < b ? -1 : 1));
  for (const word of distinct) {
    if (word === "" || /[\p{White_Space}▁]/u.test(word)) {
      throw misuse(
        "VOCABULARY",
        `${JSON.stringify(word)} is not one word: it is empty or has white space or "▁" in it.`,
      );
    }
  }
  const spelt = distinct.flatMap((word) => [[...word], [...`▁${word}`]]);
  const merges = learnMerges(spelt);
  const specials = ["<unk>", "<s>", "</s>", ...special];
  const tokens = new Set([
    ...specials,
    ...Array.from({ length: 256 }, (_, byte) => byteToken(byte)),
    ...["▁", ...new Set(spelt.flat())].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!),
    ...merges.map((pair) => pair.join("")),
  ]);
  const added = specials.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const start = { SpecialToken: { id: "<s>", type_id: 0 } };
  const sequence = (id: string) => ({ Sequence: { id, type_id: 0 } });
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: {
      type: "Sequence",
      normalizers: [
        ...(lowercase ? [{ type: "Lowercase" }] : []),
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [start, sequence("A")],
      pair: [start, sequence("A"), start, sequence("B")],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: "<unk>",
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries([...tokens].map((token, id) => [token, id])),
      merges,
    },
  };
  const config = {
    add_bos_token: true,
    add_eos_token: false,
    bos_token: "<s>",
    eos_token: "</s>",
    unk_token: "<unk>",
    pad_token: special.includes("<pad>") ? "<pad>" : "<unk>",
    ...(special.includes("<image>") && { image_token: "<image>" }),
    clean_up_tokenization_spaces: false,
    model_max_length: length,
    padding_side: "right",
    tokenizer_class: "PreTrainedTokenizerFast",
    ...(chatTemplate !== undefined && { chat_template: chatTemplate }),
  };
  return {
    "tokenizer.json": `${JSON.stringify(tokenizer)}\n`,
    "tokenizer_config.json": `${JSON.stringify(config, undefined, 2)}\n`,
  };
}
