/** @file Reads the files of a CLIP tokenizer: tokenizer.json, or vocab.json with merges.txt, and their configs. */

import { failure } from "../tensor/index.js";
import type { Merge, TokenId } from "./byte-pairs.js";
import { ClipTokenizer } from "./clip-tokenizer.js";
import {
  contentOf,
  corrupt,
  listedPairs,
  object,
  parseObject,
  readId,
  readIds,
  readMerges,
} from "./vocabulary-files.js";

/** The files of a tokenizer folder that `clipTokenizer` reads, where they exist. */
export const clipTokenizerFiles = [
  "tokenizer.json",
  "vocab.json",
  "merges.txt",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
] as const;

export type ClipTokenizerFile = (typeof clipTokenizerFiles)[number];

/** The contents of those files, by name. */
export type ClipTokenizerTexts = Readonly<Partial<Record<ClipTokenizerFile, string>>>;

/** The length of CLIP's text encoder, for configs that give none or transformers' "no limit" (1e30). */
const usualLength = 77;
const longest = 2 ** 20;

/**
 * A tokenizer from the texts of its files: tokenizer.json, or vocab.json and merges.txt; the others are optional.
 * @throws FILE_MISSING, FILE_CORRUPT naming the file
 */
export function clipTokenizer(files: ClipTokenizerTexts): ClipTokenizer {
  const { ids, merges, added } = files["tokenizer.json"] === undefined ? readPair(files) : readSingle(files);
  const config = readFile(files, "tokenizer_config.json") ?? {};
  const map = readFile(files, "special_tokens_map.json") ?? {};
  for (const [token, id] of Object.entries(readFile(files, "added_tokens.json") ?? {})) {
    added.set(token, readId("added_tokens.json", token, id));
  }
  for (const [id, token] of Object.entries(object(config.added_tokens_decoder))) {
    const content = contentOf(token);
    if (content) added.set(content, readId("tokenizer_config.json", content, Number(id)));
  }

  // The map wins over the config, as in transformers, unless the config is of the newer kind that holds all.
  const named = "added_tokens_decoder" in config ? { ...map, ...config } : { ...config, ...map };
  const literal = new Map(added);
  const special = (name: string, usual: string): TokenId => {
    const token = contentOf(named[name]) ?? usual;
    const id = added.get(token) ?? ids.get(token);
    if (id === undefined) {
      throw corrupt(vocabularyFile(files), `it lacks the ${name.replace("_", " ")} ${JSON.stringify(token)}`);
    }
    literal.set(token, id);
    return id;
  };
  const end = special("eos_token", "<|endoftext|>");
  return new ClipTokenizer({
    ids,
    merges,
    start: special("bos_token", "<|startoftext|>"),
    end,
    unknown: special("unk_token", "<|endoftext|>"),
    padding: special("pad_token", "<|endoftext|>"),
    literal,
    length: readLength(config.model_max_length),
  });
}

interface Vocabulary {
  ids: Map<string, TokenId>;
  merges: Merge[];
  added: Map<string, TokenId>;
}

function readPair(files: ClipTokenizerTexts): Vocabulary {
  const vocab = readFile(files, "vocab.json");
  const text = files["merges.txt"];
  if (!vocab || text === undefined) {
    const missing = vocab ? "merges.txt" : "vocab.json";
    throw failure("FILE_MISSING", `The tokenizer has neither tokenizer.json nor ${missing}.`);
  }
  const ids = readIds("vocab.json", vocab);
  const lines = text.split("\n").map((line) => line.trim());
  const first = lines[0]!.startsWith("#version") ? 1 : 0;
  while (lines.at(-1) === "") lines.pop();
  const pairs = lines.slice(first).map((line) => line.split(" "));
  const merges = readMerges("merges.txt", pairs, (i) => `line ${first + i + 1}`, ids);
  return { ids, merges, added: new Map() };
}

function readSingle(files: ClipTokenizerTexts): Vocabulary {
  const file = "tokenizer.json";
  const json = readFile(files, file)!;
  const model = object(json.model);
  if ((model.type ?? "BPE") !== "BPE" || model.end_of_word_suffix !== "</w>") {
    const found = `${model.type ?? "no model"} with end_of_word_suffix ${JSON.stringify(model.end_of_word_suffix)}`;
    throw corrupt(
      file,
      `it is no CLIP tokenizer: expected BPE with end_of_word_suffix "</w>", found ${found}`,
    );
  }
  const ids = readIds(file, object(model.vocab));
  const merges = readMerges(file, listedPairs(model.merges), (i) => `model.merges[${i}]`, ids);
  const added = new Map<string, TokenId>();
  for (const token of Array.isArray(json.added_tokens) ? json.added_tokens : []) {
    const content = contentOf(token);
    if (content) added.set(content, readId(file, content, object(token).id));
  }
  return { ids, merges, added };
}

function readLength(length: unknown): number {
  if (length === undefined || length === null || (typeof length === "number" && length > longest))
    return usualLength;
  if (typeof length === "number" && Number.isInteger(length) && length >= 2) return length;
  throw corrupt(
    "tokenizer_config.json",
    `model_max_length is ${JSON.stringify(length)}, not an integer from 2 on`,
  );
}

function vocabularyFile(files: ClipTokenizerTexts): string {
  return files["tokenizer.json"] === undefined ? "vocab.json" : "tokenizer.json";
}

function readFile(files: ClipTokenizerTexts, file: ClipTokenizerFile): Record<string, unknown> | undefined {
  const text = files[file];
  return text === undefined ? undefined : parseObject(file, text);
}
