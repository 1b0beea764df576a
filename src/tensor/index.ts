/** @file The tensor room's door. */

export * from "./checked.js";
export * from "./dtype.js";
export * from "./errors.js";
export * from "./npy.js";
export * from "./random.js";
export * from "./safetensors.js";
export * from "./strided.js";
export * from "./tensor.js";
export * from "./wording.js";
