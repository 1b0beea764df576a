/** @file The data room's door. */

export * from "./conversations.js";
export * from "./conversations-order.js";
export * from "./conversations-samples.js";
export * from "./hash.js";
export * from "./ledger.js";
export * from "./store.js";
export * from "./store-writer.js";
