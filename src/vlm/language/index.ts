/** @file Language models: reading, remembering, speaking. */

export { Context } from "./context.js";
export {
  BatchGeneration,
  type Finish,
  type GeneratedToken,
  type GenerateOptions,
  Generation,
} from "./generation.js";
export {
  type Continuation,
  type GenerationConfig,
  LanguageModel,
  type LanguageModelOptions,
  type PromptOrContext,
  type ReadOptions,
  readGenerationConfig,
} from "./language-model.js";
export type { Prompt, PromptPart } from "./prompt.js";
export { type QuantizeLanguageOptions, quantizeLanguageModel } from "./quantize.js";
export type { SamplingOptions } from "./sampling.js";
