/** @file diffsight: a frozen text-to-image diffusion model as a task-aware vision encoder. */

export * from "./diffusion/index.js";
export type { Device, EngineOptions, Preset } from "./engine/index.js";
export * from "./image/index.js";
export * from "./tensor/index.js";
