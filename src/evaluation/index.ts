/** @file The evaluation room's door. */

export * from "./pointing.js";
export * from "./similarity.js";
export * from "./statistics.js";
