/** @file Preprocessor configs as they are published, and those that are refused. */

import { describe, expect, it } from "vitest";
import { clipImage, clipPixels, networkPixels, readPreprocessorConfig, withSide } from "./clip.js";
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
    for (const plain of [
      clipImage(blankImage(5, 9), readPreprocessorConfig(config)),
      clipImage(blankImage(5, 9), readPreprocessorConfig({ ...config, do_pad: true }), "crop"),
    ])
      expect(plain).toMatchObject({ width: 5, height: 9 });
  });

  it("of ViT: squashed by a bilinear resize", () => {
    const config = readPreprocessorConfig({ image_processor_type: "ViTImageProcessor" });
    expect(config).toMatchObject({
      size: { height: 224, width: 224 },
      resample: 2,
      image_mean: [0.5, 0.5, 0.5],
    });
    expect(clipPixels(blankImage(30, 7), config).dims).toEqual([1, 3, 224, 224]);
  });

  it("with a plain number: the short side of CLIP's pictures, both sides of ViT's", () => {
    const sizeOf = (image_processor_type: string) =>
      readPreprocessorConfig({ image_processor_type, size: 28 }).size;
    expect(sizeOf("CLIPImageProcessor")).toEqual({ shortest_edge: 28 });
    expect(sizeOf("ViTImageProcessor")).toEqual({ height: 28, width: 28 });
    expect(sizeOf("ViTFeatureExtractor")).toEqual({ height: 28, width: 28 });
  });

  it("saved with nulls: steps that are null are not taken, other nulls say nothing", () => {
    const fast = {
      image_processor_type: "SiglipImageProcessorFast",
      crop_size: null,
      do_center_crop: null,
      do_convert_rgb: null,
      do_pad: null,
      do_normalize: true,
      do_resize: true,
      size: { height: 384, width: 384 },
    };
    expect(readPreprocessorConfig(fast)).toMatchObject({ do_center_crop: false, size: { width: 384 } });
    const bare = {
      do_resize: null,
      do_center_crop: null,
      do_rescale: false,
      rescale_factor: null,
      do_normalize: false,
      image_mean: null,
      image_std: null,
    };
    const image = blankImage(3, 2, [7, 8, 9]);
    const pixels = clipPixels(image, readPreprocessorConfig(bare));
    expect([...pixels.dims, pixels.data[0], pixels.data[6], pixels.data[12]]).toEqual([1, 3, 2, 3, 7, 8, 9]);
  });

  it("with one number for the mean of every channel", () => {
    expect(readPreprocessorConfig({ image_mean: 0.5, image_std: 0.25 })).toMatchObject({
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.25, 0.25, 0.25],
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
    [
      { image_processor_type: "ConvNextImageProcessor" },
      /ConvNextImageProcessor is none of CLIPImageProcessor, /,
    ],
    [{ image_processor_type: "toString" }, /toString is none of/],
    [7, /the file/],
  ])("are refused by the name of the field: %j", (json, message) => {
    expect(() => readPreprocessorConfig(json)).toThrow(message);
    expect(() => readPreprocessorConfig(json)).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });
});

describe("pictures for a network", () => {
  const ruler = blankImage(100, 40);
  for (let i = 0; i < ruler.data.length; i++) ruler.data[i] = (i * 7) % 251;
  const square = { width: 28, height: 28 };
  const dino = readPreprocessorConfig({ size: { shortest_edge: 32 }, crop_size: square });

  it("of another size keep what a crop cuts off, in proportion", () => {
    expect(clipImage(ruler, withSide(dino, 28, "crop"))).toEqual(clipImage(ruler, dino));
    expect(withSide(dino, 56, "crop")).toMatchObject({
      size: { shortest_edge: 64 },
      crop_size: { width: 56 },
    });
    // Filled up or squashed there is nothing to cut off.
    expect(clipImage(ruler, withSide(dino, 28, "squash"), "squash")).toEqual(
      clipImage(ruler, dino, "squash"),
    );
    expect(withSide(dino, 56, "pad")).toMatchObject({ size: { width: 56, height: 56 } });
  });

  it("are filled up with black where the crop is larger", () => {
    const large = readPreprocessorConfig({ size: { shortest_edge: 4 }, crop_size: { width: 7, height: 7 } });
    const seen = clipImage(blankImage(4, 4, [9, 9, 9]), large);
    const row = (y: number) => Array.from({ length: 7 }, (_, x) => seen.data[(y * 7 + x) * 3]);
    // An odd pixel goes above and to the left.
    expect([row(1), row(2)]).toEqual([new Array(7).fill(0), [0, 0, 9, 9, 9, 9, 0]]);
  });

  it("that keep their own shape are refused by the processor's fields", () => {
    const uncropped = readPreprocessorConfig({ size: { shortest_edge: 28 }, do_center_crop: false });
    expect(networkPixels(blankImage(40, 40), uncropped).dims).toEqual([1, 3, 28, 28]);
    expect(() => networkPixels(ruler, uncropped)).toThrow(
      /100 x 40 becomes 70 x 28 where the encoder takes 28 x 28: .*"shortest_edge":28.*"do_center_crop":false.* "pad" or "squash"/,
    );
    const unresized = readPreprocessorConfig({ do_resize: false, do_center_crop: false });
    expect(() => networkPixels(ruler, unresized, "pad")).toThrow(/"do_resize":false.* the fit "squash"/);
    expect(networkPixels(ruler, uncropped, "squash").dims).toEqual([1, 3, 28, 28]);
  });
});
