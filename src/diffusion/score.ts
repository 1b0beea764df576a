/** @file How well texts describe an image: LogSumExp of the cross-attention's scores before softmax (Discffusion). */

import { logSumExp, mean, slice, type Value } from "../graph/index.js";
import type { ImageInput } from "../image/index.js";
import { misuse } from "../tensor/index.js";
import type { Truncation } from "../text/index.js";
import { checkSeed, checkTimesteps, type Eye, type ImageOptions } from "./eye.js";
import { crossAttentions } from "./taps.js";

export interface ScoreOptions extends ImageOptions {
  /** Default [189, 389, 589, 789, 989]. */
  timesteps?: readonly number[];
  /** Cross-attentions to average over. Default: all. */
  layers?: readonly string[];
  /** Averages over several draws of noise: trial k of timestep number i is seeded seed + i + k * timesteps. Default 1. */
  trials?: number;
  /** Whether padding counts as keys, as in the paper. Default true. */
  padding?: boolean;
  /** LogSumExp over the keys (default), or over the positions of each token's scores. */
  pooling?: "keys" | "positions";
  /** A text that is too long is cut (default), or an error. */
  truncate?: "cut" | "error";
  onTruncate?: (truncation: Truncation) => void;
}

export const scoreTimesteps = [189, 389, 589, 789, 989];

/** The scores of one text for one image. */
export interface TextScore {
  text: string;
  /** Mean over timesteps, trials and layers. */
  score: number;
  /** [timesteps][layers], mean over trials. */
  byLayer: number[][];
}

/** @returns for each image, for each text */
export async function scoreImages(
  eye: Eye,
  images: readonly ImageInput[],
  texts: readonly string[],
  options: ScoreOptions,
): Promise<TextScore[][]> {
  const {
    timesteps = scoreTimesteps,
    layers,
    trials = 1,
    padding = true,
    pooling = "keys",
    seed = 0,
    vae = "mean",
  } = options;
  const { signal, onProgress, truncate = "cut", onTruncate } = options;
  checkTimesteps(timesteps, eye.pipeline.schedule.alphasCumprod.length);
  checkSeed(seed);
  if (texts.length === 0) throw misuse("PROMPT", "At least one text is needed.");
  if (!Number.isInteger(trials) || trials < 1)
    throw misuse("RANGE", `trials must be a whole number from 1, not ${trials}.`);
  if (pooling !== "keys" && pooling !== "positions") {
    throw misuse("POOLING", `Unknown pooling "${pooling}": allowed are keys, positions.`);
  }

  const encoder = await eye.textEncoder();
  for (const [i, text] of texts.entries()) {
    onProgress?.({ phase: "text", done: i, total: texts.length });
    await eye.text(text, { signal, truncate, ...(onTruncate && { onTruncate }) });
  }
  await eye.leave(encoder);

  const results: TextScore[][] = [];
  const total = images.length * texts.length * timesteps.length * trials;
  let done = 0;
  for (const [index, image] of images.entries()) {
    onProgress?.({ phase: "image", done: index, total: images.length });
    const subject = await eye.subject(image, options);
    const ids = crossAttentions(await eye.taps(subject.latent), layers, "score").map(({ id }) => id);
    await eye.posterior(subject, { signal });
    await eye.leave(await eye.autoencoder());

    // One program for texts of all lengths: each pass gives the scores as every length would count them.
    const lengths = texts.map((text) => (padding ? undefined : encoder.tokenize(text).tokens));
    const counted = [...new Set(lengths)];
    const output = (id: string, kept: number | undefined) => `${id}/${kept}`;
    const passes = await eye.passes(subject.latent, `score:${pooling}:${counted}:${ids}`, (find) =>
      Object.fromEntries(
        ids.flatMap((id) =>
          counted.map((kept) => [output(id, kept), pool(find(id).value, pooling, kept)] as const),
        ),
      ),
    );
    const scores = texts.map((text) => ({ text, score: 0, byLayer: timesteps.map(() => ids.map(() => 0)) }));
    for (const [i, t] of timesteps.entries()) {
      for (let trial = 0; trial < trials; trial++) {
        const look = { subject, t, seed: seed + i + trial * timesteps.length, vae };
        for (const [j, text] of texts.entries()) {
          onProgress?.({ phase: "unet", done: done++, total });
          const seen = await eye.see(passes, look, text, { signal });
          ids.forEach((id, l) => {
            scores[j]!.byLayer[i]![l]! += seen[output(id, lengths[j])]!.toFloat32()[0]! / trials;
          });
        }
      }
    }
    for (const one of scores) one.score = meanOf(one.byLayer.map(meanOf));
    results.push(scores);
  }
  onProgress?.({ phase: "unet", done: total, total });
  return results;
}

/** scores [1, heads, queries, keys] -> one number; only the first `kept` keys count when given */
function pool(scores: Value, pooling: "keys" | "positions", kept: number | undefined): Value {
  const counted = kept === undefined ? scores : slice(scores, 3, 0, kept);
  return mean(logSumExp(counted, pooling === "keys" ? 3 : 2), 1, 2, 3);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
