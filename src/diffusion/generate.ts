/** @file Text to image: the proof that the network is whole. */

import { fromVaePixels, type RgbImage } from "../image/index.js";
import { misuse, Tensor, TorchGenerator } from "../tensor/index.js";
import type { Truncation } from "../text/index.js";
import { guide } from "./arithmetic.js";
import { checkSeed, type Eye, type ImageOptions } from "./eye.js";
import { createScheduler, type SchedulerName } from "./schedulers/index.js";
import type { TextStates } from "./text.js";

export interface GenerateOptions extends Pick<ImageOptions, "seed" | "size" | "signal" | "onProgress"> {
  /** What the picture should not be like. Default: nothing, for which SDXL has zeros and others the empty prompt. */
  negative?: string;
  /** Default 50. */
  steps?: number;
  /** Weight of classifier-free guidance; 1 or less is none. Default 7.5. */
  cfg?: number;
  /** Default: the checkpoint's own. */
  scheduler?: SchedulerName;
  /** A prompt that is too long is cut (default), or an error. */
  truncate?: "cut" | "error";
  onTruncate?: (truncation: Truncation) => void;
}

export interface Generated {
  image: RgbImage;
  /** [1, C, h, w], scaled as the U-Net knows it */
  latent: Tensor;
  /** [1, 3, H, W] around [-1, 1], not clamped */
  decoded: Tensor;
}

/** @see Ho & Salimans 2022 (classifier-free guidance) */
export async function generateImage(eye: Eye, prompt: string, options: GenerateOptions): Promise<Generated> {
  const { negative, steps = 50, cfg = 7.5, seed = 0, signal, onProgress } = options;
  const { truncate = "cut", onTruncate } = options;
  if (!Number.isInteger(steps) || steps < 1 || steps > 1000) {
    throw misuse("STEPS", `steps must be a whole number from 1 to 1000, not ${steps}.`);
  }
  if (!Number.isFinite(cfg)) throw misuse("GUIDANCE", `cfg must be a number, not ${cfg}.`);
  checkSeed(seed);
  const scheduler = createScheduler(eye.pipeline.schedulerConfig, options.scheduler);
  const timesteps = scheduler.timesteps(steps);
  const dims = eye.latentDims(eye.size(options.size));
  const guided = cfg > 1;
  const call = { signal, truncate, ...(onTruncate && { onTruncate }) };
  const encoder = await eye.textEncoder();
  const wanted = await eye.text(prompt, call);
  let unwanted: TextStates | undefined;
  if (guided) {
    const zeros = negative === undefined && eye.pipeline.zerosForEmptyPrompt;
    unwanted = zeros ? encoder.zeros : await eye.text(negative ?? "", call);
  }
  await eye.leave(encoder);

  const { passes } = await eye.passes(dims, "unet-out", (find) => ({ out: find("unet-out").value }));
  let latent = new TorchGenerator(seed).randn(dims);
  const sigma = scheduler.initNoiseSigma;
  latent = Tensor.f32(
    dims,
    latent.toFloat32().map((value) => value * sigma),
  );
  for (const [i, t] of timesteps.entries()) {
    onProgress?.({ phase: "unet", done: i, total: timesteps.length });
    const sample = scheduler.scaleInput(latent, i);
    const shared = await passes.free(sample, t, { signal });
    const predict = async (text: TextStates) =>
      (await passes.bound(shared, text, sample, t, { signal })).out!;
    const conditional = await predict(wanted);
    const prediction = unwanted ? guide(await predict(unwanted), conditional, cfg) : conditional;
    latent = scheduler.step(prediction, i, latent);
  }
  await eye.leave(passes);
  onProgress?.({ phase: "decode", done: 0, total: 1 });
  const autoencoder = await eye.autoencoder();
  const decoded = await autoencoder.decode(latent, { signal });
  await eye.leave(autoencoder);
  return { image: fromVaePixels(decoded), latent, decoded };
}
