/** @file Preprocessor configs as they are published, and those that are refused. */

import { describe, expect, it } from "vitest";
import { clipImage, clipPixels, readPreprocessorConfig } from "./clip.js";
import { blankImage } from "./image.js";

describe("preprocessor configs", () => {
  it("of openai/clip-vit-large-patch14: plain numbers for the sizes", () => {
    const config = readPreprocessorConfig({
      crop_size: 224,
      do_center_crop: true,
      do_normalize: true,
      do_resize: true,
      feature_extractor_type: "CLIPFeatureExtractor",
      image_mean: [0.48145466, 0.4578275, 0.40821073],
      image_std: [0.26862954, 0.26130258, 0.27577711],
      resample: 3,
      size: 224,
    });
    expect(config).toEqual(readPreprocessorConfig({}));
  });

  it("of SigLIP: squashed to a square, no crop, mean and deviation of a half", () => {
    const config = readPreprocessorConfig({
      image_processor_type: "SiglipImageProcessor",
      size: { height: 10, width: 12 },
    });
    const pixels = clipPixels(blankImage(30, 7, [255, 0, 255]), config);
    expect(pixels.dims).toEqual([1, 3, 10, 12]);
    expect([pixels.data[0], pixels.data[120], pixels.data[240]]).toEqual([1, -1, 1]);
    expect(clipPixels(blankImage(30, 7), config, "squash").dims).toEqual([1, 3, 10, 12]);
  });

  it("of DINOv2: a crop smaller than the resized picture", () => {
    const config = readPreprocessorConfig({
      image_processor_type: "BitImageProcessor",
      size: { shortest_edge: 32 },
      crop_size: { height: 28, width: 28 },
      do_rescale: false,
      do_normalize: false,
    });
    const pixels = clipPixels(blankImage(50, 40, [7, 8, 9]), config);
    expect(pixels.dims).toEqual([1, 3, 28, 28]);
    expect(pixels.data[0]).toBe(7);
    expect(clipPixels(blankImage(50, 40), config, "squash").dims).toEqual([1, 3, 28, 28]);
  });

  it("of LLaVA: filled up to a square with the mean colour, when the file says so", () => {
    const config = {
      image_processor_type: "LlavaImageProcessorFast",
      do_resize: false,
      do_center_crop: false,
    };
    const padded = clipImage(blankImage(5, 9), readPreprocessorConfig({ ...config, do_pad: true }));
    expect([padded.width, padded.height, ...padded.data.subarray(0, 3)]).toEqual([9, 9, 122, 116, 104]);
    expect(clipImage(blankImage(5, 9), readPreprocessorConfig(config))).toMatchObject({
      width: 5,
      height: 9,
    });
  });

  it("leave the size alone when nothing is to be resized or cropped", () => {
    const config = readPreprocessorConfig({ do_resize: false, do_center_crop: false });
    expect(clipImage(blankImage(5, 9), config)).toEqual(blankImage(5, 9));
    expect(clipImage(blankImage(5, 9), config, "pad")).toMatchObject({ width: 9, height: 9 });
  });

  it.each([
    [{ resample: 0 }, /resample/],
    [{ size: { longest_edge: 5 } }, /size/],
    [{ crop_size: { height: 5 } }, /crop_size/],
    [{ image_mean: [0.5] }, /image_mean/],
    [{ do_pad: true }, /do_pad: CLIPImageProcessor does not pad/],
    [{ image_processor_type: "ViTImageProcessor" }, /ViTImageProcessor is none of CLIPImageProcessor, /],
    [{ image_processor_type: "toString" }, /toString is none of/],
    [7, /the file/],
  ])("are refused by the name of the field: %j", (json, message) => {
    expect(() => readPreprocessorConfig(json)).toThrow(message);
    expect(() => readPreprocessorConfig(json)).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });
});
