/** @file Learning to draw pictures from few numbers: AutoencoderKL. */

import { z } from "zod";
import { add, detach, exp, input, mul, reshape, sub, type Value } from "../../graph/index.js";
import { vaePixels } from "../../image/index.js";
import { initialise, readVaeConfig, vaeDecode, vaeEncode, vaeLayout } from "../../models/index.js";
import { misuse, Tensor, type TorchGenerator } from "../../tensor/index.js";
import { average, divergence, psnr, reconstructionLoss, sampled } from "../losses.js";
import { defineTask, type Weights } from "../task.js";
import { jsonFile, weightsFile } from "./exported.js";
import { networkSchema } from "./networks.js";
import { checkPictures, cutOut, picturesOf, roles, stacked } from "./pictures.js";

const weight = z.number().min(0);

export const autoencoderConfig = z.strictObject({
  /** AutoencoderKL's config.json; its scaling_factor will be 1. */
  network: networkSchema((json) => {
    const { quantConv, postQuantConv } = readVaeConfig(json);
    if (!quantConv || !postQuantConv) {
      throw misuse(
        "CONFIG",
        "use_quant_conv and use_post_quant_conv are needed: latents are standardised there.",
      );
    }
    if (!Number.isInteger(json.sample_size))
      throw misuse("CONFIG", "sample_size is needed: the side of the pictures.");
  }),
  /** The side of the squares that are cut out of pictures, in pixels; without it whole pictures are seen. */
  crop: z.number().int().positive().optional(),
  /** What of the reconstruction counts, and how much; `divergence` is that from the standard normal. */
  loss: z
    .strictObject({
      absolute: weight.default(0.5),
      squared: weight.default(4),
      edges: weight.default(0.25),
      divergence: weight.default(1e-4),
    })
    .prefault({}),
});

export type AutoencoderTraining = z.infer<typeof autoencoderConfig>;

/** Not parts of the network: each latent channel's mean and logarithm of its deviation, followed while it is trained. */
const statistics = { mean: "latent_mean", logDeviation: "latent_log_deviation" };
const isStatistic = (key: string): boolean => Object.values(statistics).includes(key);

/**
 * The network's own weights, with latents of mean 0 and deviation 1 in each channel: what is left of them after that is
 * undone lies in the two 1x1 convolutions around the latents. Reconstructions stay as they are.
 */
export function standardised(weights: Weights): Map<string, Tensor> {
  const numbers = (key: string): Float32Array => {
    const tensor = weights.get(key);
    if (!tensor) throw misuse("WEIGHT_MISSING", `These weights of an autoencoder have no "${key}".`);
    return tensor.toFloat32().slice();
  };
  const means = numbers(statistics.mean);
  const deviations = numbers(statistics.logDeviation).map(Math.exp);
  const latents = means.length;

  // 1. Moments: (mean - μ) / σ, and log variance - 2 log σ
  const quant = { weight: numbers("quant_conv.weight"), bias: numbers("quant_conv.bias") };
  deviations.forEach((deviation, channel) => {
    for (let i = 0; i < 2 * latents; i++) quant.weight[channel * 2 * latents + i]! /= deviation;
    quant.bias[channel] = (quant.bias[channel]! - means[channel]!) / deviation;
    quant.bias[latents + channel]! -= 2 * Math.log(deviation);
  });

  // 2. Latents: σ z + μ
  const post = { weight: numbers("post_quant_conv.weight"), bias: numbers("post_quant_conv.bias") };
  for (let out = 0; out < latents; out++) {
    for (let channel = 0; channel < latents; channel++) {
      const at = out * latents + channel;
      post.bias[out]! += post.weight[at]! * means[channel]!;
      post.weight[at]! *= deviations[channel]!;
    }
  }

  const own = new Map([...weights].filter(([key]) => !isStatistic(key)));
  for (const [name, { weight, bias }] of Object.entries({ quant_conv: quant, post_quant_conv: post })) {
    own.set(`${name}.weight`, Tensor.f32(own.get(`${name}.weight`)!.dims, weight));
    own.set(`${name}.bias`, Tensor.f32(own.get(`${name}.bias`)!.dims, bias));
  }
  return own;
}

/**
 * The side of whole pictures, and of what training sees of them.
 * @throws DiffsightError CROP when latents do not tile it
 */
