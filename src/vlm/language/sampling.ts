/** @file From scores to the next token, as transformers' logits processors do. */

import { misuse, type TorchGenerator } from "../../tensor/index.js";

export interface SamplingOptions {
  /** Scores are divided by it; 0 takes the best token always. Default 0. */
  temperature?: number;
  /** Of the likeliest tokens only so many that their probabilities reach this. Default 1: all. */
  topP?: number;
  /** Of the likeliest tokens only so many. Default 0: all. */
  topK?: number;
  /** Scores of tokens that occurred are divided by it where positive, else multiplied. Default: the model's own, else 1. */
  repetitionPenalty?: number;
}

/** @throws DiffsightError SAMPLING that names the option and its range */
export function checkSampling(options: SamplingOptions): Required<SamplingOptions> {
  const { temperature = 0, topP = 1, topK = 0, repetitionPenalty = 1 } = options;
  const rules: [string, number, boolean, string][] = [
    ["temperature", temperature, temperature >= 0 && temperature < Number.POSITIVE_INFINITY, "0 or more"],
    ["topP", topP, topP > 0 && topP <= 1, "above 0 and at most 1"],
    ["topK", topK, Number.isInteger(topK) && topK >= 0, "a whole number, 0 for all"],
    [
      "repetitionPenalty",
      repetitionPenalty,
      repetitionPenalty > 0 && Number.isFinite(repetitionPenalty),
      "above 0",
    ],
  ];
  for (const [name, value, right, allowed] of rules) {
    if (!right) throw misuse("SAMPLING", `${name} must be ${allowed}, not ${value}.`);
  }
  return { temperature, topP, topK, repetitionPenalty };
}

/**
 * The next token. Of equal scores the first is taken; a draw is one number of `random`, by the cumulative probabilities
 * in the order of the vocabulary (torch's own draw depends on the processor's kind).
 * @param logits [vocab_size], left as they are
 * @param occurred ids that the repetition penalty is for
 * @see https://huggingface.co/docs/transformers/internal/generation_utils#logitsprocessor
 */
export function sampleToken(
  logits: Float32Array,
  { temperature, topP, topK, repetitionPenalty }: Required<SamplingOptions>,
  occurred: Iterable<number>,
  random: TorchGenerator,
): number {
  const scores = Float32Array.from(logits);
  if (repetitionPenalty !== 1) {
    for (const id of new Set(occurred)) {
      scores[id] = scores[id]! < 0 ? scores[id]! * repetitionPenalty : scores[id]! / repetitionPenalty;
    }
  }
  if (temperature === 0) return largest(scores);
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / temperature;
  if (topK > 0 && topK < scores.length) {
    const least = Float32Array.from(scores).sort().at(-topK)!;
    for (let i = 0; i < scores.length; i++) if (scores[i]! < least) scores[i] = Number.NEGATIVE_INFINITY;
  }
  const weights = probabilities(scores);
  if (topP < 1) keepLikeliest(weights, topP);
  return drawn(weights, random);
}

function largest(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

/** Softmax, in doubles. */
function probabilities(scores: Float32Array): Float64Array {
  const top = scores[largest(scores)]!;
  const weights = Float64Array.from(scores, (score) => Math.exp(score - top));
  const total = weights.reduce((sum, one) => sum + one, 0);
  return weights.map((one) => one / total);
}

/** Leaves out the least likely tokens that together are at most 1 - p; the likeliest always stays. */
function keepLikeliest(weights: Float64Array, p: number): void {
  const order = Uint32Array.from(weights.keys()).sort((a, b) => weights[a]! - weights[b]!);
  let below = 0;
  for (const id of order.subarray(0, -1)) {
    below += weights[id]!;
    if (below > 1 - p) return;
    weights[id] = 0;
  }
}

function drawn(weights: Float64Array, random: TorchGenerator): number {
  const total = weights.reduce((sum, one) => sum + one, 0);
  let rest = (random.rand([1], "f64").data[0] as number) * total;
  let last = 0;
  for (let id = 0; id < weights.length; id++) {
    if (weights[id] === 0) continue;
    rest -= weights[id]!;
    if (rest < 0) return id;
    last = id;
  }
  return last;
}
