/** @file Sinusoids of a timestep, computed outside the graph in double precision. */

import { Tensor } from "../tensor/index.js";

/**
 * Rows of cosines and sines (diffusers `get_timestep_embedding`).
 * @param values one number a row: a timestep, or a size for SDXL
 * @returns [values.length, dim]
 * @see Vaswani et al. 2017, section 3.5
 */
export function sinusoids(
  values: readonly number[],
  dim: number,
  { flipSinToCos, freqShift }: { flipSinToCos: boolean; freqShift: number },
): Tensor {
  const half = Math.floor(dim / 2);
  const data = new Float32Array(values.length * dim);
  values.forEach((value, row) => {
    for (let i = 0; i < half; i++) {
      const frequency = Math.exp((-Math.log(10000) * i) / (half - freqShift));
      const angle = value * frequency;
      data[row * dim + i + (flipSinToCos ? half : 0)] = Math.sin(angle);
      data[row * dim + i + (flipSinToCos ? 0 : half)] = Math.cos(angle);
    }
  });
  return Tensor.f32([values.length, dim], data);
}
