/** @file The autoencoders against diffusers, once per convolution algorithm. */

import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { add, concat, exp, input, mul, type Value } from "../src/graph/index.js";
import {
  decodeLatent,
  encodeImage,
  posterior,
  readAutoencoderConfig,
  readTinyVaeConfig,
  readVaeConfig,
} from "../src/models/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { type Checkpoint, openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";
import { algorithms } from "./kernels.js";

const engines = new Map<string, Promise<Engine>>();
afterAll(async () => {
  for (const engine of engines.values()) await (await engine).dispose();
});

async function run(
  algorithm: (typeof algorithms)[number],
  outputs: Record<string, Value>,
  feeds: Record<string, Tensor>,
) {
  const { name, options } = algorithm;
  if (!engines.has(name)) engines.set(name, Engine.open({ device: "cpu", ...options }));
  const program = (await engines.get(name)!).compile(outputs);
  const results = await program.run(feeds);
  await program.release();
  return results;
}

async function opened(folder: string) {
  const model = await openModel(goldenPath(folder));
  const config = readAutoencoderConfig(await model.json("config.json"));
  return { config, checkpoint: await model.checkpoint("") };
}

/** Std and one draw, as the callers of the networks compute them. */
function drawn({ mean, logvar }: { mean: Value; logvar: Value }, noise: Value) {
  const std = exp(mul(logvar, 0.5));
  return { std, sample: add(mean, mul(std, noise)) };
}

const goldens = [
  new Golden("vae-sd"),
  new Golden("vae-sd3-like"),
  new Golden("vae-tiny"),
  new Golden("vae-sd", "odd"),
  new Golden("vae-tiny", "odd"),
];
const cases = goldens.flatMap((golden) =>
  golden.cases.map((one) => ({ folder: golden.folder, name: one.name, golden, one })),
);

describe.each(algorithms)("autoencoders with $name", (algorithm) => {
  it.each(cases)("$folder $name: latents and pixels equal diffusers'", async ({ folder, golden, one }) => {
    const { config, checkpoint } = await opened(folder);
    const w = Scope.of(checkpoint);
    const feeds: Record<string, Tensor> = Object.fromEntries(
      Object.keys(one.inputs).map((name) => [name, golden.input(one, name)]),
    );
    const value = (name: string) => input(name, feeds[name]!.dims);
    const encoded = encodeImage(w, config, value("image"));
    const { mean, logvar } = encoded;
    const outputs: Record<string, Value> = { decoded: decodeLatent(w, config, value("latent")) };
    if (logvar) {
      outputs.moments = concat([mean, logvar], 1); // logvar is far from its bounds here
      if (feeds.eps) Object.assign(outputs, { mode: mean, ...drawn({ mean, logvar }, value("eps")) });
    } else {
      outputs.latents = mean;
    }
    expect(Object.keys(outputs).sort()).toEqual(Object.keys(one.outputs).sort());
    expectGolden(await run(algorithm, outputs, feeds), golden, one, algorithm.times);
  });

  it("a posterior's log variance is held in [-30, 20]", async () => {
    const golden = new Golden("vae-clamp");
    const one = golden.case("case0");
    const feeds = { moments: golden.input(one, "moments"), eps: golden.input(one, "eps") };
    const { mean, logvar } = posterior(input("moments", feeds.moments.dims));
    const outputs = { mean, logvar, ...drawn({ mean, logvar }, input("eps", feeds.eps.dims)) };
    const { var: _storedClamped, ...wanted } = one.outputs;
    expectGolden(await run(algorithm, outputs, feeds), golden, { ...one, outputs: wanted }, algorithm.times);
  });
});

function expectGolden(results: Record<string, Tensor>, golden: Golden, one: GoldenCase, times: number) {
  for (const [name, entry] of Object.entries(one.outputs)) {
    expectClose(results[name]!, golden.output(one, name), entry.atol!, name, times);
  }
}

