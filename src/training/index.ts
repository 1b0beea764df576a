/** @file The training room's door. */

export * from "./producer.js";
export * from "./task.js";
