/** @file Gradients of normalisations and of softmax. */

import { count } from "../../tensor/index.js";
import { add, div, exp, expand, matmul, mean, mul, reshape, scalar, sqrt, sub, sum } from "../ops.js";
import type { Value } from "../value.js";
import { affine, groupCentred, groupInverse, layerInverse, layerMean } from "./operations.js";
import { type GradientRules, once, onlyOnce, softmaxGradient, unbroadcast } from "./rule.js";

export const norms = {
  /**
   * With x' = x - mean and r = 1 / √(variance + eps) of the group of n numbers, and sums over the grid:
   * dx = r scale dy - r³ x' Σ scale Σ dy x' / n - r Σ scale Σ dy / n.
   */
  groupNorm: (value, dy) => {
    const [x, scale, bias] = value.inputs as [Value, Value, Value];
    const { groups } = value.attributes;
    const [batch, channels, ...grid] = x.dims as [number, number, ...number[]];
    const [rows, cells, perGroup] = [batch * channels, count(grid), channels / groups];
    const terms = perGroup * cells;
    const inGroups = [batch, groups, perGroup];

    const centred = once(() => groupCentred(value));
    const inverse = once(() => groupInverse(centred(), value.attributes));
    const [own, slopes] = [once(() => reshape(centred(), [rows, cells])), reshape(dy, [rows, cells])];
    const slopeSums = once(() => reshape(sum(slopes, -1), inGroups));
    const products = once(() => reshape(sum(mul(slopes, own()), -1), inGroups));
    const scales = once(() => reshape(scale, [1, groups, perGroup]));
    return [
      () => {
        const r = inverse();
        const weighted = (sums: Value) => mul(sum(mul(sums, scales()), -1), 1 / terms);
        const along = mul(mul(weighted(products()), r), mul(r, r));
        const level = mul(weighted(slopeSums()), r);
        const everyRow = (one: Value) => reshape(expand(one, inGroups), [rows]);
        const fall = affine(own(), everyRow(along), everyRow(level));
        return reshape(sub(mul(slopes, reshape(mul(scales(), r), [rows, 1])), fall), x.dims);
      },
      () => reshape(sum(mul(products(), inverse()), 0), scale.dims),
      () => reshape(sum(slopeSums(), 0), bias.dims),
    ];
  },

  /** With x' = x - mean and r = 1 / √(variance + eps): dx = r scale dy - r³ x' mean(scale dy x') - r mean(scale dy). */
  layerNorm: (value, dy) => {
    const [x, scale, bias] = value.inputs as [Value, Value, Value];
    const channels = x.dims.at(-1)!;
    const rows = count(x.dims) / channels;
    const inRows = (one: Value) => reshape(one, [rows, -1]);
    const r = once(() => inRows(layerInverse(value)));
    const centred = once(() => sub(inRows(x), inRows(layerMean(value))));
    const slopes = inRows(dy);
    const products = once(() => mul(slopes, centred()));
    const column = once(() => reshape(mul(scale, 1 / channels), [channels, 1]));
    return [
      () => {
        const along = mul(mul(matmul(products(), column()), r()), mul(r(), r()));
        const level = mul(mul(matmul(slopes, column()), r()), -1);
        const risen = affine(mul(slopes, scale), reshape(r(), [rows]), reshape(level, [rows]));
        return reshape(sub(risen, mul(centred(), along)), x.dims);
      },
      () => reshape(matmul(r(), products(), { transposeA: true }), scale.dims),
      () => unbroadcast(slopes, bias.dims),
    ];
  },

  rmsNorm: (value, dy) => {
    const [x, scale] = value.inputs as [Value, Value];
    const { eps } = value.attributes;
    const inverse = once(() => div(scalar(1), sqrt(add(mean(mul(x, x), -1), eps))));
    const normal = once(() => mul(x, inverse()));
    return [
      () => {
        const scaled = mul(dy, scale);
        return mul(inverse(), sub(scaled, mul(normal(), mean(mul(scaled, normal()), -1))));
      },
      () => unbroadcast(mul(dy, normal()), scale.dims),
    ];
  },
  groupCentred: onlyOnce,
  groupInverse: onlyOnce,
  layerMean: onlyOnce,
  layerInverse: onlyOnce,
  affine: onlyOnce,

  softmax: (value, dy) => [() => softmaxGradient(value, dy)],
  logSoftmax: (value, dy) => [() => sub(dy, mul(exp(value), sum(dy, -1)))],
} satisfies Partial<GradientRules>;
