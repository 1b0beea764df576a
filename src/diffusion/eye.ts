/**
 * @file What every job needs: pictures as latents, texts as states, noise by seed, passes of the U-Net. Each piece of
 * work is remembered under what it depends on, so that the next question about a picture costs one pass.
 */

import type { CallOptions, Engine } from "../engine/index.js";
import type { Value } from "../graph/index.js";
import {
  decodeImage,
  type Fit,
  fitImage,
  type ImageInput,
  nativeSize,
  type RgbImage,
  vaePixels,
} from "../image/index.js";
import { type Dims, misuse, type Tensor, TorchGenerator } from "../tensor/index.js";
import type { EncodeOptions as TokenOptions } from "../text/index.js";
import type { Checkpoint } from "../weights/index.js";
import type { Autoencoder } from "./autoencoder.js";
import { fingerprint } from "./fingerprint.js";
import { Memory, type Tensors } from "./memory.js";
import { type PartlyHeard, Passes, type WrittenUnet, writeUnet } from "./passes.js";
import type { Pipeline } from "./pipeline.js";
import { addNoise } from "./schedulers/index.js";
import { crossAttentions, findTap, type Tap } from "./taps.js";
import type { TextEncoder, TextStates } from "./text.js";

/** How far a job is. */
export interface JobProgress {
  phase: "text" | "image" | "unet" | "decode";
  done: number;
  total: number;
}

/** What all jobs on an image take. */
export interface ImageOptions extends CallOptions {
  /** Draw k of the noise comes from `torch.Generator("cpu").manual_seed(seed + k)`. Default 0. */
  seed?: number;
  /** The posterior's mean (default) or a sample, whose noise is drawn first. */
  vae?: "mean" | "sample";
  /** Side, or [width, height], in pixels: multiples of the VAE's factor. Default: the checkpoint's own. */
  size?: number | readonly [width: number, height: number];
  /** How the picture is brought to the size. Default squash. */
  fit?: Fit | "native";
  onProgress?: ((progress: JobProgress) => void) | undefined;
}

/** A picture brought to size; its posterior is computed when something needs it. */
export interface Subject {
  /** Names the pixels: equal pictures of one size have equal keys. */
  key: string;
  image: RgbImage;
  /** [1, C, h, w] */
  latent: Dims;
}

/** One noisy latent: a subject, a timestep and a draw. */
export interface Look {
  subject: Subject;
  t: number;
  /** Seed of this draw. */
  seed: number;
  vae: "mean" | "sample";
}

/** Latents, parts without text and unconditional results of recent pictures. */
const memoryBytes = 512 * 2 ** 20;

export class Eye {
  readonly memory = new Memory(memoryBytes);
  readonly #passes = new Map<string, Passes>();
  #unet: Promise<Checkpoint> | undefined;
  #autoencoder: Promise<Autoencoder> | undefined;
  #text: Promise<TextEncoder> | undefined;
  #taps: { key: string; taps: Tap[] } | undefined;

  constructor(
    readonly pipeline: Pipeline,
    readonly engine: Engine,
  ) {}

  // Parts, opened on first use

