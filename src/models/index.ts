/** @file The models room's door. */

export {
  type ClipConfig,
  type ClipInputs,
  type ClipOutputs,
  clip,
  readClipConfig,
  unitVectors,
} from "./clip.js";
export {
  type ClipTextConfig,
  type ClipTextOutputs,
  clipText,
  pooledIndex,
  readClipTextConfig,
} from "./clip-text.js";
export {
  type ClipVisionConfig,
  type ClipVisionOutputs,
  clipVision,
  readClipVisionConfig,
  visionPatches,
} from "./clip-vision.js";
export { readConfig } from "./config.js";
export { type Dinov2Config, type Dinov2Outputs, dinov2, readDinov2Config } from "./dinov2.js";
export { readLanguageConfig } from "./language-config.js";
export { layerNorm, linear } from "./layers.js";
export { type ClipLayoutOptions, clipLayout, clipTextLayout, clipVisionLayout } from "./layout/clip.js";
export { initialise } from "./layout/initialise.js";
export {
  type Layout,
  LayoutBuilder,
  type PlannedTensor,
  parameterCount,
  type Role,
  type Start,
} from "./layout/layout.js";
export { llamaLayout } from "./layout/llama.js";
export { unetLayout } from "./layout/unet.js";
export { vaeLayout } from "./layout/vae.js";
export {
  type KeysAndValues,
  type LlamaConfig,
  type LlamaInputs,
  type LlamaOutputs,
  llama,
  llamaEmbeddings,
  llamaLogits,
  readLlamaConfig,
} from "./llama.js";
export { readMistralConfig } from "./mistral.js";
export { type PatchConfig, patchGrid, resampleTokens, resampling } from "./patches.js";
export { readQwen2Config } from "./qwen2.js";
export { downsample, resnetBlock } from "./resnet.js";
export {
  longestSequence,
  type RopeConfig,
  type RotaryTables,
  readRope,
  rotaryTables,
  turnsByLength,
} from "./rope.js";
export {
  readSiglipVisionConfig,
  type SiglipVisionConfig,
  type SiglipVisionOutputs,
  siglipVision,
} from "./siglip.js";
export { sinusoids } from "./timestep.js";
export { readUnetConfig, type UnetConfig } from "./unet/config.js";
export { type UnetInputs, unet } from "./unet/unet.js";
export {
  type AutoencoderConfig,
  decodeLatent,
  type EncodedImage,
  encodeImage,
  readAutoencoderConfig,
} from "./vae/autoencoder.js";
export { readVaeConfig, type VaeConfig } from "./vae/config.js";
export { type Posterior, posterior, vaeDecode, vaeEncode } from "./vae/vae.js";
export { readTinyVaeConfig, type TinyVaeConfig, tinyVaeDecode, tinyVaeEncode } from "./vae-tiny.js";
export {
  readVisionEncoder,
  type TokenOptions,
  type TokenSelection,
  tokenCount,
  type VisionEncoder,
  type VisionStates,
  visionTokens,
} from "./vision.js";
