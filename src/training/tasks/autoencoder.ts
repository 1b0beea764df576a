/** @file Learning to draw pictures from few numbers: AutoencoderKL. */

import { z } from "zod";
import { add, detach, exp, input, mul, type Value } from "../../graph/index.js";
import { vaePixels } from "../../image/index.js";
import { initialise, readVaeConfig, vaeDecode, vaeEncode, vaeLayout } from "../../models/index.js";
import { misuse, Tensor, type TorchGenerator } from "../../tensor/index.js";
import { average, divergence, psnr, reconstructionLoss, sampled } from "../losses.js";
import { defineTask, type Weights } from "../task.js";
import { jsonFile, weightsFile } from "./exported.js";
import { type NetworkJson, networkSchema } from "./networks.js";
import { checkPictures, cutOut, picturesOf, roles, stacked } from "./pictures.js";

const weight = z.number().min(0);

export const autoencoderConfig = z.strictObject({
  /** AutoencoderKL's config.json; its scaling_factor is learnt. */
  network: networkSchema((json) => {
    readVaeConfig(json);
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

/** Not a part of the network: the logarithm of the latents' deviation, followed while it is trained. */
const deviationKey = "latent_log_deviation";

/** What latents are multiplied with so that their deviation is 1: the config's scaling_factor. */
export function latentScale(weights: Weights): number {
  const logDeviation = weights.get(deviationKey);
  if (!logDeviation) {
    throw misuse("WEIGHT_MISSING", `These weights of an autoencoder have no "${deviationKey}".`);
  }
  return Math.exp(-Number(logDeviation.data[0]));
}

/** The config.json of what was learnt. */
export function autoencoderJson({ network }: AutoencoderTraining, weights: Weights): NetworkJson {
  return { _class_name: "AutoencoderKL", ...network, scaling_factor: latentScale(weights) };
}

/** The network's own weights. */
export function autoencoderWeights(weights: Weights): Map<string, Tensor> {
  return new Map([...weights].filter(([key]) => key !== deviationKey));
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
    return initialise(vaeLayout(network), random).set(deviationKey, Tensor.f32([1], [0]));
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

    // The likelihood of the latents under a normal of that deviation, which moves nothing but the deviation.
    const logDeviation = w.parameter(deviationKey, [1]);
    const squares = average(mul(detach(posterior.mean), detach(posterior.mean)));
    const unlikely = average(add(mul(mul(squares, exp(mul(logDeviation, -2))), 0.5), logDeviation));
    const following = mul(unlikely, 1e-3); // small beside the rest, so that clipping the gradients does not see it

    const reconstruction = reconstructionLoss(drawn, pixels, config.loss);
    const learnt: Value = add(reconstruction, mul(kl, config.loss.divergence));
    return {
      inputs: training ? { pixels, noise } : { pixels },
      loss: training ? add(learnt, following) : learnt,
      metrics: { psnr: psnr(drawn, pixels), divergence: kl },
    };
  },
  // One number among many: it may run ahead of them.
  rule: (key) => (key === deviationKey ? { decay: false, scale: 5 } : {}),

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
    const network = autoencoderJson(config, weights);
    const files = {
      "config.json": jsonFile(network),
      "diffusion_pytorch_model.safetensors": weightsFile(autoencoderWeights(weights), dtype),
    };
    return [{ name: "vae", kind: ["diffusers", "AutoencoderKL"], files }];
  },
});