  unet(): Promise<Checkpoint> {
    return (this.#unet ??= this.pipeline.unet());
  }

  autoencoder(): Promise<Autoencoder> {
    return (this.#autoencoder ??= this.pipeline.autoencoder(this.engine));
  }

  textEncoder(): Promise<TextEncoder> {
    return (this.#text ??= this.pipeline.textEncoder(this.engine));
  }

  /** With `low` memory only one part's weights are held at a time. */
  async leave(part: { release(): Promise<void> }): Promise<void> {
    if (this.engine.options.memory === "low") await part.release();
  }

  // Sizes

  /** Pixels a latent's cell, each way. */
  get factor(): number {
    return this.pipeline.vaeConfig.factor;
  }

  /** The size that the checkpoint was trained on, [width, height]. */
  get ownSize(): readonly [number, number] {
    const [height, width] = this.pipeline.unetConfig.sampleSize ?? [64, 64];
    return [width * this.factor, height * this.factor];
  }

  /** @throws DiffsightError SIZE that names the nearest multiple of the VAE's factor */
  size(wanted: ImageOptions["size"]): readonly [number, number] {
    const [width, height] = typeof wanted === "number" ? [wanted, wanted] : (wanted ?? this.ownSize);
    for (const side of [width, height]) {
      const nearest = Math.max(1, Math.round(side / this.factor)) * this.factor;
      if (!Number.isInteger(side) || side !== nearest || side > 16384) {
        const allowed = Number.isFinite(nearest)
          ? `the nearest is ${Math.min(nearest, 16384)}`
          : "at most 16384";
        throw misuse(
          "SIZE",
          `A size of ${side} px is not a multiple of ${this.factor} up to 16384: ${allowed}.`,
        );
      }
    }
    return [width, height];
  }

  latentDims([width, height]: readonly [number, number]): Dims {
    return [1, this.pipeline.unetConfig.inChannels, height / this.factor, width / this.factor];
  }

  // Taps

  /** Every tap for latents of this shape. */
  async taps(latent: Dims, textLayers?: readonly string[]): Promise<Tap[]> {
    const key = choiceKey(latent, textLayers);
    if (this.#taps?.key !== key) this.#taps = { key, taps: (await this.#written(latent, textLayers)).taps };
    return this.#taps.taps;
  }

  /** @param textLayers the cross-attentions that hear the text; by default all */
  async #written(latent: Dims, textLayers: readonly string[] | undefined): Promise<WrittenUnet> {
    const write = async (heard?: PartlyHeard) =>
      writeUnet(await this.unet(), this.pipeline.unetConfig, latent, (await this.textEncoder()).dims, heard);
    const whole = await write();
    if (!textLayers) return whole;
    const chosen = textLayers.length > 0 ? crossAttentions(whole.taps, textLayers, "map") : [];
    if (chosen.length === crossAttentions(whole.taps, undefined, "map").length) return whole;
    return write({ maps: new Set(chosen.map(({ id }) => id)), empty: await this.text("", {}) });
  }

  /**
   * A compiled choice of outputs.
   * @param key names the choice
   * @param choose name of each output -> value, given how to find a tap
   * @param textLayers as in `taps`
   */
  async passes(
    latent: Dims,
    key: string,
    choose: (find: (name: string) => Tap, taps: readonly Tap[]) => Record<string, Value>,
    textLayers?: readonly string[],
  ): Promise<{ key: string; passes: Passes }> {
    const whole = `${key}|${choiceKey(latent, textLayers)}`;
    let passes = this.#passes.get(whole);
    if (!passes) {
      const written = await this.#written(latent, textLayers);
      const outputs = choose((name) => findTap(written.taps, name), written.taps);
      // A new choice of outputs holds the same weights again: the old one makes room.
      for (const old of this.#passes.values()) await old.release();
      this.#passes.clear();
      passes = new Passes(this.engine, this.pipeline.unetConfig, this.factor, written, outputs);
      this.#passes.set(whole, passes);
    }
    return { key: whole, passes };
  }

  // Pictures

  async subject(input: ImageInput, { size, fit = "squash" }: ImageOptions): Promise<Subject> {
    const decoded = await decodeImage(input);
    if (fit === "native" && size !== undefined) {
      throw misuse(
        "FIT",
        "fit native takes the picture's own size: give no size, or fit squash, crop or pad.",
      );
    }
    const [width, height] = fit === "native" ? this.#native(decoded) : this.size(size);
    const image = fitImage(decoded, {
      width,
      height,
      fit: fit === "native" ? "squash" : fit,
      filter: "lanczos",
    });
    const key = `${width}x${height}:${await fingerprint(image.data)}`;
    return { key, image, latent: this.latentDims([width, height]) };
  }

  #native(image: RgbImage): readonly [number, number] {
    const { width, height } = nativeSize(image, this.factor);
    return [width, height];
  }

  posterior(subject: Subject, call: CallOptions): Promise<Tensors> {
    return this.memory.recall(`posterior|${subject.key}`, async () =>
      (await this.autoencoder()).encode(vaePixels(subject.image), call),
    );
  }

  /** The noisy latent that the U-Net sees: the posterior's draw first, then the noise, from one generator. */
  async noisy({ subject, t, seed, vae }: Look, call: CallOptions): Promise<Tensor> {
    const generator = new TorchGenerator(seed);
    const posterior = await this.posterior(subject, call);
    const latent = (await this.autoencoder()).latent(posterior, vae === "sample" ? generator : undefined);
    return addNoise(latent, generator.randn(latent.dims), t, this.pipeline.schedule);
  }

  // Texts

  async text(prompt: string, options: TokenOptions & CallOptions): Promise<TextStates> {
    return (await this.textEncoder()).encode(prompt, options);
  }

  // Passes

  /**
   * The outputs of one look under one text. The part without the text is shared by all texts, and the results for the
   * empty text are remembered.
   */
  async see(
    { key, passes }: { key: string; passes: Passes },
    look: Look,
    prompt: string,
    call: CallOptions & TokenOptions = {},
  ): Promise<Tensors> {
    const { subject, t, seed, vae } = look;
    const name = `${key}|${subject.key}|${t}|${seed}|${vae}`;
    const sample = await this.memory.recall(`noisy|${subject.key}|${t}|${seed}|${vae}`, async () => ({
      sample: await this.noisy(look, call),
    }));
    const free = () => this.memory.recall(`free|${name}`, () => passes.free(sample.sample!, t, call));
    const bound = async () =>
      passes.bound(
        await free(),
        passes.needsText ? await this.text(prompt, call) : (undefined as never),
        sample.sample!,
        t,
        call,
      );
    return prompt === "" || !passes.needsText ? this.memory.recall(`unconditional|${name}`, bound) : bound();
  }

  async release(): Promise<void> {
    this.memory.clear();
    await this.engine.dispose();
  }
}

/** Names a written network: the latent's shape, and who hears the text. */
function choiceKey(latent: Dims, textLayers: readonly string[] | undefined): string {
  return textLayers ? `${latent.join()}|${textLayers.join()}` : latent.join();
}

/** @throws DiffsightError TIMESTEP when one is no index into the schedule */
export function checkTimesteps(timesteps: readonly number[], trained: number): readonly number[] {
  if (timesteps.length === 0) throw misuse("TIMESTEP", "At least one timestep is needed.");
  for (const t of timesteps) {
    if (!Number.isInteger(t) || t < 0 || t >= trained) {
      throw misuse(
        "TIMESTEP",
        `Timestep ${t} is outside the schedule: whole numbers from 0 to ${trained - 1} are allowed.`,
      );
    }
  }
  return timesteps;
}

/** @throws DiffsightError SEED when it is no whole number that torch takes */
export function checkSeed(seed: number): number {
  if (!Number.isSafeInteger(seed)) throw misuse("SEED", `A seed is a whole number, not ${seed}.`);
  return seed;
}
