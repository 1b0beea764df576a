/** @file What the method's own guidance warns of, as data: a caller prints it, or not. */

import type { FusionConfig } from "./program.js";
import { fusions } from "./registry.js";

export interface FusionWarning {
  code: "VISION_NOT_FROZEN" | "NOT_NORMALISED" | "SMALL_BATCH" | "NO_DROPOUT" | "DEEP_FUSION";
  message: string;
}

export interface TrainingFacts {
  /** Encoders by name: of what kind, and whether training changes them. */
  encoders: Readonly<Record<string, { kind: "vision" | "diffusion" | "text"; trained: boolean }>>;
  /** Examples a step, over all threads. */
  batch: number;
  stage: 1 | 2;
}

/** LLaVA's and the skill's batches. */
const usualBatch = { 1: 256, 2: 128 };

/**
 * What to look at twice before training.
 * @see the seed skill's "common pitfalls"
 */
export function fusionWarnings(
  config: FusionConfig,
  { encoders, batch, stage }: TrainingFacts,
): FusionWarning[] {
  const warnings: FusionWarning[] = [];
  for (const [name, { kind, trained }] of Object.entries(encoders)) {
    if (kind !== "vision" || !trained) continue;
    const message = `"${name}" is trained along; the method keeps the vision encoder frozen.`;
    warnings.push({ code: "VISION_NOT_FROZEN", message });
  }
  for (const step of config) {
    const { normalisation } = step;
    const of = (name: string) => (typeof normalisation === "string" ? normalisation : normalisation[name]);
    for (const name of fusions.get(step.type)!.make(step).encoders) {
      if (encoders[name]?.kind !== "diffusion" || step.type === "none" || normalises(step)) continue;
      if ((of(name) ?? "none") !== "none") continue;
      // Normalised each by itself, c - u would be no difference of features any more.
      const cure = step.type === "guidance-ensemble" ? "; `unitLength` makes them alike" : "";
      const message = `"${name}" goes into ${step.type} without being normalised; diffusion's features are larger than others'${cure}.`;
      warnings.push({ code: "NOT_NORMALISED", message });
    }
    if (step.type === "class-token" && step.dropout === 0) {
      warnings.push({ code: "NO_DROPOUT", message: "class-token has no dropout; the skill uses 0.1." });
    }
    if (step.type === "transformer" && step.layers > 4) {
      const message = `transformer has ${step.layers} layers; deep fusions learn slowly from frozen features.`;
      warnings.push({ code: "DEEP_FUSION", message });
    }
  }
  // A quarter of the usual one still trains; below it the skill's warning holds.
  if (batch < usualBatch[stage] / 4) {
    const message = `A batch of ${batch} is small for stage ${stage}, which is usually trained at ${usualBatch[stage]}.`;
    warnings.push({ code: "SMALL_BATCH", message });
  }
  return warnings;
}

/** Fusions that normalise what they take, or what they make of it, by themselves. */
function normalises(step: FusionConfig[number]): boolean {
  return step.type === "gated-cross-attention" || (step.type === "guidance-ensemble" && step.unitLength);
}
