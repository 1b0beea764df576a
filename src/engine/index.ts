/** @file The engine room's door. */

export { alignedTensors } from "./aligned.js";
export * from "./engine.js";
export type { Device, KeptTensor, Preset, RuntimeOptions } from "./host.js";
export { KeptRows } from "./kept.js";
