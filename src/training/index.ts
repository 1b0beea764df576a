/** @file The training room's door. */

export * from "./curve.js";
export * from "./order.js";
export * from "./producer.js";
export * from "./schedule.js";
export * from "./settings.js";
export { partSize, planTraining, StepProgram, type TrainingPlan } from "./step-program.js";
export * from "./task.js";
export * from "./train.js";
export { bytesOf, memoryCheckpoint, parametersOf, scopeOf } from "./weights.js";
