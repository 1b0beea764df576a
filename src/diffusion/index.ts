/** @file The diffusion room's door. */

export { average, difference, guide } from "./arithmetic.js";
export { type AttendOptions, WordMaps } from "./attend.js";
export { defaultTap, type EncodeOptions, Features, type Part, parts } from "./encode.js";
export { DiffusionEncoder, type EncoderOptions, type TapInfo } from "./encoder.js";
export type { ImageOptions, JobProgress } from "./eye.js";
export { fingerprint } from "./fingerprint.js";
export type { Generated, GenerateOptions } from "./generate.js";
export { Memory, type Tensors } from "./memory.js";
export * from "./schedulers/index.js";
export { type ScoreOptions, scoreTimesteps, type TextScore } from "./score.js";
export { longId, normalizeId, shortId } from "./taps.js";
