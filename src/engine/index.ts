/** @file The engine room's door. */

export { configureRuntime } from "#host/engine";
export * from "./engine.js";
export type { Device, Preset, RuntimeOptions } from "./host.js";
