/** @file The engine room's door. */

export { alignedTensors } from "./aligned.js";
export * from "./engine.js";
export type { Device, Preset, RuntimeOptions } from "./host.js";
