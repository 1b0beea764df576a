/** @file Gradients of normalisations and of softmax. */

import { count } from "../../tensor/index.js";
import { add, div, exp, mean, mul, reshape, scalar, sqrt, sub, sum } from "../ops.js";
import type { Value } from "../value.js";
import { type GradientRules, normalizedGradient, once, softmaxGradient, unbroadcast } from "./rule.js";

/** 1 / √(mean x² + eps) over the last axis. */
function inverseRoot(x: Value, eps: number): Value {
  return div(scalar(1), sqrt(add(mean(mul(x, x), -1), eps)));
}

/** Numbers brought to mean 0 and variance 1 over the last axis, and what they were multiplied by. */
function normalized(x: Value, eps: number): { normal: Value; inverse: Value } {
  const centred = sub(x, mean(x, -1));
  const inverse = inverseRoot(centred, eps);
  return { normal: mul(centred, inverse), inverse };
}

export const norms = {
  groupNorm: (value, dy) => {
    const [x, scale, bias] = value.inputs as [Value, Value, Value];
    const { groups, eps } = value.attributes;
    const [batch, channels, ...grid] = x.dims as [number, number, ...number[]];
    const inGroups = [batch, groups, (channels / groups) * count(grid)];
    const perChannel = [channels, ...grid.map(() => 1)];
    const parts = once(() => normalized(reshape(x, inGroups), eps));
    return [
      () => {
        const { normal, inverse } = parts();
        const scaled = reshape(mul(dy, reshape(scale, perChannel)), inGroups);
        return reshape(normalizedGradient(normal, inverse, scaled), x.dims);
      },
      () => reshape(unbroadcast(mul(dy, reshape(parts().normal, x.dims)), perChannel), scale.dims),
      () => reshape(unbroadcast(dy, perChannel), bias.dims),
    ];
  },
  layerNorm: (value, dy) => {
    const [x, scale, bias] = value.inputs as [Value, Value, Value];
    const parts = once(() => normalized(x, value.attributes.eps));
    return [
      () => normalizedGradient(parts().normal, parts().inverse, mul(dy, scale)),
      () => unbroadcast(mul(dy, parts().normal), scale.dims),
      () => unbroadcast(dy, bias.dims),
    ];
  },
  rmsNorm: (value, dy) => {
    const [x, scale] = value.inputs as [Value, Value];
    const inverse = once(() => inverseRoot(x, value.attributes.eps));
    const normal = once(() => mul(x, inverse()));
    return [
      () => {
        const scaled = mul(dy, scale);
        return mul(inverse(), sub(scaled, mul(normal(), mean(mul(scaled, normal()), -1))));
      },
      () => unbroadcast(mul(dy, normal()), scale.dims),
    ];
  },
  softmax: (value, dy) => [() => softmaxGradient(value, dy)],
  logSoftmax: (value, dy) => [() => sub(dy, mul(exp(value), sum(dy, -1)))],
} satisfies Partial<GradientRules>;
