/** @file A network before training: every tensor drawn as diffusers and transformers draw it. */

import { count, Tensor, type TorchGenerator } from "../../tensor/index.js";
import type { Layout, PlannedTensor } from "./layout.js";

/**
 * The tensors of a layout, drawn one after another from one generator.
 * @param random moves on by what is drawn
 * @returns f32 tensors by key, in the layout's order
 */
export function initialise(layout: Layout, random: TorchGenerator): Map<string, Tensor> {
  return new Map(layout.map((planned) => [planned.key, startOf(planned, random)]));
}

function startOf({ dims, start }: PlannedTensor, generator: TorchGenerator): Tensor {
  switch (start.kind) {
    case "uniform": {
      const drawn = generator.rand(dims).toFloat32();
      return Tensor.f32(
        dims,
        drawn.map((value) => (2 * value - 1) * start.bound),
      );
    }
    case "normal": {
      const drawn = generator.randn(dims).toFloat32();
      return Tensor.f32(
        dims,
        drawn.map((value) => value * start.std),
      );
    }
    case "constant":
      return Tensor.f32(dims, new Float32Array(count(dims)).fill(start.value));
    case "identity": {
      const size = dims[0]!;
      const ones = new Float32Array(count(dims));
      for (let i = 0; i < size; i++) ones[i * size + i] = 1;
      return Tensor.f32(dims, ones);
    }
    case "positions":
      return Tensor.i64(
        dims,
        Array.from({ length: count(dims) }, (_, i) => i),
      );
  }
}
