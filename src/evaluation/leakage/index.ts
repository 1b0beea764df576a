/** @file Leakage: what of the text that diffusion was told comes back in a model's words. */

export * from "./findings.js";
export {
  type Condition,
  type LeakageRequest,
  measureLeakage,
  type PictureRecords,
  type Said,
  type ToldKind,
  toldKinds,
} from "./measure.js";
export * from "./pictures.js";
export {
  type LeakageReport,
  type LeakageReportOptions,
  leakageReport,
  type MeasuredModel,
} from "./report.js";
