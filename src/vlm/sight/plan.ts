/** @file From encoders' tokens to the language model's rows: own projectors, fusion, projector. One graph function for training and use. */

import type { Value } from "../../graph/index.js";
import type { Layout } from "../../models/index.js";
import { misuse } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";
import type { VlmDescription } from "../description.js";
import { type FusionContext, type FusionProgram, planFusion, type StreamShape } from "../fusion/index.js";
import { type ProjectorConfig, projector, projectorLayout } from "../projector.js";

export interface SightPlan {
  /** Rows that the language model reads for a picture. */
  readonly tokens: number;
  /** All trained tensors: `encoders.<name>.projector.*`, `fusion.*`, `model.mm_projector.*`. */
  readonly layout: Layout;
  readonly whitened: FusionProgram["whitened"];
  /**
   * @param streams each encoder's tokens [B, tokens, width]
   * @returns [B, tokens, the language model's width]
   */
  rows(w: Scope, streams: Readonly<Record<string, Value>>, context?: FusionContext): Value;
}

/** Where a LLaVA's projector lies. */
const projectorKey = "model.mm_projector";

/**
 * @param shapes of each encoder's tokens
 * @param width the language model's
 * @throws misuse FUSION, PROJECTOR when they do not fit
 */
export function planSight(
  { encoders, fusion, projector: type }: Pick<VlmDescription, "encoders" | "fusion" | "projector">,
  shapes: Readonly<Record<string, StreamShape>>,
  width: number,
): SightPlan {
  const own = new Map<string, ProjectorConfig>();
  const projected = Object.entries(shapes).map(([name, shape]): [string, StreamShape] => {
    const encoder = encoders[name]!;
    const wanted = "projector" in encoder ? encoder.projector : undefined;
    if (!wanted) return [name, shape];
    const config = {
      type: wanted.type as ProjectorConfig["type"],
      from: shape.width,
      to: wanted.width ?? width,
    };
    own.set(name, config);
    return [name, { ...shape, width: config.to }];
  });
  const fused = planFusion(fusion, Object.fromEntries(projected));
  const trained = fused.whitened.find(({ encoder }) => own.has(encoder));
  if (trained)
    throw misuse(
      "FUSION",
      `Whitening is measured before training; what "${trained.encoder}" gives is changed by its projector, which is trained.`,
    );
  const last: ProjectorConfig = { type, from: fused.output.width, to: width };
  const layouts = [...own].map(([name, config]) => projectorLayout(`encoders.${name}.projector`, config));
  return {
    tokens: fused.output.tokens,
    whitened: fused.whitened,
    layout: [...layouts.flat(), ...fused.layout, ...projectorLayout(projectorKey, last)],
    rows(w, streams, context) {
      const given = Object.entries(streams).map(([name, tokens]): [string, Value] => {
        const config = own.get(name);
        return [name, config ? projector(w.at("encoders", name, "projector"), config, tokens) : tokens];
      });
      const joined = fused.fuse(w, Object.fromEntries(given), context);
      return projector(w.at("model", "mm_projector"), last, joined);
    },
  };
}
