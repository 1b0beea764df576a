/** @file Parity beyond the common shapes: SDXL, v-prediction, odd sizes, rare configs and layouts of files. */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { DiffusionEncoder, type Part } from "../src/diffusion/index.js";
import { listTaps } from "../src/diffusion/taps.js";
import { Engine } from "../src/engine/index.js";
import { input } from "../src/graph/index.js";
import { readUnetConfig, sinusoids, unet } from "../src/models/index.js";
import { Tensor } from "../src/tensor/index.js";
import { openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";

const exact = { device: "cpu", memory: "mmap" } as const;
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A temporary pipeline folder: the golden one, with some of its parts from elsewhere. */
function composed(base: string, parts: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), "diffsight-pipeline-"));
  folders.push(folder);
  cpSync(goldenPath(base), folder, { recursive: true });
  for (const [name, from] of Object.entries(parts)) {
    mkdirSync(join(folder, name), { recursive: true });
    cpSync(from, join(folder, name), { recursive: true });
  }
  return folder;
}

const suffixes: Record<string, Part> = { u: "unconditional", c: "conditional", s: "guided" };

async function expectFeatures(eye: DiffusionEncoder, golden: Golden, one: GoldenCase): Promise<void> {
  const { image, prompt, timestep, seed, size, vae, guidance, ensemble } = one.args;
  const outputs = Object.entries(one.outputs).map(([key, entry]) => {
    const [tap, suffix] = key.split(".") as [string, string];
    return { key, entry, tap, part: suffixes[suffix]! };
  });
  const seen = await eye.encode(goldenPath(golden.folder, "images", image), {
    prompt,
    taps: [...new Set(outputs.map(({ tap }) => tap))],
    parts: [...new Set(outputs.map(({ part }) => part))],
    timesteps: [timestep],
    seed,
    size,
    vae,
    guidance,
    ensemble,
  });
  for (const { key, entry, tap, part } of outputs) {
    expectClose(seen.get(tap, { part }), golden.tensor(entry), entry.atol!, key);
  }
}

async function expectWords(eye: DiffusionEncoder, golden: Golden, one: GoldenCase): Promise<void> {
  const { image, prompt, timesteps, seed, size } = one.args;
  const maps = await eye.attend(goldenPath(golden.folder, "images", image), {
    prompt,
    timesteps,
    seed,
    size,
  });
  for (const [label, entry] of Object.entries(one.outputs)) {
    const [phrase, number = "1"] = label.split("#") as [string, string?];
    const special = label === "start" || label === "end" || label === "padding";
    const found = special ? maps[label] : maps.of(maps.find(phrase)[Number(number) - 1]!);
    expectClose(found, golden.tensor(entry), entry.atol!, label);
  }
}

async function expectScores(eye: DiffusionEncoder, golden: Golden, one: GoldenCase): Promise<void> {
  const { image, prompts, ...options } = one.args;
  const scores = await eye.score(goldenPath(golden.folder, "images", image), prompts, options);
  const found = Tensor.f32(
    [prompts.length],
    scores.map(({ score }) => score),
  );
  expectClose(found, golden.output(one, "score"), one.outputs.score!.atol!, "scores");
}

async function expectPicture(eye: DiffusionEncoder, golden: Golden, one: GoldenCase): Promise<void> {
  const { prompt, negative, ...options } = one.args;
  const made = await eye.generateDetailed(prompt, { ...options, ...(negative !== null && { negative }) });
  for (const [key, entry] of Object.entries(one.outputs)) {
    expectClose(made[key as "latent" | "decoded"], golden.tensor(entry), entry.atol!, key);
  }
}

const checks = {
  "image + prompt -> features": expectFeatures,
  "image + prompt -> word maps": expectWords,
  "image + prompts -> alignment scores": expectScores,
  "text -> image": expectPicture,
};

const check = (eye: DiffusionEncoder, golden: Golden, one: GoldenCase) =>
  checks[one.what as keyof typeof checks](eye, golden, one);

describe("SDXL, whole", () => {
  const golden = new Golden("pipeline-sdxl");
  const opened = DiffusionEncoder.fromPretrained(goldenPath("pipeline-sdxl"), exact);
  afterAll(async () => (await opened).release());

  it.each(golden.cases)("$name: $what", async (one) => check(await opened, golden, one));
});

describe("a network that predicts velocity, at odd sizes", () => {
  const golden = new Golden("pipeline-v");
  const cases = golden.cases.filter(({ name }) => !name.startsWith("tiny"));
  const opened = DiffusionEncoder.fromPretrained(goldenPath("pipeline-v"), exact);
  afterAll(async () => (await opened).release());

  it.each(cases)("$name: $what", async (one) => check(await opened, golden, one));
});

