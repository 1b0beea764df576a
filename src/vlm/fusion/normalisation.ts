/** @file What can be done to an encoder's tokens before they are fused, each token by itself. */

import { z } from "zod";
import { constant, detach, linear, rmsNorm, type Value } from "../../graph/index.js";
import { type LayoutBuilder, layerNorm } from "../../models/index.js";
import { misuse, Tensor } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";

/**
 * `none`; `layer-norm`: trained; `l2`: every token has the length √C, so that its numbers are about 1; `whitening`: by
 * stored statistics every channel has mean 0 and variance 1 and none depends on another.
 */
export const normalisationSchema = z.enum(["none", "layer-norm", "l2", "whitening"]);
export type Normalisation = z.output<typeof normalisationSchema>;

/** x [..., C] -> [..., C] */
export function normalise(w: Scope, kind: Normalisation, x: Value): Value {
  const channels = x.dims.at(-1)!;
  switch (kind) {
    case "none":
      return x;
    case "layer-norm":
      return layerNorm(x, w.at("layer_norm"), { eps: 1e-5 });
    case "l2":
      return unitRows(x);
    case "whitening": {
      // Statistics are measured, never trained.
      const own = w.at("whitening");
      const weight = detach(own.parameter("weight", [channels, channels]));
      return linear(x, weight, detach(own.parameter("bias", [channels])));
    }
  }
}

/** Rows of length √C: [..., C] -> [..., C] */
export function unitRows(x: Value): Value {
  const channels = x.dims.at(-1)!;
  return rmsNorm(x, constant(Tensor.f32([channels], new Float32Array(channels).fill(1))), { eps: 1e-6 });
}

export function normalisationLayout(
  layers: LayoutBuilder,
  key: string,
  kind: Normalisation,
  channels: number,
): void {
  if (kind === "layer-norm") layers.norm(`${key}.layer_norm`, channels);
  if (kind !== "whitening") return;
  layers.add(`${key}.whitening.weight`, [channels, channels], "weight", { kind: "identity" });
  layers.add(`${key}.whitening.bias`, [channels], "bias", { kind: "constant", value: 0 });
}

/** Whether a parameter is a stored statistic, which no training may change. */
export function isStatistic(key: string): boolean {
  return /(^|\.)whitening\.(weight|bias)$/.test(key);
}

/**
 * Measures what `whitening` needs: W (x - mean) with Wᵀ W the inverse covariance (Cholesky's factor).
 * @param rows features [N, C]; more than C of them say more
 * @param shrinkage how much of the mean variance is added to each channel's: keeps weak directions from being blown up
 * @returns `weight` [C, C] and `bias` [C]
 * @throws misuse STATISTICS for fewer than two rows, or numbers that are not finite
 * @see Kessy et al. 2018, "Optimal whitening and decorrelation"
 */
export function whitening(rows: Tensor, { shrinkage = 1e-3 } = {}): { weight: Tensor; bias: Tensor } {
  const [count, channels] = rows.dims as [number, number];
  if (rows.dims.length !== 2 || count < 2) {
    throw misuse(
      "STATISTICS",
      `Whitening is measured on two rows or more, not on [${rows.dims.join(", ")}].`,
    );
  }
  const { mean, covariance } = moments(rows.toFloat32(), count, channels);
  let variance = 0;
  for (let i = 0; i < channels; i++) variance += covariance[i * channels + i]! / channels;
  if (!Number.isFinite(variance) || variance === 0) {
    throw misuse("STATISTICS", "Whitening needs finite features that are not all alike.");
  }
  for (let i = 0; i < channels; i++) covariance[i * channels + i]! += shrinkage * variance;
  const weight = inverseOfLower(cholesky(covariance, channels), channels);
  const bias = new Float32Array(channels);
  for (let i = 0; i < channels; i++) {
    let sum = 0;
    for (let j = 0; j <= i; j++) sum += weight[i * channels + j]! * mean[j]!;
    bias[i] = -sum;
  }
  return {
    weight: Tensor.f32([channels, channels], Float32Array.from(weight)),
    bias: Tensor.f32([channels], bias),
  };
}

/** Which of the pictures, evenly spread, tell enough of all these encoders' channels. */
export function picturesToWhiten(
  encoders: readonly { tokens: number; width: number }[],
  pictures: number,
): number[] {
  const wanted = encoders.map(({ tokens, width }) =>
    Math.max(16, Math.ceil(Math.max(4096, 4 * width) / tokens)),
  );
  const count = Math.min(Math.max(...wanted), pictures);
  return Array.from({ length: count }, (_, i) => Math.floor((i * pictures) / count));
}

/**
 * What whitened encoders need before training, by key.
 * @param whitened as a `FusionProgram` names them
 * @param features each encoder's tokens of some pictures [N, tokens, C]; tokens of zeros, where there is no picture, do not count
 * @throws misuse STATISTICS
 */
export function whiteningOf(
  whitened: readonly { encoder: string; key: string }[],
  features: Readonly<Record<string, Tensor>>,
): Map<string, Tensor> {
  const statistics = new Map<string, Tensor>();
  for (const { encoder, key } of whitened) {
    const tokens = features[encoder]!;
    const channels = tokens.dims.at(-1)!;
    const all = tokens.toFloat32();
    const rows = Array.from({ length: all.length / channels }, (_, i) =>
      all.subarray(i * channels, (i + 1) * channels),
    ).filter((row) => row.some((number) => number !== 0));
    const kept = new Float32Array(rows.length * channels);
    rows.forEach((row, i) => {
      kept.set(row, i * channels);
    });
    const { weight, bias } = whitening(Tensor.f32([rows.length, channels], kept));
    statistics.set(`${key}.weight`, weight).set(`${key}.bias`, bias);
  }
  return statistics;
}

function moments(data: Float32Array, count: number, channels: number) {
  const mean = new Float64Array(channels);
  for (let i = 0; i < data.length; i++) mean[i % channels]! += data[i]! / count;
  const covariance = new Float64Array(channels * channels);
  const centred = new Float64Array(channels);
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < channels; i++) centred[i] = data[row * channels + i]! - mean[i]!;
    for (let i = 0; i < channels; i++) {
      const own = centred[i]! / (count - 1);
      for (let j = 0; j <= i; j++) covariance[i * channels + j]! += own * centred[j]!;
    }
  }
  return { mean, covariance };
}

/** The lower factor L with L Lᵀ = a; only the lower half of a is read. */
function cholesky(a: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      l[i * n + j] = i === j ? Math.sqrt(sum) : sum / l[j * n + j]!;
    }
  }
  return l;
}

function inverseOfLower(l: Float64Array, n: number): Float64Array {
  const inverse = new Float64Array(n * n);
  for (let column = 0; column < n; column++) {
    for (let i = column; i < n; i++) {
      let sum = i === column ? 1 : 0;
      for (let k = column; k < i; k++) sum -= l[i * n + k]! * inverse[k * n + column]!;
      inverse[i * n + column] = sum / l[i * n + i]!;
    }
  }
  return inverse;
}
