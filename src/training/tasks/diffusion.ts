/** @file Learning to take noise away from latents while reading: a U-Net and its text encoder, together. */

import { z } from "zod";
import { type NoiseSchedule, noiseSchedule } from "../../diffusion/index.js";
import { concat, constant, expand, input, slice, type Value } from "../../graph/index.js";
import {
  type ClipTextConfig,
  clipText,
  clipTextLayout,
  initialise,
  readClipTextConfig,
  readUnetConfig,
  sinusoids,
  type UnetConfig,
  unet,
  unetLayout,
} from "../../models/index.js";
import { misuse, Tensor, type TorchGenerator } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";
import { average, diffusionTarget, type NoiseFactors, noisyLatent, squaredErrors } from "../losses.js";
import { defineTask, type GraphRequest, type TrainingGraph } from "../task.js";
import { below, configFile, jsonFile, under, weightsFile } from "./exported.js";
import { type NetworkJson, networkSchema } from "./networks.js";
import { checkColumn, roles } from "./pictures.js";
import {
  drawPrompt,
  openTokenizer,
  promptShares,
  textFields,
  textsOf,
  tokenizerFiles,
  tokenizerSchema,
} from "./prompts.js";

/** Validation looks at these timesteps, with the full caption and with none. */
const validationTimesteps = [50, 250, 500, 800] as const;

/** The column of a store of latents: f32 or f16 [channels, height, width], scaled as the U-Net takes them. */
export const latentColumn = "latent";

export const diffusionConfig = z.strictObject({
  /** UNet2DConditionModel's config.json. */
  unet: networkSchema((json) => sampleSize(readUnetConfig(json))),
  /** CLIPTextModel's config.json; what the tokenizer decides (vocab_size ...) may be left out. */
  textEncoder: networkSchema(readClipTextConfig),
  tokenizer: tokenizerSchema,
  /** The scheduler's config.json: how much noise each timestep has, and what is predicted (prediction_type). */
  scheduler: networkSchema(scheduleOf),
  prompts: promptShares,
});

export type DiffusionTraining = z.infer<typeof diffusionConfig>;

type Prediction = Parameters<typeof diffusionTarget>[0];

interface Schedule extends NoiseSchedule {
  predictionType: Prediction;
}

function scheduleOf(json: NetworkJson): Schedule {
  const schedule = noiseSchedule(json);
  const { predictionType } = schedule;
  if (typeof json._class_name !== "string") {
    throw misuse(
      "CONFIG",
      "_class_name is needed: the scheduler that draws with the U-Net, such as DDIMScheduler.",
    );
  }
  if (predictionType === "sample") {
    throw misuse("CONFIG", 'prediction_type "sample" is not learnt here: epsilon or v_prediction.');
  }
  return { ...schedule, predictionType };
}

/** The text encoder's config.json, with what the tokenizer decides. */
export function textEncoderJson({ textEncoder, tokenizer }: DiffusionTraining): NetworkJson {
  const kind = { architectures: ["CLIPTextModel"], model_type: "clip_text_model" };
  return { ...kind, ...textEncoder, ...textFields(openTokenizer(tokenizer)) };
}

/** Everything that the configs say, read. */
function networks(config: DiffusionTraining): { unet: UnetConfig; text: ClipTextConfig; schedule: Schedule } {
  return {
    unet: readUnetConfig(config.unet),
    text: readClipTextConfig(textEncoderJson(config)),
    schedule: scheduleOf(config.scheduler),
  };
}

function sampleSize({ sampleSize: size }: UnetConfig): readonly [number, number] {
  if (!size) throw misuse("CONFIG", "sample_size is needed: the side of the latents.");
  return size;
}

/** sqrt(ᾱ_t) and sqrt(1 - ᾱ_t) of each timestep: [n, 1, 1, 1] */
function factorsOf(
  { alphasCumprod }: Schedule,
  timesteps: readonly number[],
): { signal: Tensor; strength: Tensor } {
  const column = (of: (alpha: number) => number) =>
    Tensor.f32(
      [timesteps.length, 1, 1, 1],
      timesteps.map((t) => Math.sqrt(of(alphasCumprod[t]!))),
    );
  return { signal: column((alpha) => alpha), strength: column((alpha) => 1 - alpha) };
}

type Networks = ReturnType<typeof networks>;

/** Noisy latents beside their texts -> each one's squared error [B]. */
function errorsOf(
  w: Scope,
  { unet: network, schedule }: Networks,
  {
    latent,
    noise,
    timestep,
    states,
    ...factors
  }: NoiseFactors & Record<"latent" | "noise" | "timestep" | "states", Value>,
): Value {
  const predicted = unet(w.at("unet"), network, {
    sample: noisyLatent(latent, noise, factors),
    timestep,
    encoderHiddenStates: states,
  });
  return squaredErrors(predicted, diffusionTarget(schedule.predictionType, latent, noise, factors));
}

const textStates = (w: Scope, { text }: Networks, ids: Value): Value =>
  clipText(w.at("text_encoder"), text, ids).lastHiddenState;

/** Each example once, at a timestep and with a text that were drawn for it. */
function trainingGraph({ config, w, batch }: GraphRequest<DiffusionTraining>): TrainingGraph {
  const all = networks(config);
  const dims = latentDims(all.unet, batch);
  const inputs = {
    latent: input("latent", dims),
    noise: input("noise", dims),
    timestep: input("timestep", [batch, all.unet.down[0]!.channels]),
    signal: input("signal", [batch, 1, 1, 1]),
    strength: input("strength", [batch, 1, 1, 1]),
    ids: input("ids", [batch, config.tokenizer.length], "i64"),
  };
  const { ids, ...rest } = inputs;
  const states = textStates(w, all, ids);
  return { inputs, loss: average(errorsOf(w, all, { ...rest, states })), metrics: {} };
}

