/** @file Reads the files of a CLIP tokenizer: tokenizer.json, or vocab.json with merges.txt, and their configs. */

import { failure } from "../tensor/index.js";
import type { Merge, TokenId } from "./byte-pairs.js";
import { ClipTokenizer } from "./clip-tokenizer.js";

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

type Json = Record<string, unknown>;

/** The length of CLIP's text encoder, for configs that give none or transformers' "no limit" (1e30). */
const usualLength = 77;
const longest = 2 ** 20;
const highestId = 2 ** 26;

/**
 * A tokenizer from the texts of its files: tokenizer.json, or vocab.json and merges.txt; the others are optional.
 * @throws FILE_MISSING, FILE_CORRUPT naming the file
 */
export function clipTokenizer(files: ClipTokenizerTexts): ClipTokenizer {
  const { ids, merges, added } = files["tokenizer.json"] === undefined ? readPair(files) : readSingle(files);
  const config = readJson(files, "tokenizer_config.json") ?? {};
  const map = readJson(files, "special_tokens_map.json") ?? {};
  for (const [token, id] of Object.entries(readJson(files, "added_tokens.json") ?? {})) {
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
  const vocab = readJson(files, "vocab.json");
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
  const json = readJson(files, file)!;
  const model = object(json.model);
  if ((model.type ?? "BPE") !== "BPE" || model.end_of_word_suffix !== "</w>") {
    const found = `${model.type ?? "no model"} with end_of_word_suffix ${JSON.stringify(model.end_of_word_suffix)}`;
    throw corrupt(
      file,
      `it is no CLIP tokenizer: expected BPE with end_of_word_suffix "</w>", found ${found}`,
    );
  }
  const ids = readIds(file, object(model.vocab));
  const listed: unknown[] = Array.isArray(model.merges) ? model.merges : [];
  const pairs = listed.map((pair) => (Array.isArray(pair) ? pair : String(pair).split(" ")));
  const merges = readMerges(file, pairs, (i) => `model.merges[${i}]`, ids);
  const added = new Map<string, TokenId>();
  for (const token of Array.isArray(json.added_tokens) ? json.added_tokens : []) {
    const content = contentOf(token);
    if (content) added.set(content, readId(file, content, object(token).id));
  }
  return { ids, merges, added };
}

function readIds(file: string, vocab: Json): Map<string, TokenId> {
  const entries = Object.entries(vocab);
  if (entries.length === 0) throw corrupt(file, "its vocabulary is empty");
  return new Map(entries.map(([token, id]) => [token, readId(file, token, id)]));
}

function readId(file: string, token: string, id: unknown): TokenId {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < highestId) return id;
  throw corrupt(
    file,
    `token ${JSON.stringify(token)} has id ${JSON.stringify(id)}, not an integer from 0 on`,
  );
}

function readMerges(
  file: string,
  pairs: readonly unknown[][],
  place: (index: number) => string,
  ids: ReadonlyMap<string, TokenId>,
): Merge[] {
  return pairs.map((pair, i) => {
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== "string" || typeof right !== "string") {
      throw corrupt(file, `${place(i)} is not a pair of tokens: ${JSON.stringify(pair).slice(0, 80)}`);
    }
    const tokens = [left, right, left + right];
    const [l, r, merged] = tokens.map((token) => ids.get(token));
    if (l === undefined || r === undefined || merged === undefined) {
      const missing = JSON.stringify(tokens.find((token) => !ids.has(token)));
      throw corrupt(file, `${place(i)} needs ${missing}, which the vocabulary lacks`);
    }
    return { left: l, right: r, merged };
  });
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

/** A token is written as a string or as an object with its text in `content`. */
function contentOf(token: unknown): string | undefined {
  const content = typeof token === "string" ? token : object(token).content;
  return typeof content === "string" && content !== "" ? content : undefined;
}

function readJson(files: ClipTokenizerTexts, file: ClipTokenizerFile): Json | undefined {
  const text = files[file];
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw corrupt(file, "it is not valid JSON", cause);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw corrupt(file, "it is no JSON object");
  return json as Json;
}

function object(value: unknown): Json {
  return typeof value === "object" && value !== null ? (value as Json) : {};
}

function vocabularyFile(files: ClipTokenizerTexts): string {
  return files["tokenizer.json"] === undefined ? "vocab.json" : "tokenizer.json";
}

function corrupt(file: string, problem: string, cause?: unknown): Error {
  return failure("FILE_CORRUPT", `Cannot read the tokenizer: ${file}: ${problem}.`, cause);
}