function sidesOf({ network, crop }: AutoencoderTraining): { whole: number; seen: number } {
  const whole = network.sample_size as number; // in pixels, whatever diffusers does with it
  const seen = crop ?? whole;
  const { factor } = readVaeConfig(network);
  const wrong = [whole, seen].find((side) => side % factor !== 0);
  if (wrong !== undefined)
    throw misuse("CROP", `Latents of ${factor} pixels a side do not tile a square of ${wrong}.`);
  if (seen > whole)
    throw misuse("CROP", `A square of ${seen} pixels cannot be cut out of pictures of ${whole}.`);
  return { whole, seen };
}

/** Where a square is cut out: half of them anywhere, half of them rather in the middle, where the things are. */
function place(room: number, random: TorchGenerator): number {
  const [kind, one, other] = random.rand([3], "f64").data as Float64Array;
  const at = kind! < 0.5 ? one! : (one! + other!) / 2;
  return Math.floor(at * (room + 1));
}

export const task = defineTask<AutoencoderTraining>({
  version: 1,
  config: autoencoderConfig,

  initial({ network }, random) {
    const zeros = Tensor.f32([readVaeConfig(network).latentChannels]);
    const weights = initialise(vaeLayout(network), random);
    return weights.set(statistics.mean, zeros).set(statistics.logDeviation, zeros);
  },

  graph({ config, w, batch, split }) {
    const vae = readVaeConfig(config.network);
    const training = split === "train";
    const { whole, seen } = sidesOf(config);
    const side = training ? seen : whole;
    const pixels = input("pixels", [batch, vae.inChannels, side, side]);
    const posterior = vaeEncode(w, vae, pixels);
    const noise = input("noise", posterior.mean.dims);
    const latent = training ? sampled(posterior, noise) : posterior.mean;
    const drawn = vaeDecode(w, vae, latent);
    const kl = divergence(posterior);

    // The likelihood of the latents under normals of that mean and deviation, which moves nothing else.
    const perChannel = (key: string) => reshape(w.parameter(key, [vae.latentChannels]), [1, -1, 1, 1]);
    const logDeviation = perChannel(statistics.logDeviation);
    const offset = sub(detach(posterior.mean), perChannel(statistics.mean));
    const unlikely = average(
      add(mul(mul(mul(offset, offset), exp(mul(logDeviation, -2))), 0.5), logDeviation),
    );
    const following = mul(unlikely, 1e-3); // small beside the rest, so that clipping the gradients does not see it

    const reconstruction = reconstructionLoss(drawn, pixels, config.loss);
    const learnt: Value = add(reconstruction, mul(kl, config.loss.divergence));
    return {
      inputs: training ? { pixels, noise } : { pixels },
      loss: training ? add(learnt, following) : learnt,
      metrics: { psnr: psnr(drawn, pixels), divergence: kl },
    };
  },
  // Few numbers: they may run ahead of the others.
  rule: (key) => (isStatistic(key) ? { decay: false, scale: 5 } : {}),

  async open({ config, data }) {
    const { train, validation } = roles(data, "train", "validation");
    const { whole, seen } = sidesOf(config);
    for (const store of [train, validation]) checkPictures(store, whole);
    const { latentChannels, factor } = readVaeConfig(config.network);
    return {
      train: train.rows,
      validation: validation.rows,
      batch({ split, rows, random }) {
        const pictures = picturesOf(split === "train" ? train : validation, rows);
        if (split === "validation") return { pixels: stacked(pictures.map(vaePixels)) };
        const room = whole - seen;
        const cut = pictures.map((picture) =>
          cutOut(picture, place(room, random), place(room, random), seen),
        );
        const grid = seen / factor;
        const noise = random.randn([rows.length, latentChannels, grid, grid]);
        return { pixels: stacked(cut.map(vaePixels)), noise };
      },
    };
  },

  async export({ config, weights, dtype }) {
    const network = { _class_name: "AutoencoderKL", ...config.network, scaling_factor: 1 };
    const files = {
      "config.json": jsonFile(network),
      "diffusion_pytorch_model.safetensors": weightsFile(standardised(weights), dtype),
    };
    return [{ name: "vae", kind: ["diffusers", "AutoencoderKL"], files }];
  },
});
