/** @file CLIP, DINOv2 and SigLIP behind one interface against transformers, once per preset; and their processors. */

import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { input, type Value } from "../src/graph/index.js";
import { clipPixels, decodeImage, readPreprocessorConfig } from "../src/image/index.js";
import { readVisionEncoder, tokenCount, visionTokens } from "../src/models/index.js";
import { type Checkpoint, openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";
import { algorithms } from "./kernels.js";

const more = new Golden("vision-more");
const cases = [
  ...["clip-vision", "dinov2", "siglip-vision"].flatMap((folder) => {
    const golden = new Golden(folder);
    return golden.cases.map((one) => ({ name: `${folder} ${one.name}`, golden, one, folder }));
  }),
  ...more.cases
    .filter(({ args }) => args.folder)
    .map((one) => ({ name: one.name, golden: more, one, folder: `vision-more/${one.args.folder}` })),
];

const checkpoints = new Map<string, { config: unknown; checkpoint: Checkpoint }>();
for (const { folder } of cases) {
  if (checkpoints.has(folder)) continue;
  const model = await openModel(goldenPath(folder));
  checkpoints.set(folder, {
    config: await model.json("config.json"),
    checkpoint: await model.checkpoint(""),
  });
}

const engines = new Map<string, Promise<Engine>>();
afterAll(async () => {
  for (const engine of engines.values()) await (await engine).dispose();
});

/** A golden output's name as a value of ours. */
function written(folder: string, golden: Golden, one: GoldenCase): Record<string, Value> {
  const { config, checkpoint } = checkpoints.get(folder)!;
  const encoder = readVisionEncoder(config);
  const pixels = input("pixels", golden.input(one, "pixel_values").dims);
  const states = encoder.states(Scope.of(checkpoint), pixels);
  const value = (name: string): Value => {
    if (name === "pooler_output") return states.pooled!;
    if (name === "last_hidden_state") return states.lastHiddenState;
    if (name === "patches.-2") return visionTokens(encoder, states, { layer: -2, select: "patches" });
    const index = name === "embeddings" ? 0 : Number(/^hidden_states\.(-?\d+)$/.exec(name)![1]);
    return states.hiddenStates.at(index)!;
  };
  return Object.fromEntries(Object.keys(one.outputs).map((name) => [name, value(name)]));
}

describe.each(algorithms)("vision encoders with $name", ({ name, options, times }) => {
  it.each(cases)("$name: states and vector equal transformers'", async ({ golden, one, folder }) => {
    if (!engines.has(name)) engines.set(name, Engine.open({ device: "cpu", ...options }));
    const program = (await engines.get(name)!).compile(written(folder, golden, one));
    const results = await program.run({ pixels: golden.input(one, "pixel_values") });
    await program.release();
    for (const [output, entry] of Object.entries(one.outputs)) {
      expectClose(results[output]!, golden.output(one, output), entry.atol!, output, times);
    }
  });
});

it.each([
  ["clip-vision", { num_channels: 1 }, /patch_embedding\.weight" is \[.*\], the config asks for \[\d+, 1, /],
  [
    "siglip-vision",
    { patch_size: 6 },
    /patch_embedding\.weight" is \[.*\], the config asks for \[\d+, 3, 6, 6\]/,
  ],
  [
    "dinov2",
    { num_channels: 1 },
    /patch_embeddings\.projection\.weight" is \[.*\], the config asks for \[\d+, 1, /,
  ],
  [
    "clip-vision",
    { intermediate_size: 7 },
    /layers\.0\.mlp\.fc1\.weight" is \[.*\], the config asks for \[7, /,
  ],
])("weights of %s that %j does not fit are named", (folder, wrong, message) => {
  const { config, checkpoint } = checkpoints.get(folder)!;
  const encoder = readVisionEncoder({ ...(config as object), ...wrong });
  const pixels = input("pixels", [1, "num_channels" in wrong ? 1 : 3, 42, 42]);
  expect(() => encoder.states(Scope.of(checkpoint), pixels)).toThrow(message);
});

it.each(["dinov2", "dinov2_with_registers"])(
  "weights may lie below %s, as those of classifiers do",
  (prefix) => {
    const { config, checkpoint } = checkpoints.get("dinov2")!;
    const entries = new Map([...checkpoint.entries].map(([key, entry]) => [`${prefix}.${key}`, entry]));
    const states = readVisionEncoder(config).states(
      Scope.of({ ...checkpoint, entries }),
      input("pixels", [1, 3, 28, 28]),
    );
    expect(states.hiddenStates.length).toBeGreaterThan(1);
  },
);

describe("tokens of a layer", () => {
  const of = (folder: string, dims: number[]) => {
    const { config, checkpoint } = checkpoints.get(folder)!;
    const encoder = readVisionEncoder(config);
    const states = encoder.states(Scope.of(checkpoint), input("pixels", dims));
    return { encoder, states };
  };

  it.each([
    ["clip-vision", 42, 9, 10],
    ["dinov2", 70, 25, 26],
    ["siglip-vision", 32, 16, 16],
    ["vision-more/dinov2-registers", 40, 25, 26],
  ])("%s has patches, with its class token or without, and never registers", (folder, side, patches, all) => {
    const { encoder, states } = of(folder, [2, 3, side, side]);
    const size = { width: side, height: side };
    for (const [select, tokens] of [["patches", patches] as const, ["all", all] as const]) {
      const found = visionTokens(encoder, states, { layer: -2, select });
      expect(found.dims).toEqual([2, tokens, encoder.hiddenSize]);
      expect(tokenCount(encoder, size, select)).toBe(tokens);
    }
  });

  it("of several layers are joined along the channels", () => {
    const { encoder, states } = of("dinov2", [1, 3, 56, 84]);
    const joined = visionTokens(encoder, states, { layer: [-1, 0, "last"], select: "class" });
    expect(joined.dims).toEqual([1, 1, 3 * encoder.hiddenSize]);
    expect(tokenCount(encoder, { width: 84, height: 56 }, "class")).toBe(1);
  });

  it("that do not exist are refused by name", () => {
    const { encoder, states } = of("siglip-vision", [1, 3, 32, 32]);
    const tokens = (layer: number, select: "class" | "all") => () =>
      visionTokens(encoder, states, { layer, select });
    expect(tokens(3, "all")).toThrow(/Layer 3 is not one of "last" and -3 to 2/);
    expect(tokens(0.5, "all")).toThrow(/Layer 0.5/);
    expect(tokens(0, "class")).toThrow(/\(siglip\) has no class token/);
    expect(() => of("siglip-vision", [1, 3, 7, 9])).toThrow(/9 x 7 pixels has no patch: one takes 8 x 8/);
  });
});

describe("configs", () => {
  it("of a whole CLIP or SigLIP are read for their vision encoder", () => {
    expect(readVisionEncoder({ model_type: "clip", vision_config: { patch_size: 14 } })).toMatchObject({
      kind: "clip",
      grid: 16,
      classTokens: 1,
    });
    const siglip = { model_type: "siglip", vision_config: { image_size: 384, patch_size: 14 } };
    expect(readVisionEncoder(siglip)).toMatchObject({ kind: "siglip", grid: 27, classTokens: 0 });
  });

  it("say how pictures are prepared when no file does", () => {
    const { preprocessor } = readVisionEncoder({ model_type: "dinov2" });
    expect(preprocessor).toMatchObject({
      size: { shortest_edge: 256 },
      crop_size: { height: 224 },
      image_mean: [0.485, 0.456, 0.406],
    });
  });

  it.each([
    [{}, /model_type/],
    [{ model_type: "vit" }, /model_type/],
    [{ model_type: "dinov2", hidden_size: 30, num_attention_heads: 4 }, /hidden_size 30 does not divide/],
    [{ model_type: "siglip_vision_model", patch_size: 300 }, /patch_size 300 exceeds image_size 224/],
    [{ model_type: "dinov2_with_registers", num_register_tokens: -1 }, /num_register_tokens/],
  ])("%j is refused by name", (json, message) => {
    expect(() => readVisionEncoder(json)).toThrow(message);
    expect(() => readVisionEncoder(json)).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });
});

describe("image processors", () => {
  const processors = more.cases.filter(({ args }) => args.config);
  it.each(processors)("$name", async (one) => {
    const image = await decodeImage(goldenPath("images", "images", one.args.image));
    const pixels = clipPixels(image, readPreprocessorConfig(one.args.config));
    expectClose(pixels.reshape(pixels.dims.slice(1)), more.output(one, "pixel_values"), 0);
  });
});
