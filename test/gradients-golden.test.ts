/** @file Losses and gradients of whole networks against diffusers' and torch's, every parameter of them. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addNoise, noiseSchedule } from "../src/diffusion/schedulers/noise-schedule.js";
import { Engine } from "../src/engine/index.js";
import {
  add,
  exp,
  gradients,
  input,
  isOp,
  mean,
  mul,
  reshape,
  sub,
  sum,
  topologicalOrder,
  trainingKernels,
  type Value,
} from "../src/graph/index.js";
import { readUnetConfig, readVaeConfig, sinusoids, unet, vaeDecode, vaeEncode } from "../src/models/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, goldenPath } from "./golden.js";

interface Training {
  loss: Value;
  /** What else the golden case has: results of the forward part, and values whose gradients it has. */
  outputs: Record<string, Value>;
  sources: Record<string, Value>;
  /** The results of the network's blocks. */
  blocks: ReadonlySet<Value>;
  feeds: Record<string, Tensor>;
}

function meanSquare(a: Value, b: Value): Value {
  const error = sub(a, b);
  return reshape(mean(mul(error, error), ...error.dims.map((_, axis) => axis)), [1]);
}

/** loss = mse(unet(add_noise(latents, noise, t), t, text), noise) */
async function unetTraining(golden: Golden): Promise<Training> {
  const folder = await openModel(goldenPath(golden.folder));
  const config = readUnetConfig(await folder.json("config.json"));
  const w = Scope.of(await folder.checkpoint(""));
  const one = golden.cases[0]!;
  const [latents, noise, text] = ["latents", "noise", "encoder_hidden_states"].map((name) =>
    golden.input(one, name),
  ) as [Tensor, Tensor, Tensor];
  const timesteps = Array.from(golden.input(one, "timesteps").data, Number);

  const schedule = noiseSchedule({
    _class_name: "DDIMScheduler",
    beta_schedule: "scaled_linear",
    beta_start: 0.00085,
    beta_end: 0.012,
  });

  const sample = input("sample", latents.dims);
  const states = input("text", text.dims);
  const timestep = input("timestep", [timesteps.length, config.down[0]!.channels]);
  const prediction = unet(w, config, { sample, timestep, encoderHiddenStates: states });
  return {
    loss: meanSquare(prediction, input("noise", noise.dims)),
    outputs: { prediction },
    sources: { grad_of_noisy_sample: sample, grad_of_encoder_hidden_states: states },
    blocks: taps(w, "res-out", "vit-out"),
    feeds: {
      sample: addNoise(latents, noise, timesteps, schedule),
      noise,
      text,
      timestep: sinusoids(timesteps, config.down[0]!.channels, config),
    },
  };
}

/** loss = mse(decode(mean + std ε), image) + 0.01 KL / latent elements, the mean over the batch */
async function vaeTraining(golden: Golden): Promise<Training> {
  const folder = await openModel(goldenPath(golden.folder));
  const config = readVaeConfig(await folder.json("config.json"));
  const w = Scope.of(await folder.checkpoint(""));
  const one = golden.cases[0]!;
  const [image, eps] = [golden.input(one, "image"), golden.input(one, "eps")];

  const pixels = input("image", image.dims);
  const { mean: centre, logvar } = vaeEncode(w, config, pixels);
  const latent = add(centre, mul(exp(mul(logvar, 0.5)), input("eps", eps.dims)));
  const reconstruction = vaeDecode(w, config, latent);
  const terms = sub(add(mul(centre, centre), exp(logvar)), add(logvar, 1));
  const kl = mul(sum(reshape(terms, [terms.dims[0]!, -1]), 1), 0.5);
  const elements = eps.size / eps.dims[0]!;
  const penalty = mul(mean(kl, 0, 1), one.args.kl_weight / elements);
  return {
    loss: add(meanSquare(reconstruction, pixels), reshape(penalty, [1])),
    outputs: { reconstruction, kl: reshape(kl, [-1]) },
    sources: { grad_of_image: pixels },
    blocks: taps(w, "res-out"),
    feeds: { image, eps },
  };
}

function taps(w: Scope, ...kinds: string[]): Set<Value> {
  const wanted = [...w.taps].filter(([key]) => kinds.some((kind) => key.endsWith(`:${kind}`)));
  expect(wanted.length).toBeGreaterThan(0);
  return new Set(wanted.map(([, value]) => value));
}

/** The gradients by the golden case's names. */
function named({ loss, sources, blocks }: Training, recompute: boolean): Record<string, Value> {
  const parameters = topologicalOrder([loss]).filter((value) => isOp(value, "parameter"));
  const all = {
    ...Object.fromEntries(parameters.map((value) => [`grad.${value.attributes.key}`, value])),
    ...sources,
  };
  const found = gradients(loss, Object.values(all), recompute ? { recompute: blocks } : {});
  return Object.fromEntries(Object.keys(all).map((name, i) => [name, found[i]!]));
}

describe.each([
  ["unet-train", unetTraining],
  ["vae-train", vaeTraining],
] as const)("%s", (folder, write) => {
  const golden = new Golden(folder);
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.open({ device: "cpu", memory: "mmap", kernels: trainingKernels });
  });
  afterAll(() => engine.dispose());

  async function compute(recompute: boolean): Promise<Record<string, Tensor>> {
    const training = await write(golden);
    const program = engine.compile({
      loss: training.loss,
      ...training.outputs,
      ...named(training, recompute),
    });
    try {
      return await program.run(training.feeds);
    } finally {
      await program.release();
    }
  }

  it.each([
    ["everything kept", false],
    ["blocks computed again", true],
  ])("loss, and the gradient of every parameter and input, with %s", async (_, recompute) => {
    const results = await compute(recompute);
    const one = golden.cases[0]!;
    const wanted = Object.entries(one.outputs);
    expect(wanted.length).toBeGreaterThan(100);
    for (const [name, { atol }] of wanted) {
      const expected = golden.output(one, name);
      const result = results[name]!;
      expect(result, name).toBeDefined();
      // 1x1 convolutions' weights may be matrices here, and matrices there.
      expectClose(result.reshape(expected.dims), expected, atol!, name);
    }
  });
});
