/** @file The text room's door. */

export type { TokenId } from "./byte-pairs.js";
export * from "./clip-files.js";
export * from "./clip-tokenizer.js";
export * from "./clip-vocabulary.js";
export { TextStream, type TextStreamOptions } from "./text-stream.js";
export { type DecodeOptions, type TextOptions, Tokenizer } from "./tokenizer.js";
export {
  readTokenizer,
  type TokenizerContents,
  type TokenizerFile,
  tokenizerFiles,
} from "./tokenizer-files.js";
export { type WordVocabularyFiles, type WordVocabularyOptions, wordVocabulary } from "./word-vocabulary.js";
