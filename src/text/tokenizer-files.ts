/** @file Reads a language model's tokenizer from the files of its folder. */

import { DiffsightError, failure } from "../tensor/index.js";
import { tokenizerFromSentencePiece } from "./sentencepiece.js";
import type { Tokenizer } from "./tokenizer.js";
import { readTokenizerConfig } from "./tokenizer-config.js";
import { tokenizerFromJson } from "./tokenizer-json.js";

/** The files of a folder that `readTokenizer` reads, where they exist. */
export const tokenizerFiles = [
  "tokenizer.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
] as const;

export type TokenizerFile = (typeof tokenizerFiles)[number];

/** The contents of those files, by name: bytes, or text of those that are text. */
export type TokenizerContents = Readonly<Partial<Record<TokenizerFile, string | Uint8Array>>>;

/**
 * A tokenizer from tokenizer.json, or from SentencePiece's tokenizer.model where there is no other or it has parts that are
 * not known here; the other files are optional.
 * @throws FILE_MISSING, FILE_CORRUPT, TOKENIZER_UNSUPPORTED naming the file
 */
export async function readTokenizer(files: TokenizerContents): Promise<Tokenizer> {
  const text = (file: TokenizerFile): string | undefined => {
    const content = files[file];
    return typeof content === "object" ? new TextDecoder().decode(content) : content;
  };
  const config = readTokenizerConfig({
    "tokenizer_config.json": text("tokenizer_config.json"),
    "special_tokens_map.json": text("special_tokens_map.json"),
    "added_tokens.json": text("added_tokens.json"),
  });
  const json = text("tokenizer.json");
  const model = files["tokenizer.model"];
  if (json !== undefined) {
    try {
      return await tokenizerFromJson(json, config);
    } catch (error) {
      const isUnsupported = error instanceof DiffsightError && error.code === "TOKENIZER_UNSUPPORTED";
      if (typeof model !== "object" || !isUnsupported) throw error;
    }
  }
  if (typeof model === "object") return tokenizerFromSentencePiece(model, config);
  throw failure("FILE_MISSING", "The tokenizer has neither tokenizer.json nor tokenizer.model.");
}
