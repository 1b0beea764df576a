/** @file The weights room's door. */

export { hubCacheFolder } from "./cache.js";
export {
  type Checkpoint,
  checkpointOf,
  readWeightFile,
  type WeightEntry,
  type WeightFormat,
  type WeightPart,
} from "./checkpoint.js";
export { embeddedModels, modelPath } from "./embedded.js";
export { ModelFolder, type OpenOptions, openCheckpoint, openModel } from "./folder.js";
export {
  type ComponentInspection,
  type Inspection,
  type InspectOptions,
  inspect,
  type Misfit,
  type WeightsInspection,
} from "./inspect.js";
export {
  dequantizeMatrix,
  type Quantization,
  type QuantizedMatrix,
  quantizeMatrix,
} from "./quantize.js";
export {
  type QuantizationConfig,
  type QuantizeModelOptions,
  type QuantizeReport,
  quantizeModel,
} from "./quantize-model.js";
export * from "./scope.js";
export type { ProgressEvent, SourceOptions, WeightFile } from "./source.js";
export { writeFileAtomic } from "./write.js";
