/** @file The evaluation room's door. */

export * from "./blind.js";
export * from "./captions.js";
export * from "./captions-overlap.js";
export * from "./captions-tuples.js";
export * from "./pointing.js";
export { type DrawingsConfig, drawingsSchema } from "./probe/drawings.js";
export * from "./probe/head.js";
export * from "./probe/looks.js";
export { type PixelsConfig, pixelsSchema } from "./probe/pixels.js";
export * from "./probe/pixels-plan.js";
export * from "./probe/plan.js";
export * from "./probe/probe.js";
export { probeRegistry } from "./probe/registry.js";
export * from "./probe/report.js";
export * from "./probe/report-pixels.js";
export * from "./probe/statistics.js";
export { dotChart, heatMap, type Series } from "./report/charts.js";
export { type Cell, escapeHtml, percent, reportPage, type Section, shown, table } from "./report/html.js";
export * from "./similarity.js";
export * from "./statistics.js";
