/** @file Gradients of what language models are made of, where training needs them. */

import { misuse } from "../../tensor/index.js";
import { rotary } from "../language.js";
import { mul } from "../ops.js";
import type { OpName, Value } from "../value.js";
import type { GradientRule, GradientRules } from "./rule.js";

/** For what is made of trained numbers but not trained itself. */
const refused =
  <K extends OpName>(reason: string): GradientRule<K> =>
  ({ op }) => {
    throw misuse("GRADIENT", `There is no gradient of ${op}: ${reason}`);
  };

function positions(): never {
  throw misuse("GRADIENT", "There is no gradient of rotary's cos and sin: positions are not trained.");
}

export const language = {
  // A rotation's transpose turns back.
  rotary: ({ inputs, attributes }, dy) => {
    const [, cos, sin] = inputs as [Value, Value, Value];
    return [() => rotary(dy, cos, mul(sin, -1), attributes), positions, positions];
  },
  cachedAttention: refused("what is remembered is from runs before; train on whole sequences."),
  quantizedLinear: refused("no gradient passes whole numbers; train the weights that they were made from."),
} satisfies Partial<GradientRules>;
