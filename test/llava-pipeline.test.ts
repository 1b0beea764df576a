/** @file What a LLaVA's folder makes of a picture and a question before the language model reads them: transformers' tokens, pixels and rows. */

import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { input } from "../src/graph/index.js";
import { clipPixels, decodeImage } from "../src/image/index.js";
import { chatTemplate, encodeWithImages, readTokenizer, type Turn } from "../src/text/index.js";
import { llavaImageFeatures, openLlava } from "../src/vlm/index.js";
import { openModel } from "../src/weights/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";

const folder = "pipeline-llava";
const golden = new Golden(folder);
const llava = await openLlava(await openModel(goldenPath(folder)));
const text = (name: string) => readFileSync(goldenPath(folder, name), "utf8");
const engine = await Engine.open({ device: "cpu", memory: "mmap" });
afterAll(() => engine.dispose());

const tokenizer = await readTokenizer({
  "tokenizer.json": text("tokenizer.json"),
  "tokenizer_config.json": text("tokenizer_config.json"),
});

function prompt({ args }: GoldenCase): number[] {
  const turns = args.turns.map((said: string, i: number): Turn => {
    return { role: i % 2 ? "assistant" : "user", text: i === 0 ? `<image>\n${said}` : said };
  });
  const { imageToken } = llava.config;
  return encodeWithImages(tokenizer, chatTemplate("vicuna_v1").render(turns), { imageToken: imageToken! });
}

describe.each(golden.cases)("$name", (one) => {
  it("writes the question in the very tokens", () => {
    expect(prompt(one)).toEqual(one.args.prompt_ids);
  });

  it("prepares the picture to the very numbers, and sees in it what transformers sees", async () => {
    const image = await decodeImage(goldenPath(folder, "images", one.args.image));
    const pixels = clipPixels(image, llava.vision.preprocessor, one.args.fit);
    expectClose(pixels, golden.input(one, "pixel_values"), 0);
    const expected = golden.output(one, "image_features");
    const program = engine.compile({ features: llavaImageFeatures(llava, input("pixels", pixels.dims)) });
    const { features } = await program.run({ pixels });
    await program.release();
    expectClose(features!, expected, one.outputs.image_features!.atol!);
  });
});
