/** @file Rotary positions: the angles of each position, with the scalings of LLaMA's checkpoints. */

import { z } from "zod";
import { failure, Tensor } from "../tensor/index.js";
import { only, readConfig, size, withDefault } from "./config.js";

const factor = z.number().positive();
const common = { partial_rotary_factor: only(1, null) };

/** transformers' `rope_parameters`; before version 5 `rope_scaling`, where the type was once called `type`. */
const scalingSchema = z.discriminatedUnion("rope_type", [
  z.looseObject({ rope_type: z.literal("default"), ...common }),
  z.looseObject({ rope_type: z.literal("linear"), factor, ...common }),
  z.looseObject({ rope_type: z.literal("dynamic"), factor, ...common }),
  z.looseObject({
    rope_type: z.literal("llama3"),
    factor,
    low_freq_factor: factor,
    high_freq_factor: factor,
    original_max_position_embeddings: size,
    ...common,
  }),
  z.looseObject({
    rope_type: z.literal("longrope"),
    factor: factor.nullish(),
    short_factor: z.array(factor),
    long_factor: z.array(factor),
    original_max_position_embeddings: size,
    attention_factor: z.number().positive().nullish(),
    ...common,
  }),
  z.looseObject({
    rope_type: z.literal("yarn"),
    factor: factor.nullish(),
    original_max_position_embeddings: size,
    attention_factor: z.number().positive().nullish(),
    mscale: z.number().nullish(),
    mscale_all_dim: z.number().nullish(),
    beta_fast: withDefault(factor, 32),
    beta_slow: withDefault(factor, 1),
    /** null is false, as in transformers. */
    truncate: z.boolean().nullable().default(true),
    ...common,
  }),
]);

const theta = z.number().positive().nullish();
const parameters = z.looseObject({ rope_theta: theta }).nullish();

const schema = z.looseObject({
  rope_theta: theta,
  original_max_position_embeddings: size.nullish(),
  rope_scaling: parameters,
  rope_parameters: parameters,
});

export interface RopeConfig {
  /** Numbers of one head that are turned, in pairs. */
  headDim: number;
  theta: number;
  /** The longest sequence that the network was trained on. */
  maxPositions: number;
  scaling: z.infer<typeof scalingSchema>;
}

/**
 * @param json the network's config.json
 * @throws DiffsightError CONFIG for scalings that diffsight does not know
 * @see https://huggingface.co/docs/transformers/internal/rope_utils
 */
export function readRope(
  json: unknown,
  { headDim, maxPositions }: Pick<RopeConfig, "headDim" | "maxPositions">,
): RopeConfig {
  const { rope_theta, rope_scaling, rope_parameters, original_max_position_embeddings } = readConfig(
    schema,
    json ?? {},
    "Rotary position",
  );
  // As in transformers the older field, where it says something, is taken alone.
  const given = Object.keys(rope_scaling ?? {}).length > 0 ? rope_scaling! : (rope_parameters ?? {});
  const rope_type = given.rope_type ?? given.type ?? "default";
  // The config's own field comes before that of its scaling, as in transformers 5.
  const trained = original_max_position_embeddings ?? given.original_max_position_embeddings ?? maxPositions;
  const scaling = readConfig(
    scalingSchema,
    { ...given, rope_type, original_max_position_embeddings: trained },
    "Rotary position",
  );
  if (headDim % 2) throw failure("CONFIG", `Rotary position config: head_dim ${headDim} is odd.`);
  if (scaling.rope_type === "longrope") {
    for (const field of ["short_factor", "long_factor"] as const) {
      const { length } = scaling[field];
      if (length === headDim / 2) continue;
      const wanted = `${headDim / 2}, one of each pair of head_dim ${headDim}`;
      throw failure("CONFIG", `Rotary position config: ${field} has ${length} numbers, not ${wanted}.`);
    }
  }
  return { headDim, theta: given.rope_theta ?? rope_theta ?? 10000, maxPositions, scaling };
}

/** Tokens of the longest sequence whose positions mean something to the network. */
export function longestSequence({ maxPositions, scaling }: RopeConfig): number {
  switch (scaling.rope_type) {
    case "linear":
      return maxPositions * scaling.factor;
    case "dynamic":
      return Number.POSITIVE_INFINITY;
    case "yarn":
    case "longrope":
      // Some configs tell the length before the scaling, others that after it.
      return Math.max(maxPositions, scaling.original_max_position_embeddings * (scaling.factor ?? 1));
    default:
      return maxPositions;
  }
}

/** Whether tokens of a text of such a length are turned otherwise than those of a shorter one. */
export function turnsByLength({ maxPositions, scaling }: RopeConfig, length: number): boolean {
  if (scaling.rope_type === "dynamic") return length > maxPositions;
  return scaling.rope_type === "longrope" && length > scaling.original_max_position_embeddings;
}

