/** @file What networks are trained to make small: graph code over values, each loss one number []. */

import {
  abs,
  add,
  clamp,
  crossEntropy,
  div,
  equal,
  exp,
  greater,
  log,
  logSoftmax,
  max,
  mean,
  mul,
  reshape,
  slice,
  sub,
  sum,
  transpose,
  type Value,
} from "../graph/index.js";

/** The mean over every number: [...] -> [] */
export function average(x: Value): Value {
  return reshape(mean(x, ...x.dims.keys()), []);
}

/** The mean over all but the first axis: [B, ...] -> [B] */
export function averageEach(x: Value): Value {
  return reshape(mean(x, ...[...x.dims.keys()].slice(1)), [x.dims[0]!]);
}

const square = (x: Value): Value => mul(x, x);

/** Squared differences of a batch, each example's mean: [B] */
export function squaredErrors(prediction: Value, target: Value): Value {
  return averageEach(square(sub(prediction, target)));
}

// Diffusion

/** How a noise schedule mixes each example at its timestep: sqrt(ᾱ_t) and sqrt(1 - ᾱ_t), [B, 1, 1, 1] each. */
export interface NoiseFactors {
  signal: Value;
  strength: Value;
}

/** sqrt(ᾱ_t) x + sqrt(1 - ᾱ_t) ε. @see Ho et al. 2020, eq. 4 */
export function noisyLatent(latent: Value, noise: Value, { signal, strength }: NoiseFactors): Value {
  return add(mul(signal, latent), mul(strength, noise));
}

/**
 * What the network is to predict of a noisy latent: ε itself, or v = sqrt(ᾱ_t) ε - sqrt(1 - ᾱ_t) x.
 * @see Ho et al. 2020, section 3.2; Salimans and Ho 2022, appendix D
 */
export function diffusionTarget(
  type: "epsilon" | "v_prediction",
  latent: Value,
  noise: Value,
  { signal, strength }: NoiseFactors,
): Value {
  return type === "epsilon" ? noise : sub(mul(signal, noise), mul(strength, latent));
}

// Autoencoders

/** A diagonal Gaussian over latents [B, C, h, w]. */
export interface Gaussian {
  mean: Value;
  logvar: Value;
}

/** mean + σ ε: a sample through which gradients pass. @see Kingma and Welling 2014, section 2.4 */
export function sampled({ mean: centre, logvar }: Gaussian, noise: Value): Value {
  return add(centre, mul(exp(mul(logvar, 0.5)), noise));
}

/** Divergence from the standard normal, the mean over the latents' numbers. @see Kingma and Welling 2014, appendix B */
export function divergence({ mean: centre, logvar }: Gaussian): Value {
  return mul(average(sub(add(square(centre), exp(logvar)), add(logvar, 1))), 0.5);
}

/** How much each part of a reconstruction's loss counts. */
export interface ReconstructionWeights {
  absolute: number;
  squared: number;
  /** Of absolute differences between neighbouring pixels' errors: edges that stand in their place. */
  edges: number;
}

/** pixels and their reconstruction [B, 3, H, W] */
export function reconstructionLoss(
  reconstruction: Value,
  pixels: Value,
  weights: ReconstructionWeights,
): Value {
  const error = sub(reconstruction, pixels);
  const parts: [number, () => Value][] = [
    [weights.absolute, () => average(abs(error))],
    [weights.squared, () => average(square(error))],
    [weights.edges, () => add(average(abs(steps(error, 2))), average(abs(steps(error, 3))))],
  ];
  const terms = parts.flatMap(([weight, part]) => (weight === 0 ? [] : [mul(part(), weight) as Value]));
  return terms.reduce((total, term) => add(total, term));
}

/** Differences of neighbours along one axis. */
function steps(x: Value, axis: number): Value {
  const size = x.dims[axis]!;
  return sub(slice(x, axis, 1, size), slice(x, axis, 0, size - 1));
}

/** Peak signal-to-noise ratio in dB of pixels in [-1, 1], the mean over the batch; what leaves the range is clamped. */
export function psnr(reconstruction: Value, pixels: Value): Value {
  const errors = squaredErrors(clamp(reconstruction, -1, 1), pixels);
  return mul(average(log(div(errors, 4))), -10 / Math.LN10);
}

// CLIP

/**
 * Pictures find their texts, and texts their pictures: the mean of both cross-entropies.
 * @param logitsPerImage [B, N]
 * @param imageTargets which texts are right for each picture: [B, N], rows with sum 1
 * @param textTargets which pictures are right for each text: [N, B], rows with sum 1
 * @see Radford et al. 2021, figure 3
 */
export function contrastiveLoss(logitsPerImage: Value, imageTargets: Value, textTargets: Value): Value {
  const logitsPerText = transpose(logitsPerImage, [1, 0]);
  const both = add(
    softCrossEntropy(logitsPerImage, imageTargets),
    softCrossEntropy(logitsPerText, textTargets),
  );
  return mul(both, 0.5);
}

/**
 * How many rows have their largest logit at a target: a share [].
 * @param logits [N, V]
 * @param targets [N, V]: above 0 where it is right
 */
export function recallAtOne(logits: Value, targets: Value): Value {
  const right = greater(targets, 0);
  // Far below every logit, and small enough to lose no digit of those that stay.
  const outside = 1e4;
  const best = max(sub(logits, mul(equal(right, 0), outside)), 1);
  const others = max(sub(logits, mul(right, outside)), 1);
  return average(greater(best, others));
}

/** logits [N, V], targets [N, V] with rows of sum 1: the mean of -Σ target log softmax. */
export function softCrossEntropy(logits: Value, targets: Value): Value {
  return mul(average(sum(mul(targets, logSoftmax(logits)), 1)), -1);
}

// Language

/**
 * The mean cross-entropy over the tokens that count.
 * @param logits [B, T, V]
 * @param labels [B, T] (i64): the token that each position is to predict; any where the weight is 0
 * @param weights [B, T]: 1 where it counts, else 0; or any other weights
 */
export function languageLoss(logits: Value, labels: Value, weights: Value): Value {
  // Where nothing counts, nothing is lost.
  const counted = clamp(total(weights), 1e-6, Number.MAX_SAFE_INTEGER);
  return div(total(mul(crossEntropy(logits, labels), weights)), counted);
}

/** The sum of every number: [...] -> [] */
export function total(x: Value): Value {
  return reshape(sum(x, ...x.dims.keys()), []);
}
