/** @file Pictures to latents and back, and the noise that is put on a latent. */

import type { CallOptions, Engine, Program } from "../engine/index.js";
import { input } from "../graph/index.js";
import { type AutoencoderConfig, decodeLatent, encodeImage } from "../models/index.js";
import { Tensor, type TorchGenerator } from "../tensor/index.js";
import { type Checkpoint, Scope } from "../weights/index.js";
import type { Tensors } from "./memory.js";

export class Autoencoder {
  readonly #encoders = new Map<string, Program>();
  readonly #decoders = new Map<string, Program>();

  constructor(
    readonly engine: Engine,
    readonly config: AutoencoderConfig,
    readonly checkpoint: Checkpoint,
  ) {}

  /** pixels [1, 3, H, W] in [-1, 1] -> mean and logvar of the posterior, not scaled (a tiny VAE has a mean only) */
  async encode(pixels: Tensor, call: CallOptions = {}): Promise<Tensors> {
    const key = pixels.dims.join();
    const program =
      this.#encoders.get(key) ??
      this.engine.compile({
        ...encodeImage(Scope.of(this.checkpoint), this.config, input("pixels", pixels.dims)),
      });
    this.#encoders.set(key, program);
    return program.run({ pixels }, call);
  }

  /** latent [1, C, h, w] as the U-Net knows it -> pixels [1, 3, H, W] around [-1, 1] */
  async decode(latent: Tensor, call: CallOptions = {}): Promise<Tensor> {
    const { scalingFactor, shiftFactor } = this.config;
    const key = latent.dims.join();
    const program =
      this.#decoders.get(key) ??
      this.engine.compile({
        pixels: decodeLatent(Scope.of(this.checkpoint), this.config, input("latent", latent.dims)),
      });
    this.#decoders.set(key, program);
    const unscaled = Tensor.f32(
      latent.dims,
      latent.toFloat32().map((value) => Math.fround(value / scalingFactor) + shiftFactor),
    );
    return (await program.run({ latent: unscaled }, call)).pixels!;
  }

  /**
   * The latent as the U-Net knows it: the posterior's mean, or a sample drawn with the generator.
   * @param posterior what `encode` gave
   */
  latent({ mean, logvar }: Tensors, generator?: TorchGenerator): Tensor {
    const { scalingFactor, shiftFactor } = this.config;
    const noise = logvar && generator ? generator.randn(mean!.dims).toFloat32() : undefined;
    const spread = logvar?.toFloat32();
    const data = mean!.toFloat32().map((value, i) => {
      const drawn = noise
        ? Math.fround(value + Math.fround(Math.fround(Math.exp(0.5 * spread![i]!)) * noise[i]!))
        : value;
      return Math.fround(drawn - shiftFactor) * scalingFactor;
    });
    return Tensor.f32(mean!.dims, data);
  }

  async release(): Promise<void> {
    for (const program of [...this.#encoders.values(), ...this.#decoders.values()]) await program.release();
  }
}
