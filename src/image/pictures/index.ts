/** @file Pictures of maps and features: colour maps, overlays, sheets. */

export { enlarged } from "./canvas.js";
export {
  type ColorizeOptions,
  type ColormapName,
  colorize,
  colormapNames,
  colormapTable,
} from "./colormap.js";
export { type FeatureKind, type FeatureSheetOptions, featureKinds, featureSheet } from "./feature-sheet.js";
export {
  deltaPicture,
  type FeaturePictureOptions,
  normMap,
  normPicture,
  type Patch,
  pcaPicture,
  pcaPictures,
  pcaTiles,
  similarityMap,
  similarityPicture,
} from "./features.js";
export {
  type OverlayOptions,
  type OverlayPictureOptions,
  overlay,
  overlayPicture,
  overlayTile,
} from "./overlay.js";
export { type PrincipalComponents, principalComponents } from "./pca.js";
export {
  type ColourKey,
  contactSheet,
  type Legend,
  type Section,
  type SheetOptions,
  sheet,
  type Tile,
} from "./sheet.js";
export type { Normalise } from "./values.js";
