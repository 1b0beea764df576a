/** @file Layouts against the checkpoints of diffusers and transformers, and how their tensors start. */

import { describe, expect, it } from "vitest";
import {
  clipLayout,
  clipTextLayout,
  clipVisionLayout,
  initialise,
  type Layout,
  parameterCount,
  unetLayout,
  vaeLayout,
} from "../src/models/index.js";
import { type Tensor, TorchGenerator } from "../src/tensor/index.js";
import { openModel } from "../src/weights/index.js";
import { goldenPath } from "./golden.js";

const early = { early: true };
const earlyText = (json: unknown) => clipTextLayout(json, early);

describe("a layout has exactly the keys, shapes and order of", () => {
  it.each<[string, string, (json: unknown) => Layout]>([
    ["unet-sd21", "", unetLayout],
    ["unet-sd15", "", unetLayout],
    ["unet-sdxl", "", unetLayout],
    ["unet-switches/lists", "", unetLayout],
    ["unet-switches/scales", "", unetLayout],
    ["unet-switches/sizes", "", unetLayout],
    ["unet-switches/time-and-norms", "", unetLayout],
    ["pipeline-sdxl", "unet", unetLayout],
    ["vae-sd", "", vaeLayout],
    ["vae-sd3-like", "", vaeLayout],
    ["pipeline-sd15", "vae", (json) => vaeLayout(json, early)],
    ["pipeline-sd21", "vae", vaeLayout],
    ["clip-text-sd21", "", earlyText],
    ["clip-text-sd15", "", earlyText],
    ["clip-text-projection/eos-real", "", earlyText],
    ["pipeline-sdxl", "text_encoder_2", clipTextLayout],
    ["clip-vision", "", (json) => clipVisionLayout(json, early)],
    ["clip-full", "", clipLayout],
    ["clip-train", "", clipLayout],
  ])("%s/%s", async (golden, component, layout) => {
    const folder = await openModel(goldenPath(golden));
    const { entries } = await folder.checkpoint(component);
    const config = await folder.json(component === "" ? "config.json" : `${component}/config.json`);
    const planned = layout(config).map(({ key, dims }) => `${key} ${dims}`);
    const found = [...entries].map(([key, { dims }]) => `${key} ${dims}`);
    expect(planned).toEqual(found);
  });
});

describe("published CLIPs count as transformers counts them", () => {
  const large = {
    hidden_size: 1024,
    intermediate_size: 4096,
    num_hidden_layers: 24,
    num_attention_heads: 16,
  };
  const text = { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 };
  it.each([
    ["ViT-B/32", {}, 151_277_313],
    [
      "ViT-L/14-336",
      {
        text_config: text,
        vision_config: { ...large, patch_size: 14, image_size: 336 },
        projection_dim: 768,
      },
      427_944_193,
    ],
  ])("%s", (_, json, parameters) => {
    expect(parameterCount(clipLayout(json))).toBe(parameters);
  });
});

function moments(tensor: Tensor): { mean: number; std: number; most: number } {
  const data = tensor.toFloat32();
  const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
  const variance = data.reduce((sum, value) => sum + (value - mean) ** 2, 0) / data.length;
  return { mean, std: Math.sqrt(variance), most: data.reduce((most, v) => Math.max(most, Math.abs(v)), 0) };
}

describe("an untrained network", () => {
  const unet = unetLayout({
    block_out_channels: [32, 64],
    down_block_types: ["CrossAttnDownBlock2D", "DownBlock2D"],
    up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D"],
    cross_attention_dim: 48,
    attention_head_dim: 2,
    norm_num_groups: 8,
  });

  it("is the same for a seed, and another for another seed", () => {
    const [a, b, c] = [
      initialise(unet, new TorchGenerator(7)),
      initialise(unet, new TorchGenerator(7)),
      initialise(unet, new TorchGenerator(8)),
    ];
    expect([...a.keys()]).toEqual(unet.map(({ key }) => key));
    expect(a).toEqual(b);
    expect(a.get("conv_in.weight")).not.toEqual(c.get("conv_in.weight"));
  });

  it("starts its products uniformly within 1 / √fan-in, as torch does", () => {
    const tensors = initialise(unet, new TorchGenerator(1));
    for (const [key, fanIn] of [
      ["down_blocks.0.resnets.1.conv1", 32 * 9],
      ["up_blocks.1.attentions.0.transformer_blocks.0.ff.net.2", 128],
    ] as const) {
      const bound = 1 / Math.sqrt(fanIn);
      const { mean, std, most } = moments(tensors.get(`${key}.weight`)!);
      expect(most).toBeLessThanOrEqual(bound);
      expect(most).toBeGreaterThan(0.98 * bound);
      expect(std / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
      expect(mean / bound).toBeCloseTo(0, 1);
      expect(moments(tensors.get(`${key}.bias`)!).most).toBeLessThanOrEqual(bound);
    }
    expect(new Set(tensors.get("conv_norm_out.weight")!.toFloat32())).toEqual(new Set([1]));
    expect(new Set(tensors.get("conv_norm_out.bias")!.toFloat32())).toEqual(new Set([0]));
  });

  it("starts CLIP with transformers' deviations", () => {
    const text_config = { hidden_size: 64, intermediate_size: 256, num_hidden_layers: 3, vocab_size: 600 };
    const vision_config = { ...text_config, num_attention_heads: 4, image_size: 64, patch_size: 8 };
    const layout = clipLayout({
      text_config: { ...text_config, num_attention_heads: 4 },
      vision_config: { ...vision_config, initializer_range: 0.05 },
      projection_dim: 32,
    });
    const tensors = initialise(layout, new TorchGenerator(3));
    for (const [key, std] of [
      ["text_model.embeddings.token_embedding.weight", 0.02],
      ["vision_model.embeddings.patch_embedding.weight", 0.05],
      ["vision_model.embeddings.class_embedding", 1 / 8],
      ["text_model.encoder.layers.0.self_attn.q_proj.weight", 1 / 8 / Math.sqrt(6)],
      ["vision_model.encoder.layers.2.self_attn.out_proj.weight", 1 / 8],
      ["text_model.encoder.layers.1.mlp.fc1.weight", 1 / Math.sqrt(128)],
      ["text_model.encoder.layers.1.mlp.fc2.weight", 1 / 8 / Math.sqrt(6)],
      ["visual_projection.weight", 1 / 8],
    ] as const) {
      const ratio = moments(tensors.get(key)!).std / std;
      expect(Math.abs(ratio - 1), key).toBeLessThan(key.endsWith("class_embedding") ? 0.3 : 0.05);
    }
    expect(tensors.get("logit_scale")!.toArray()).toBeCloseTo(2.6592, 6);
    expect(moments(tensors.get("text_model.encoder.layers.1.mlp.fc1.bias")!).most).toBe(0);
  });
});
