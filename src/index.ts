/** @file diffsight: a frozen text-to-image diffusion model as a task-aware vision encoder. */

export * from "./diffusion/index.js";
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
