/** @file The data room's door. */

export * from "./hash.js";
export * from "./ledger.js";
export * from "./store.js";
export * from "./store-writer.js";
