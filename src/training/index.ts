/** @file The training room's door. */

export * from "./curve.js";
export { estimateStage, type StageEstimate } from "./estimate.js";
export {
  type AskedRow,
  askedSchema,
  askedText,
  type Question,
  type SceneLine,
  sceneSchema,
} from "./lines.js";
export { modelFolder } from "./make-export.js";
export * from "./order.js";
export * from "./producer.js";
export {
  asksEach,
  type FeaturesConfig,
  featuresSchema,
  plannedRows,
  tokensOf,
} from "./producers/features.js";
export * from "./recipe.js";
export { builtIn, type Registry } from "./registry.js";
export * from "./run-recipe.js";
export { readRun, type StageState } from "./run-state.js";
export * from "./schedule.js";
export * from "./settings.js";
export {
  dataFolders,
  isData,
  isDone,
  isExport,
  isTraining,
  type PlannedStage,
  planStages,
  readResult,
  readWeights,
  type StageResult,
} from "./stages.js";
export { medianSeconds } from "./step-log.js";
export { partSize, planTraining, StepProgram, type TrainingPlan } from "./step-program.js";
export { featureColumn } from "./subjects.js";
export * from "./task.js";
export { checkColumn, checkPictures, picturesOf, roles, stacked } from "./tasks/pictures.js";
export { absoluteModel } from "./token-encoder.js";
export * from "./train.js";
export { bytesOf, matchKey, memoryCheckpoint, parametersOf, scopeOf } from "./weights.js";