describe("AutoencoderKL files from before diffusers 0.12", () => {
  const names: Record<string, string> = {
    to_q: "query",
    to_k: "key",
    to_v: "value",
    "to_out.0": "proj_attn",
  };
  const before = (checkpoint: Checkpoint, convolutions: boolean): Checkpoint => ({
    ...checkpoint,
    entries: new Map(
      [...checkpoint.entries].map(([key, entry]) => {
        const old = key.replace(/(?<=attentions\.0\.)(to_[qkv]|to_out\.0)/, (name) => names[name]!);
        if (old === key || !convolutions || entry.dims.length !== 2) return [old, entry];
        return [old, { ...entry, dims: [...entry.dims, 1, 1] }];
      }),
    ),
  });

  it.each([
    { weights: "matrices", convolutions: false },
    { weights: "1x1 convolutions", convolutions: true },
  ])("read attentions named query, key, value, proj_attn as $weights", async ({ convolutions }) => {
    const golden = new Golden("vae-sd");
    const one = golden.case("case1");
    const { config, checkpoint } = await opened("vae-sd");
    const old = before(checkpoint, convolutions);
    expect(old.entries.has("encoder.mid_block.attentions.0.to_q.weight")).toBe(false);
    const w = Scope.of(old);
    const feeds = { image: golden.input(one, "image"), latent: golden.input(one, "latent") };
    const { mean } = encodeImage(w, config, input("image", feeds.image.dims));
    const decoded = decodeLatent(w, config, input("latent", feeds.latent.dims));
    const { mode, decoded: pixels } = one.outputs;
    const wanted = { ...one, outputs: { mode: mode!, decoded: pixels! } };
    expectGolden(
      await run(algorithms[0]!, { mode: mean, decoded }, feeds),
      golden,
      wanted,
      algorithms[0]!.times,
    );
  });
});

describe("configs of autoencoders", () => {
  it("have diffusers' defaults where the file is silent", () => {
    expect(readVaeConfig({ latents_mean: null, shift_factor: null })).toMatchObject({
      levels: 1,
      factor: 1,
      latentChannels: 4,
      scalingFactor: 0.18215,
      shiftFactor: 0,
      quantConv: true,
      postQuantConv: true,
      midAttention: true,
      activation: "silu",
      groups: 32,
    });
    expect(readTinyVaeConfig({})).toMatchObject({
      factor: 8,
      latentChannels: 4,
      scalingFactor: 1,
      shiftFactor: 0,
      encoderBlocks: [1, 3, 3, 3],
      decoderBlocks: [3, 3, 3, 1],
      activation: "relu",
    });
  });

  it("are read by the class that they name", async () => {
    expect((await opened("vae-sd3-like")).config).toMatchObject({
      kind: "kl",
      factor: 8,
      latentChannels: 16,
      scalingFactor: 1.5305,
      shiftFactor: 0.0609,
    });
    expect((await opened("vae-tiny")).config).toMatchObject({ kind: "tiny", factor: 8, scalingFactor: 1 });
  });

  const kl = { _class_name: "AutoencoderKL" };
  const tiny = { _class_name: "AutoencoderTiny" };
  it.each([
    [{ _class_name: "VQModel" }, /_class_name/],
    [{}, /_class_name/],
    [{ ...kl, latents_mean: [0, 0, 0, 0] }, /latents_mean: \[0,0,0,0\] is not supported \(only null\)/],
    [{ ...kl, latents_std: [1, 1, 1, 1] }, /latents_std/],
    [{ ...kl, down_block_types: ["AttnDownEncoderBlock2D"] }, /down_block_types\.0/],
    [{ ...kl, up_block_types: ["AttnUpDecoderBlock2D"] }, /up_block_types\.0/],
    [{ ...kl, block_out_channels: [64, 128] }, /down_block_types has 1 entries for 2 blocks/],
    [{ ...kl, block_out_channels: [48] }, /48 channels do not divide into norm_num_groups 32/],
    [{ ...kl, act_fn: "mish" }, /act_fn/],
    [{ ...tiny, upsampling_scaling_factor: 4 }, /upsampling_scaling_factor: 4 is not supported \(only 2\)/],
    [{ ...tiny, upsample_fn: "bilinear" }, /upsample_fn/],
    [{ ...tiny, num_decoder_blocks: [3, 1] }, /num_decoder_blocks has 2 entries, num_encoder_blocks has 4/],
  ])("that cannot be run are refused by the field's name: %j", (json, message) => {
    expect(() => readAutoencoderConfig(json)).toThrow(message);
  });
});