/** Each example at every one of the timesteps, with its full caption and with none; the loss is the mean of the former. */
function validationGraph({ config, w, batch }: GraphRequest<DiffusionTraining>): TrainingGraph {
  const all = networks(config);
  const dims = latentDims(all.unet, batch);
  const times = validationTimesteps.length;
  const passes = 2 * times;
  const inputs = {
    latent: input("latent", dims),
    noise: input("noise", dims),
    ids: input("ids", [batch + 1, config.tokenizer.length], "i64"), // the last one is no text
  };
  const each = validationTimesteps.flatMap((t) => Array<number>(batch).fill(t));
  const timesteps = [...each, ...each];
  const { signal, strength } = factorsOf(all.schedule, timesteps);
  const repeated = (value: Value, times: number) => concat(Array<Value>(times).fill(value), 0);
  const states = textStates(w, all, inputs.ids);
  const [, length, channels] = states.dims;
  const told = slice(states, 0, 0, batch);
  const untold = expand(slice(states, 0, batch, batch + 1), [batch, length!, channels!]);
  const errors = errorsOf(w, all, {
    latent: repeated(inputs.latent, passes),
    noise: repeated(inputs.noise, passes),
    timestep: constant(sinusoids(timesteps, all.unet.down[0]!.channels, all.unet)),
    states: concat([repeated(told, times), repeated(untold, times)], 0),
    signal: constant(signal),
    strength: constant(strength),
  });
  const part = (i: number) => average(slice(errors, 0, i * batch, (i + 1) * batch));
  const metrics = Object.fromEntries(
    validationTimesteps.flatMap((t, i) => [
      [`t${t}`, part(i)],
      [`t${t} without text`, part(times + i)],
    ]),
  );
  return { inputs, loss: average(slice(errors, 0, 0, times * batch)), metrics };
}

const latentDims = (network: UnetConfig, batch: number): number[] => [
  batch,
  network.inChannels,
  ...sampleSize(network),
];

/** One timestep from each of n equal spans, in order: every batch sees all strengths of noise. */
function stratifiedTimesteps(n: number, steps: number, random: TorchGenerator): number[] {
  const drawn = random.rand([n], "f64").data as Float64Array;
  return Array.from(drawn, (within, i) => Math.floor(((i + within) / n) * steps));
}

export const task = defineTask<DiffusionTraining>({
  version: 1,
  config: diffusionConfig,

  initial: (config, random) =>
    new Map([
      ...under("text_encoder", initialise(clipTextLayout(textEncoderJson(config)), random)),
      ...under("unet", initialise(unetLayout(config.unet), random)),
    ]),

  graph: (request) => (request.split === "train" ? trainingGraph(request) : validationGraph(request)),

  validationBatch: () => 32,

  async open({ config, data }) {
    const { train, validation } = roles(data, "train", "validation");
    const all = networks(config);
    const [, ...dims] = latentDims(all.unet, 1);
    for (const store of [train, validation]) checkColumn(store, latentColumn, ["f32", "f16"], dims);
    const tokenizer = openTokenizer(config.tokenizer);
    const idsOf = (texts: readonly string[]) =>
      Tensor.i64(
        [texts.length, tokenizer.length],
        texts.flatMap((text) => tokenizer.encode(text).ids),
      );
    return {
      train: train.rows,
      validation: validation.rows,
      batch({ split, rows, random }) {
        const store = split === "train" ? train : validation;
        const latent = store.gather(latentColumn, rows).to("f32");
        const noise = random.randn(latent.dims);
        const texts = rows.map((row) => textsOf(store, row));
        if (split === "validation") {
          return { latent, noise, ids: idsOf([...texts.map(({ captions }) => captions.full), ""]) };
        }
        const timesteps = stratifiedTimesteps(rows.length, all.schedule.alphasCumprod.length, random);
        return {
          latent,
          noise,
          ids: idsOf(texts.map((said) => drawPrompt(said, config.prompts, random))),
          timestep: sinusoids(timesteps, all.unet.down[0]!.channels, all.unet),
          ...factorsOf(all.schedule, timesteps),
        };
      },
    };
  },

  async export({ config, weights, dtype }) {
    const unetJson = { _class_name: "UNet2DConditionModel", ...config.unet };
    return [
      {
        name: "unet",
        kind: ["diffusers", "UNet2DConditionModel"],
        files: {
          "config.json": jsonFile(unetJson),
          "diffusion_pytorch_model.safetensors": weightsFile(below(weights, "unet"), dtype),
        },
      },
      {
        name: "text_encoder",
        kind: ["transformers", "CLIPTextModel"],
        files: {
          "config.json": configFile(textEncoderJson(config)),
          "model.safetensors": weightsFile(below(weights, "text_encoder"), dtype),
        },
      },
      { name: "tokenizer", kind: ["transformers", "CLIPTokenizer"], files: tokenizerFiles(config.tokenizer) },
      {
        name: "scheduler",
        kind: ["diffusers", String(config.scheduler._class_name)],
        files: { "scheduler_config.json": jsonFile(config.scheduler) },
      },
    ];
  },
});
