/** @file The vlm room's door: seeing and speaking joined. */

export { Answer } from "./answer.js";
export type { Answered, AnswerOptions, AnswerScore, Asked, AskOptions, SteerOptions } from "./asked.js";
export {
  type Conditioning,
  type ConditioningChoice,
  type ConditioningDraw,
  type ConditioningPolicy,
  type ConditioningRow,
  conditioningPolicySchema,
  conditioningSchema,
  conditionOn,
} from "./conditioning.js";
export {
  descriptionFile,
  descriptionJsonSchema,
  type EncoderDescription,
  encoderSchema,
  isRelative,
  type ModelReference,
  parseDescription,
  readDescription,
  resolveModel,
  type VlmDescription,
  writeDescription,
} from "./description.js";
export * from "./fusion/index.js";
export * from "./language/index.js";
export { type LlavaConfig, readLlavaConfig } from "./llava-config.js";
export { type LlavaComponent, llavaCheckpoint, llavaKey } from "./llava-keys.js";
export { type Llava, type LlavaOptions, llavaImageFeatures, openLlava } from "./llava-open.js";
export type { VisionLanguageModelOptions } from "./parts.js";
export { type ProjectorConfig, projector, projectorLayout, readProjectorType } from "./projector.js";
export { EncoderOpener, type ModelSource, type OpenEncoder } from "./sight/encoders.js";
export { planSight, type SightPlan } from "./sight/plan.js";
export { type ImageProcessor, readImageProcessor } from "./sight/processor.js";
export type { DiffusionLook, DiffusionPrompt, DiffusionTold, Picture, Sight, Steer } from "./sight/sight.js";
export { gridTokens } from "./sight/tokens.js";
export {
  planSplice,
  type SpliceOptions,
  type SplicePlan,
  splice,
  spliceIndex,
  spliceParts,
} from "./splice.js";
export { checkVocabulary, readTexts, type Texts } from "./texts.js";
export { VisionLanguageModel } from "./vision-language-model.js";
