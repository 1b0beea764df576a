/** @file Gradients of what only moves numbers: they move back, and where one went to many places they are added. */

import { gather, pad, reshape, scatterAdd, slice, transpose } from "../ops.js";
import type { Value } from "../value.js";
import { upsampleNearestGradient } from "./operations.js";
import { type GradientRules, onlyOnce, unbroadcast } from "./rule.js";

export const movement = {
  reshape: ({ inputs: [x] }, dy) => [() => reshape(dy, x!.dims)],
  transpose: ({ attributes: { permutation } }, dy) => [
    () =>
      transpose(
        dy,
        permutation.map((_, axis) => permutation.indexOf(axis)),
      ),
  ],
  concat: ({ inputs, attributes: { axis } }, dy) => {
    let start = 0;
    return inputs.map(({ dims }) => {
      const from = start;
      start += dims[axis]!;
      return () => slice(dy, axis, from, from + dims[axis]!);
    });
  },
  slice: ({ inputs: [x], attributes: { axis, start, end } }, dy) => {
    const around = (cells: number) => x!.dims.map((_, i) => (i === axis ? cells : 0));
    return [() => pad(dy, around(start), around(x!.dims[axis]! - end))];
  },
  pad: ({ inputs: [x], attributes: { before } }, dy) => [
    () =>
      x!.dims.reduce<Value>((part, size, axis) => slice(part, axis, before[axis]!, before[axis]! + size), dy),
  ],
  expand: ({ inputs: [x] }, dy) => [() => unbroadcast(dy, x!.dims)],
  gather: ({ inputs }, dy) => [() => scatterAdd(inputs[1]!, dy, inputs[0]!.dims[0]!)],
  scatterAdd: ({ inputs: [indices] }, dy) => [undefined, () => gather(dy, indices!)],
  upsampleNearest: ({ inputs: [x] }, dy) => [() => upsampleNearestGradient(dy, x!.dims)],
  upsampleNearestGradient: onlyOnce,
} satisfies Partial<GradientRules>;
