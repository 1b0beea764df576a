/** @file diffsight: a frozen text-to-image diffusion model as a task-aware vision encoder, and a language model in front of it. */

export {
  type AttendOptions,
  addNoise,
  createScheduler,
  DiffusionEncoder,
  defaultTap,
  type EncodeOptions,
  type EncoderOptions,
  Features,
  type Generated,
  type GenerateOptions,
  type ImageOptions,
  type JobProgress,
  longId,
  type NoiseSchedule,
  noiseSchedule,
  normalizeId,
  type Part,
  type PredictionType,
  parseSchedulerConfig,
  parts,
  type Scheduler,
  type SchedulerConfig,
  type SchedulerName,
  type ScoreOptions,
  schedulerNames,
  scoreTimesteps,
  shortId,
  type TapInfo,
  type TextScore,
  velocity,
  WordMaps,
} from "./diffusion/index.js";
export * as diorama from "./diorama/index.js";
export {
  configureRuntime,
  type Device,
  type EngineOptions,
  type Preset,
  type RuntimeOptions,
} from "./engine/index.js";
export * from "./image/index.js";
export * from "./tensor/index.js";
export type { Turn } from "./text/index.js";
export {
  Answer,
  type AskOptions,
  LanguageModel,
  type LanguageModelOptions,
  VisionLanguageModel,
  type VisionLanguageModelOptions,
} from "./vlm/index.js";
