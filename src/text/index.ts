/** @file The text room's door. */

export type { TokenId } from "./byte-pairs.js";
export {
  type ChatTemplate,
  chatTemplate,
  chatTemplateNames,
  imageMark,
  imagesFirst,
  questionIn,
  type Turn,
} from "./chat.js";
export * from "./clip-files.js";
export * from "./clip-tokenizer.js";
export * from "./clip-vocabulary.js";
export {
  encodeWithImages,
  expandImageTokens,
  imageTokenIndex,
  type PromptOptions,
} from "./image-tokens.js";
export { type ChatTemplateContents, chatTemplateFiles, jinjaTemplate, readChatTemplate } from "./jinja.js";
export { ignoredLabel, type LabelledConversation, type LabelOptions, labelConversation } from "./labels.js";
export { TextStream, type TextStreamOptions } from "./text-stream.js";
export { type DecodeOptions, type TextOptions, Tokenizer } from "./tokenizer.js";
export {
  readTokenizer,
  type TokenizerContents,
  type TokenizerFile,
  tokenizerFiles,
} from "./tokenizer-files.js";
export { type WordVocabularyFiles, type WordVocabularyOptions, wordVocabulary } from "./word-vocabulary.js";
