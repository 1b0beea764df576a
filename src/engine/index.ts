/** @file The engine room's door. */

export * from "./engine.js";
export type { Device, Preset, RuntimeOptions } from "./host.js";
