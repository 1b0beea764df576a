/** @file `DiffusionEncoder`: a frozen text-to-image model as a vision encoder that looks where a text points. */

import { embeddedModel } from "#host/diffusion";
import { type Device, Engine, type EngineOptions } from "../engine/index.js";
import { flops, type Value } from "../graph/index.js";
import type { ImageInput, RgbImage } from "../image/index.js";
import { count } from "../tensor/index.js";
import type { OpenOptions } from "../weights/index.js";
import { type AttendOptions, attendImage, type WordMaps } from "./attend.js";
import { type EncodeOptions, encodeImages, type Features } from "./encode.js";
import { Eye, type ImageOptions } from "./eye.js";
import { type Generated, type GenerateOptions, generateImage } from "./generate.js";
import { Pipeline } from "./pipeline.js";
import { type ScoreOptions, scoreImages, type TextScore } from "./score.js";
import type { Tap } from "./taps.js";

/** Where the model comes from and how it computes. */
export type EncoderOptions = OpenOptions & EngineOptions;

/** A tap as a person chooses one. */
export interface TapInfo {
  id: string;
  /** The paper's spelling. */
  short: string;
  kind: Tap["kind"];
  /** Shape for one image, without the batch. */
  dims: readonly number[];
  /** Bytes of its f32 numbers. */
  bytes: number;
  /** Share of the whole U-Net's floating-point operations that computing it takes, 0 to 1. */
  cost: number;
  classic: boolean;
  textFree: boolean;
}

export class DiffusionEncoder {
  readonly #eye: Eye;

  private constructor(eye: Eye) {
    this.#eye = eye;
  }

  /**
   * Opens a pipeline folder, or an id of the hub; without one the embedded model.
   * @throws DiffsightError when it is not found, is no pipeline that diffsight runs, or the device is not there
   */
  static async fromPretrained(
    idOrPath: string = embeddedModel(),
    options: EncoderOptions = {},
  ): Promise<DiffusionEncoder> {
    const pipeline = await Pipeline.open(idOrPath, options);
    return new DiffusionEncoder(new Eye(pipeline, await Engine.open(options)));
  }

  /** The id or path that it was opened with. */
  get source(): string {
    return this.#eye.pipeline.folder.source;
  }

  get device(): Device {
    return this.#eye.engine.device;
  }

  /** The size of picture that the checkpoint was trained on, [width, height] in pixels. */
  get size(): readonly [number, number] {
    return this.#eye.ownSize;
  }

  /** Every place whose activation can be taken, in the order of execution. */
  async taps({ size }: Pick<ImageOptions, "size"> = {}): Promise<TapInfo[]> {
    const taps = await this.#eye.taps(this.#eye.latentDims(this.#eye.size(size)));
    const whole = flops([taps.find(({ id }) => id === "unet-out")!.value]);
    return taps.map(({ id, short, kind, value, classic, textFree }) => {
      const dims = value.dims.slice(1);
      return {
        id,
        short,
        kind,
        dims,
        bytes: 4 * count(dims),
        cost: flops([value as Value]) / whole,
        classic,
        textFree,
      };
    });
  }

  /** The U-Net's features of an image, or of each of several. */
  encode(image: ImageInput, options?: EncodeOptions): Promise<Features>;
  encode(images: readonly ImageInput[], options?: EncodeOptions): Promise<Features[]>;
  async encode(
    images: ImageInput | readonly ImageInput[],
    options: EncodeOptions = {},
  ): Promise<Features | Features[]> {
    const several = Array.isArray(images);
    const list = several ? (images as readonly ImageInput[]) : [images as ImageInput];
    const results = await encodeImages(this.#eye, list, options, { model: this.source });
    return several ? results : results[0]!;
  }

  /** Where each word of a prompt looks in an image. */
  attend(image: ImageInput, options: AttendOptions): Promise<WordMaps> {
    return attendImage(this.#eye, image, options, { model: this.source });
  }

  /** How well each text describes the image, or each of several images; higher is better. */
  score(image: ImageInput, texts: readonly string[], options?: ScoreOptions): Promise<TextScore[]>;
  score(
    images: readonly ImageInput[],
    texts: readonly string[],
    options?: ScoreOptions,
  ): Promise<TextScore[][]>;
  async score(
    images: ImageInput | readonly ImageInput[],
    texts: readonly string[],
    options: ScoreOptions = {},
  ): Promise<TextScore[] | TextScore[][]> {
    const several = Array.isArray(images);
    const list = several ? (images as readonly ImageInput[]) : [images as ImageInput];
    const results = await scoreImages(this.#eye, list, texts, options);
    return several ? results : results[0]!;
  }

  /** A picture from a text. */
  async generate(prompt: string, options: GenerateOptions = {}): Promise<RgbImage> {
    return (await this.generateDetailed(prompt, options)).image;
  }

  /** A picture from a text, with its latent and the decoder's own numbers. */
  generateDetailed(prompt: string, options: GenerateOptions = {}): Promise<Generated> {
    return generateImage(this.#eye, prompt, options);
  }

  /** Frees the model's sessions and ends its threads. */
  async release(): Promise<void> {
    await this.#eye.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}
