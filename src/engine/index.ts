/** @file The engine room's door. */

export * from "./engine.js";
export type { Device, Preset } from "./host.js";