describe("the tiny autoencoder in a pipeline", () => {
  const golden = new Golden("pipeline-v");
  const cases = golden.cases.filter(({ name }) => name.startsWith("tiny"));

  it.each(cases)("$name: $what", async (one) => {
    const vae = composed("pipeline-v", { vae: goldenPath("vae-tiny") });
    rmSync(join(vae, "vae"), { recursive: true });
    cpSync(goldenPath("vae-tiny"), join(vae, "vae"), { recursive: true });
    await using eye = await DiffusionEncoder.fromPretrained(vae, exact);
    await check(eye, golden, one);
  });
});

describe("layouts of files", () => {
  const golden = new Golden("pipeline-layouts");
  const layout = (name: string, ...parts: string[]) =>
    Object.fromEntries(parts.map((part) => [part, goldenPath("pipeline-layouts", name, part)]));
  const all = ["unet", "vae", "text_encoder"];
  const layouts: Record<string, Record<string, string>> = {
    "a variant's files alone": layout("fp16", ...all),
    bfloat16: layout("bf16", ...all),
    pickles: layout("bin", ...all),
    shards: layout("sharded", ...all),
    "shards of pickles": { ...layout("bin", "vae", "text_encoder"), ...layout("sharded-bin", "unet") },
    "shards of a variant": { ...layout("fp16", "vae", "text_encoder"), ...layout("sharded-fp16", "unet") },
  };

  it.each(Object.keys(layouts))("%s give the features of the same numbers", async (name) => {
    await using eye = await DiffusionEncoder.fromPretrained(
      composed("pipeline-layouts", layouts[name]!),
      exact,
    );
    await check(eye, golden, golden.case("features"));
  });

  it("the scheduler's config of 2022: no clipping, and the first step at timestep 1", async () => {
    await using eye = await DiffusionEncoder.fromPretrained(
      composed("pipeline-layouts", layouts.bfloat16!),
      exact,
    );
    await check(eye, golden, golden.case("generate"));
  });
});

describe("U-Net configs of 2022", () => {
  it.each([
    ["0.6.0", 128],
    ["0.9.0", 16],
  ])("of diffusers %s: a size below 64 cells is 64 cells before 0.9", async (version, side) => {
    const folder = composed("pipeline-layouts", { unet: goldenPath("pipeline-layouts", "bf16", "unet") });
    const path = join(folder, "unet", "config.json");
    const config = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify({ ...config, _diffusers_version: version }));
    await using eye = await DiffusionEncoder.fromPretrained(folder, exact);
    expect(eye.size).toEqual([side, side]);
  });
});

describe("pipelines whose parts do not fit", () => {
  const open = async (base: string, parts: Record<string, string>) => {
    await using eye = await DiffusionEncoder.fromPretrained(composed(base, parts), exact);
    await eye.encode(goldenPath(base, "images", "a.png"), { prompt: "a dog", size: 64 });
  };

  it("an SDXL network needs SDXL's pipeline", async () => {
    const parts = { unet: goldenPath("pipeline-sdxl", "unet") };
    await expect(open("pipeline-v", parts)).rejects.toThrow(
      /addition_embed_type text_time needs a StableDiffusionXLPipeline, not a StableDiffusionPipeline/,
    );
  });

  it("SDXL's second text encoder needs its projection", async () => {
    const parts = { text_encoder_2: goldenPath("pipeline-v", "text_encoder") };
    await expect(open("pipeline-sdxl", parts)).rejects.toThrow(/has no text_projection\.weight/);
  });

  it("a network cannot listen to states of another width", async () => {
    const parts = { text_encoder: goldenPath("pipeline-sd21", "text_encoder") };
    await expect(open("pipeline-v", parts)).rejects.toThrow(
      /cross_attention_dim 16.*32|32.*cross_attention_dim/,
    );
  });
});