/** Cosines and sines of each position's angles, [T, head_dim / 2] each. */
export interface RotaryTables {
  cos: Tensor;
  sin: Tensor;
}

/**
 * @param positions of the tokens, from 0
 * @param lengths of each token the tokens of the text that is read with it: what `dynamic` and `longrope` go by. Default:
 * up to the last of the positions
 */
export function rotaryTables(
  config: RopeConfig,
  positions: readonly number[],
  lengths?: readonly number[],
): RotaryTables {
  const pairs = config.headDim / 2;
  const cos = new Float32Array(positions.length * pairs);
  const sin = new Float32Array(positions.length * pairs);
  const longest = positions.reduce((most, one) => Math.max(most, one + 1), 1);
  const goesByLength = turnsByLength(config, Number.POSITIVE_INFINITY);
  const turning = new Map<number, ReturnType<typeof angularFrequencies>>();
  for (const [row, position] of positions.entries()) {
    const length = (goesByLength && lengths?.[row]) || longest;
    const known = turning.get(length) ?? angularFrequencies(config, length);
    turning.set(length, known);
    const { frequencies, strength } = known;
    for (let pair = 0; pair < pairs; pair++) {
      // The angle in f32, as transformers has it.
      const angle = Math.fround(position * frequencies[pair]!);
      cos[row * pairs + pair] = Math.cos(angle) * strength;
      sin[row * pairs + pair] = Math.sin(angle) * strength;
    }
  }
  const dims = [positions.length, pairs];
  return { cos: Tensor.f32(dims, cos), sin: Tensor.f32(dims, sin) };
}

/** Radians a position of each pair, and what cosines and sines are multiplied by. */
function angularFrequencies(
  { headDim, theta, maxPositions, scaling }: RopeConfig,
  length: number,
): { frequencies: Float32Array; strength: number } {
  const pairs = headDim / 2;
  const plain = (base: number, f = (frequency: number, _pair: number) => frequency) =>
    Float32Array.from({ length: pairs }, (_, i) => f(base ** ((-2 * i) / headDim), i));
  const { rope_type: type } = scaling;

  if (type === "linear") return { frequencies: plain(theta, (one) => one / scaling.factor), strength: 1 };

  if (type === "dynamic") {
    const longest = Math.max(length, maxPositions);
    const growth = (scaling.factor * longest) / maxPositions - (scaling.factor - 1);
    return { frequencies: plain(theta * growth ** (headDim / (headDim - 2))), strength: 1 };
  }

  if (type === "llama3") {
    const {
      original_max_position_embeddings: trained,
      low_freq_factor: low,
      high_freq_factor: high,
    } = scaling;
    const frequencies = plain(theta, (one) => {
      const turns = (trained * one) / (2 * Math.PI);
      const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
      return ((1 - smooth) / scaling.factor + smooth) * one;
    });
    return { frequencies, strength: 1 };
  }

  if (type === "longrope") {
    const { original_max_position_embeddings: trained, attention_factor } = scaling;
    const stretches = length > trained ? scaling.long_factor : scaling.short_factor;
    const growth = scaling.factor ?? maxPositions / trained;
    const own = growth <= 1 ? 1 : Math.sqrt(1 + Math.log(growth) / Math.log(trained));
    const frequencies = plain(theta, (one, pair) => one / stretches[pair]!);
    return { frequencies, strength: attention_factor ?? own };
  }

  if (type === "yarn") {
    const { original_max_position_embeddings: trained } = scaling;
    const growth = scaling.factor ?? maxPositions / trained;
    /** The pair that turns so often over the trained length. */
    const pairOf = (turns: number) =>
      (headDim * Math.log(trained / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
    const [first, last] = [pairOf(scaling.beta_fast), pairOf(scaling.beta_slow)];
    const [from, to] = scaling.truncate ? [Math.floor(first), Math.ceil(last)] : [first, last];
    const [start, end] = [Math.max(from, 0), Math.min(to, headDim - 1)];
    const frequencies = plain(theta, (one, pair) => {
      const stretched = Math.min(1, Math.max(0, (pair - start) / Math.max(end - start, 0.001)));
      return (1 - stretched) * one + (stretched * one) / growth;
    });
    const { attention_factor, mscale, mscale_all_dim } = scaling;
    const scale = (by = 1) => (growth <= 1 ? 1 : 0.1 * by * Math.log(growth) + 1);
    const own = mscale && mscale_all_dim ? scale(mscale) / scale(mscale_all_dim) : scale();
    return { frequencies, strength: attention_factor ?? own };
  }

  return { frequencies: plain(theta), strength: 1 };
}
