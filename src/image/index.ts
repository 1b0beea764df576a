/** @file The image room's door: decoding, PIL-exact resizing, the networks' processors, maps and pictures. */

export {
  clipImage,
  clipPixels,
  finalSize,
  networkPixels,
  type PreprocessorConfig,
  readPreprocessorConfig,
  usualFit,
  withSide,
} from "./clip.js";
export { type DecodeOptions, decodeImage, type ImageLimits } from "./decode.js";
export {
  clipMeanColour,
  cropCentre,
  type Fit,
  type FitOptions,
  fitImage,
  fits,
  nativeSize,
  padTo,
  padToSquare,
  type Size,
} from "./fit.js";
export { type ImageFormat, imageFormats } from "./header.js";
export {
  blankImage,
  type Colour,
  type ImageInput,
  type RawImage,
  type RgbImage,
  rgbFromRaw,
} from "./image.js";
export { type InterpolateMode, interpolate, poolGrid } from "./interpolate.js";
export * from "./pictures/index.js";
export { encodePng } from "./png-encode.js";
export { type ResizeFilter, resize, resizeFilters } from "./resize.js";
export { fromVaePixels, vaePixels } from "./vae.js";
