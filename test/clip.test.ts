/** @file CLIP whole against transformers, once per preset. */

import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { input } from "../src/graph/index.js";
import { clip, pooledIndex, readClipConfig } from "../src/models/index.js";
import { Tensor } from "../src/tensor/index.js";
import { openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, goldenPath } from "./golden.js";
import { algorithms } from "./kernels.js";

const golden = new Golden("clip-full");
const folder = await openModel(goldenPath("clip-full"));
const json = await folder.json("config.json");
const checkpoint = await folder.checkpoint("");

const engines = new Map<string, Promise<Engine>>();
afterAll(async () => {
  for (const engine of engines.values()) await (await engine).dispose();
});

describe.each(algorithms)("CLIP with $name", ({ name, options, times }) => {
  it.each(golden.cases)("$name: vectors and logits equal transformers'", async (one) => {
    const config = readClipConfig(json);
    const pixels = golden.input(one, "pixel_values");
    const ids = golden.input(one, "input_ids");
    const ends = (ids.toArray() as number[][]).map((row) => pooledIndex(row, config.text));
    const feeds = { pixels, ids, ends: Tensor.i64([ends.length], ends) };
    const outputs = clip(Scope.of(checkpoint), config, {
      pixels: input("pixels", pixels.dims),
      ids: input("ids", ids.dims, "i64"),
      eosIndex: input("ends", feeds.ends.dims, "i64"),
    });
    if (!engines.has(name)) engines.set(name, Engine.open({ device: "cpu", ...options }));
    const program = (await engines.get(name)!).compile({
      image_embeds: outputs.imageEmbeds,
      text_embeds: outputs.textEmbeds,
      logits_per_image: outputs.logitsPerImage,
      logits_per_text: outputs.logitsPerText,
      image_features: outputs.vision.imageEmbeds!,
      text_features: outputs.text.textEmbeds!,
    });
    const results = await program.run(feeds);
    await program.release();
    for (const [output, entry] of Object.entries(one.outputs)) {
      expectClose(results[output]!, golden.output(one, output), entry.atol!, output, times);
    }
  });
});

describe("a config", () => {
  it("gives both towers its projection_dim, whatever they say", () => {
    const { text, vision } = readClipConfig(json);
    expect([text.projectionDim, vision.projectionDim]).toEqual([24, 24]);
  });

  it("may say the towers twice, as OpenAI's first files do", () => {
    const { text, vision } = readClipConfig({
      text_config: { hidden_size: 64 },
      text_config_dict: { hidden_size: 128 },
      vision_config_dict: { patch_size: 14 },
    });
    expect([text.hiddenSize, vision.patchSize]).toEqual([128, 14]);
  });

  it.each([
    [{ model_type: "siglip" }, /model_type: "siglip" is not supported/],
    [{ text_config: { hidden_act: "mish" } }, /CLIP text config.*hidden_act/],
    [{ vision_config: { hidden_act: "mish" } }, /CLIP vision config.*hidden_act/],
  ])("%j is refused by name", (given, message) => {
    expect(() => readClipConfig(given)).toThrow(message);
  });

  it("needs a checkpoint that is whole", async () => {
    const part = await (await openModel(goldenPath("clip-vision"))).checkpoint("");
    const without = {
      ...checkpoint,
      entries: new Map([...checkpoint.entries].filter(([key]) => key !== "visual_projection.weight")),
    };
    const inputs = { pixels: input("p", [1, 3, 42, 42]), ids: input("i", [1, 4], "i64") };
    const eosIndex = input("e", [1], "i64");
    const write = (given: typeof part) =>
      clip(Scope.of(given), readClipConfig(json), { ...inputs, eosIndex });
    expect(() => write(without)).toThrow(/no tensor "visual_projection.weight"/);
    expect(() => write(part)).toThrow(/no tensor/);
  });
});
