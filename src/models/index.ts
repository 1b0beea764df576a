/** @file The models room's door. */

export {
  type ClipTextConfig,
  type ClipTextOutputs,
  clipText,
  pooledIndex,
  readClipTextConfig,
} from "./clip-text.js";
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
