/** @file The evaluation room's door. */

export * from "./answers/judge.js";
export { type AnswersConfig, answersConfig } from "./answers/producer.js";
export * from "./blind.js";
export * from "./captions.js";
export * from "./captions-overlap.js";
export * from "./captions-tuples.js";
export * from "./crossed.js";
export type { Accuracy } from "./graded.js";
export * from "./leakage/index.js";
export * from "./pointing.js";
export { type DrawingsConfig, drawingsSchema } from "./probe/drawings.js";
export * from "./probe/head.js";
export * from "./probe/looks.js";
export { type PixelsConfig, pixelsSchema } from "./probe/pixels.js";
export * from "./probe/pixels-plan.js";
export * from "./probe/plan.js";
export * from "./probe/probe.js";
export * from "./probe/report.js";
export * from "./probe/report-pixels.js";
export * from "./probe/statistics.js";
export { evaluationRegistry } from "./registry.js";
export { dotChart, heatMap, type Series } from "./report/charts.js";
export { type Cell, escapeHtml, percent, reportPage, type Section, shown, table } from "./report/html.js";
export { type Curve, type LineChartOptions, lineChart } from "./report/line-chart.js";
export * from "./similarity.js";
export * from "./statistics.js";
export * from "./sweep/estimate.js";
export * from "./sweep/expand.js";
export * from "./sweep/findings.js";
export {
  type KeptAnswer,
  type KeptJudgement,
  outcomesFolder,
  type SweepOutcome,
} from "./sweep/outcomes.js";
export { parsePlan, type SweepPlan, type SweepVariant } from "./sweep/plan.js";
export { type JudgedReportOptions, judgedReport, type SweepReport, sweepReport } from "./sweep/report.js";
export * from "./sweep/run.js";
export type { ToldFindings } from "./sweep/told.js";
