/** @file The evaluation room's door. */

export * from "./blind.js";
export * from "./pointing.js";
export { type FeaturesConfig, featuresSchema, tokensOf } from "./probe/features.js";
export * from "./probe/head.js";
export * from "./probe/looks.js";
export * from "./probe/plan.js";
export * from "./probe/probe.js";
export { probeRegistry } from "./probe/registry.js";
export * from "./probe/report.js";
export * from "./probe/rows.js";
export { dotChart, heatMap, percent, type Series } from "./report/charts.js";
export { type Cell, escapeHtml, reportPage, type Section, table } from "./report/html.js";
export * from "./similarity.js";
export * from "./statistics.js";
