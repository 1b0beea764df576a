/** @file What a network's prediction says about the clean latent and about the noise in a sample. */

import type { Tensor } from "../../tensor/index.js";
import { combine, divide } from "./float32.js";
import type { PredictionType } from "./noise-schedule.js";

/** A sample is signal * clean + strength * noise. */
export interface Mixture {
  sample: Tensor;
  signal: number;
  strength: number;
}

export function predictedClean(
  type: PredictionType,
  prediction: Tensor,
  { sample, signal, strength }: Mixture,
): Tensor {
  switch (type) {
    case "epsilon":
      return divide(combine([1, sample], [-strength, prediction]), signal);
    case "v_prediction":
      return combine([signal, sample], [-strength, prediction]);
    case "sample":
      return prediction;
  }
}

export function predictedNoise(
  type: PredictionType,
  prediction: Tensor,
  { sample, signal, strength }: Mixture,
): Tensor {
  switch (type) {
    case "epsilon":
      return prediction;
    case "v_prediction":
      return combine([signal, prediction], [strength, sample]);
    case "sample":
      return divide(combine([1, sample], [-signal, prediction]), strength);
  }
}
