/** @file The regular expressions of tokenizer.json, which are Oniguruma's, as JavaScript's. */

import { corrupt, object } from "./vocabulary-files.js";

interface Library {
  SplitPreTokenizer: new (config: object) => { pattern: RegExp | null };
}

/**
 * A pattern of tokenizer.json: `{"String": text}` or `{"Regex": expression}`. The library that translates expressions is
 * loaded only for one.
 * @throws FILE_CORRUPT when it is neither, or cannot be translated
 */
export async function readPattern(pattern: unknown, file: string): Promise<string | RegExp> {
  const { String: text, Regex: expression } = object(pattern);
  if (typeof text === "string" && text !== "") return text;
  if (typeof expression !== "string") {
    throw corrupt(
      file,
      `${JSON.stringify(pattern)?.slice(0, 80)} is no pattern: it has neither String nor Regex`,
    );
  }
  // The library's own types cannot be resolved by Node's rules.
  const { SplitPreTokenizer } = (await import("@huggingface/tokenizers")) as unknown as Library;
  try {
    const split = new SplitPreTokenizer({ type: "Split", pattern: { Regex: expression }, invert: false });
    if (split.pattern) return split.pattern;
  } catch (cause) {
    throw corrupt(file, `the expression ${JSON.stringify(expression).slice(0, 200)} cannot be read`, cause);
  }
  throw corrupt(file, `the expression ${JSON.stringify(expression).slice(0, 200)} cannot be read`);
}