describe("rare switches of the U-Net's config", () => {
  const golden = new Golden("unet-switches");
  const engine = Engine.open(exact);
  afterAll(async () => (await engine).dispose());

  it.each(golden.cases)("$name: every tap equals diffusers'", async (one) => {
    const folder = await openModel(goldenPath(golden.folder, one.args.checkpoint));
    const config = readUnetConfig(await folder.json("config.json"));
    const w = Scope.of(await folder.checkpoint(""));
    const timesteps = Array.from(golden.input(one, "timesteps").data, Number);
    const feeds: Record<string, Tensor> = {
      sample: golden.input(one, "sample"),
      encoderHiddenStates: golden.input(one, "encoder_hidden_states"),
      timestep: sinusoids(timesteps, config.down[0]!.channels, config),
    };
    if (config.additionEmbed) {
      const ids = golden.input(one, "time_ids").toFloat32();
      feeds.textEmbeds = golden.input(one, "text_embeds");
      feeds.timeIds = sinusoids([...ids], config.additionTimeEmbedDim, config).reshape([1, -1]);
    }
    const value = (name: string) => feeds[name] && input(name, feeds[name].dims);
    unet(w, config, {
      sample: value("sample")!,
      timestep: value("timestep")!,
      encoderHiddenStates: value("encoderHiddenStates")!,
      textEmbeds: value("textEmbeds"),
      timeIds: value("timeIds"),
    });
    const taps = new Map(listTaps(w.taps, []).map((tap) => [tap.id, tap.value]));
    const outputs = Object.fromEntries(Object.keys(one.outputs).map((id) => [id, taps.get(id)!]));
    for (const [id, found] of Object.entries(outputs)) expect(found, `tap ${id}`).toBeDefined();
    const program = (await engine).compile(outputs);
    const results = await program.run(feeds);
    await program.release();
    for (const [id, entry] of Object.entries(one.outputs)) {
      expectClose(results[id]!, golden.output(one, id), entry.atol!, id);
    }
  });

  const two = {
    block_out_channels: [8, 8],
    down_block_types: ["CrossAttnDownBlock2D", "DownBlock2D"],
    up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D"],
  };
  it.each([
    [{ _class_name: "UNetMotionModel" }, /_class_name: "UNetMotionModel" is not supported/],
    [{ down_block_types: ["SimpleCrossAttnDownBlock2D", "DownBlock2D"] }, /down_block_types\.0/],
    [{ up_block_types: ["UpBlock2D", "AttnUpBlock2D"] }, /up_block_types\.1/],
    [{ up_block_types: ["UpBlock2D"] }, /up_block_types has 1 entries for 2 blocks/],
    [{ mid_block_type: "UNetMidBlock2DSimpleCrossAttn" }, /mid_block_type/],
    [{ mid_block_type: null }, /mid_block_type/],
    [{ class_embed_type: "timestep" }, /class_embed_type/],
    [{ num_class_embeds: 1000 }, /num_class_embeds/],
    [{ class_embeddings_concat: true }, /class_embeddings_concat/],
    [{ encoder_hid_dim: 4096 }, /encoder_hid_dim/],
    [{ encoder_hid_dim_type: "image_proj" }, /encoder_hid_dim_type/],
    [{ time_cond_proj_dim: 256 }, /time_cond_proj_dim/],
    [{ time_embedding_type: "fourier" }, /time_embedding_type/],
    [{ time_embedding_act_fn: "silu" }, /time_embedding_act_fn/],
    [{ timestep_post_act: "silu" }, /timestep_post_act/],
    [{ addition_embed_type: "text" }, /addition_embed_type/],
    [{ addition_embed_type: "image" }, /addition_embed_type/],
    [{ addition_embed_type: "text_image" }, /addition_embed_type/],
    [{ addition_embed_type: "text_time" }, /addition_time_embed_dim/],
    [{ dual_cross_attention: true }, /dual_cross_attention/],
    [{ attention_type: "gated" }, /attention_type/],
    [{ cross_attention_norm: "layer_norm" }, /cross_attention_norm/],
    [{ num_attention_heads: 8 }, /num_attention_heads/],
    [{ attention_head_dim: 3 }, /attention_head_dim 3/],
    [{ resnet_time_scale_shift: "ada_group" }, /resnet_time_scale_shift/],
    [{ downsample_padding: 2 }, /downsample_padding/],
    [{ act_fn: "mish" }, /act_fn/],
    [{ layers_per_block: [2] }, /layers_per_block has 1 entries for 2 blocks/],
    [{ transformer_layers_per_block: [[1, 1], 1] }, /needs reverse_transformer_layers_per_block/],
    [
      {
        transformer_layers_per_block: [[1], 1],
        reverse_transformer_layers_per_block: [1, [1, 1, 1]],
      },
      /transformer_layers_per_block has a list of 1 for a block of 2 layers/,
    ],
    [
      {
        transformer_layers_per_block: [[1, 1], 1],
        reverse_transformer_layers_per_block: [1, [1, 1]],
      },
      /reverse_transformer_layers_per_block has a list of 2 for a block of 3 layers/,
    ],
    [{ reverse_transformer_layers_per_block: 2 }, /reverse_transformer_layers_per_block/],
  ])("that cannot be run are refused by the field's name: %j", (json, message) => {
    expect(() => readUnetConfig({ ...two, ...json })).toThrow(message);
  });
});
