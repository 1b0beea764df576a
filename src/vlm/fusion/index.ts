/** @file Fusion: the tokens of several encoders joined before they are projected. */

export type { FusionContext, StreamShape } from "./fusion.js";
export {
  isStatistic,
  type Normalisation,
  picturesToWhiten,
  whitening,
  whiteningOf,
} from "./normalisation.js";
export { type FusionConfig, type FusionProgram, fusionSchema, planFusion } from "./program.js";
export { type FusionStep, fusions } from "./registry.js";
export { type FusionWarning, fusionWarnings, type TrainingFacts } from "./warnings.js";
