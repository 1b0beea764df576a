/** @file Every way of joining encoders, by the name that configs give it. A new one is a file and a line here. */

import { z } from "zod";
import { additive } from "./additive.js";
import { channelConcat } from "./channel-concat.js";
import { classToken } from "./class-token.js";
import { crossAttention } from "./cross-attention.js";
import type { FusionKind } from "./fusion.js";
import { gatedCrossAttention } from "./gated-cross-attention.js";
import { guidanceEnsemble } from "./guidance-ensemble.js";
import { interleaved } from "./interleaved.js";
import { none } from "./none.js";
import { pyramid } from "./pyramid.js";
import { tokenConcat } from "./token-concat.js";
import { transformer } from "./transformer.js";
import { unconditionalConditional } from "./unconditional-conditional.js";

const kinds = [
  none,
  channelConcat,
  tokenConcat,
  interleaved,
  additive,
  crossAttention,
  unconditionalConditional,
  classToken,
  gatedCrossAttention,
  guidanceEnsemble,
  pyramid,
  transformer,
] as const;

/** One step: what joins streams into a new one. */
export const fusionStepSchema = z.discriminatedUnion(
  "type",
  kinds.map(({ schema }) => schema) as unknown as SchemasOf<typeof kinds>,
);

type SchemasOf<Kinds extends readonly FusionKind[]> = {
  -readonly [I in keyof Kinds]: Kinds[I]["schema"];
};

export type FusionStep = z.output<typeof fusionStepSchema>;

/** By type: "cross-attention" -> its entry. */
export const fusions: ReadonlyMap<FusionStep["type"], FusionKind> = new Map(
  kinds.map((kind): [FusionStep["type"], FusionKind] => [kind.schema.shape.type.value, kind]),
);
