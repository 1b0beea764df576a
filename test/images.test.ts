/** @file Decoding, resizing and processors against Pillow, transformers and diffusers. */

import { readdirSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import {
  clipImage,
  clipPixels,
  decodeImage,
  fitImage,
  fromVaePixels,
  padToSquare,
  type ResizeFilter,
  type RgbImage,
  readPreprocessorConfig,
  resize,
  vaePixels,
} from "../src/image/index.js";
import { Tensor } from "../src/tensor/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";

const golden = new Golden("images");
const images = new Map<string, RgbImage>();

beforeAll(async () => {
  for (const file of readdirSync(goldenPath("images", "images"))) {
    images.set(file, await decodeImage(goldenPath("images", "images", file)));
  }
});

/** The image that a reference function saw: for JPEG Pillow's own pixels, so that decoders do not differ. */
function image(file: string): RgbImage {
  const decoded = images.get(file)!;
  const entry = golden.case("rgb").outputs[file];
  return entry ? { ...decoded, data: golden.tensor(entry).data as Uint8Array } : decoded;
}

function pixels({ width, height, data }: RgbImage): Tensor {
  return new Tensor("u8", [height, width, 3], data);
}

const casesOf = (name: RegExp) => golden.cases.filter((one) => name.test(one.name));
const outputs = (one: GoldenCase) => Object.keys(one.outputs).map((name) => ({ name, one }));

describe("decoding to RGB as Pillow does", () => {
  it.each(outputs(golden.case("rgb")))("$name", ({ name, one }) => {
    const levels = name.endsWith(".jpg") ? 2 : 0;
    expectClose(pixels(images.get(name)!), golden.output(one, name), levels, name);
  });
});

describe("resizing as Pillow does, bit for bit", () => {
  const cases = casesOf(/^resize-.*-(BICUBIC|BILINEAR|LANCZOS)$/);
  it.each(cases.flatMap(outputs))("$one.name $name", ({ name, one }) => {
    const [width, height] = name.split("x").map(Number) as [number, number];
    const filter = one.args.resample.toLowerCase() as ResizeFilter;
    expectClose(pixels(resize(image(one.args.file), width, height, filter)), golden.output(one, name), 0);
  });

  it("grey images, channel by channel", () => {
    const one = golden.case("resize-L");
    const [width, height] = one.args.size;
    const { data } = resize(image(one.args.file), width, height, "bicubic");
    const grey = new Tensor(
      "u8",
      [height, width],
      data.filter((_, i) => i % 3 === 0),
    );
    expectClose(grey, golden.output(one, "grey"), 0);
  });
});

describe("CLIP's processor", () => {
  const config = (size: number) =>
    readPreprocessorConfig({ size: { shortest_edge: size }, crop_size: { height: size, width: size } });
  const flat = ({ dims, data }: Tensor) => new Tensor("f32", dims.slice(1), data);

  it.each(casesOf(/^clip-\d+$/).flatMap(outputs))("$one.name $name", ({ name, one }) => {
    const actual = clipPixels(image(name), config(one.args.size));
    expectClose(flat(actual), golden.output(one, name), 0);
  });

  it.each(outputs(golden.case("clip-224-u8")))("resizes and crops $name", ({ name, one }) => {
    expectClose(pixels(clipImage(image(name), config(one.args.size))), golden.output(one, name), 0);
  });

  it.each(outputs(golden.case("expand2square")))("pads $name to a square as LLaVA does", ({ name, one }) => {
    expectClose(pixels(padToSquare(image(name))), golden.output(one, name), 0);
  });

  it.each(outputs(golden.case("llava-pad-48")))("prepares $name for LLaVA", ({ name, one }) => {
    const actual = clipPixels(image(name), config(one.args.size), "pad");
    expectClose(flat(actual), golden.output(one, name), 0);
  });
});

describe("the VAE's processor", () => {
  it.each(casesOf(/^vae-\d+x\d+-/).flatMap(outputs))("$one.name $name", ({ name, one }) => {
    const filter = one.name.split("-")[2] as ResizeFilter;
    const { width, height } = one.args;
    const actual = vaePixels(fitImage(image(name), { width, height, fit: "squash", filter }));
    expectClose(actual.reshape(actual.dims.slice(1)), golden.output(one, name), 0);
  });

  it("takes an image at its own size, cut down to multiples of 8", () => {
    const one = golden.case("vae-native");
    const { width, height, ...rest } = image(one.args.file);
    const whole = { width, height, ...rest };
    const actual = vaePixels(resize(whole, width - (width % 8), height - (height % 8), "lanczos"));
    expectClose(actual.reshape(actual.dims.slice(1)), golden.output(one, one.args.file), 0);
  });

  it("turns decoded pictures into pixels", () => {
    const one = golden.case("vae-postprocess");
    for (const index of [0, 1]) {
      expectClose(pixels(fromVaePixels(golden.input(one, "x"), index)), golden.output(one, String(index)), 0);
    }
  });
});

it("every file of the goldens is an image that decodes from bytes alike", async () => {
  for (const [file, fromPath] of images) {
    const fromBytes = await decodeImage(readFileSync(goldenPath("images", "images", file)));
    expect(fromBytes, file).toEqual(fromPath);
  }
});
