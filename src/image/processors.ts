/** @file What each kind of image processor does where its `preprocessor_config.json` says nothing (transformers' classes). */

import { failure } from "../tensor/index.js";

interface ProcessorDefaults {
  size: { shortest_edge: number } | { height: number; width: number };
  resample?: number;
  do_center_crop: boolean;
  image_mean: number[];
  image_std: number[];
}

const clip: ProcessorDefaults = {
  size: { shortest_edge: 224 },
  do_center_crop: true,
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
};

/** By the class's name without "Pil" and "Fast". */
const processors: Record<string, ProcessorDefaults> = {
  CLIPImageProcessor: clip,
  LlavaImageProcessor: clip,
  /** DINOv2's */
  BitImageProcessor: clip,
  SiglipImageProcessor: {
    size: { height: 224, width: 224 },
    do_center_crop: false,
    image_mean: [0.5, 0.5, 0.5],
    image_std: [0.5, 0.5, 0.5],
  },
  ViTImageProcessor: {
    size: { height: 224, width: 224 },
    resample: 2,
    do_center_crop: false,
    image_mean: [0.5, 0.5, 0.5],
    image_std: [0.5, 0.5, 0.5],
  },
};

/**
 * The fields that a file leaves out. One that names no kind is CLIP's.
 * @throws DiffsightError CONFIG for a kind that is not known, and for padding where the kind does none
 */
export function processorDefaults(json: Record<string, unknown>): ProcessorDefaults {
  const named = String(json.image_processor_type ?? json.feature_extractor_type ?? "CLIPImageProcessor");
  const kind = named.replace(/(Fast|Pil)$/, "").replace(/FeatureExtractor$/, "ImageProcessor");
  const defaults = Object.hasOwn(processors, kind) ? processors[kind] : undefined;
  if (!defaults) {
    const known = Object.keys(processors).join(", ");
    throw failure("CONFIG", `The preprocessor config is not supported: ${named} is none of ${known}.`);
  }
  if (json.do_pad && kind !== "LlavaImageProcessor") {
    throw failure("CONFIG", `The preprocessor config is not supported: do_pad: ${kind} does not pad.`);
  }
  return defaults;
}
