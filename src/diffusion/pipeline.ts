/** @file A pipeline folder in diffusers' layout: its parts are opened when something needs them. */

import type { Engine } from "../engine/index.js";
import {
  type AutoencoderConfig,
  readAutoencoderConfig,
  readClipTextConfig,
  readUnetConfig,
  type UnetConfig,
} from "../models/index.js";
import { failure } from "../tensor/index.js";
import { clipTokenizer, clipTokenizerFiles } from "../text/index.js";
import { type Checkpoint, type ModelFolder, type OpenOptions, openModel } from "../weights/index.js";
import { Autoencoder } from "./autoencoder.js";
import {
  type NoiseSchedule,
  noiseSchedule,
  parseSchedulerConfig,
  type SchedulerConfig,
} from "./schedulers/index.js";
import { TextEncoder, type TextTower } from "./text.js";

const supported = ["StableDiffusionPipeline", "StableDiffusionXLPipeline"] as const;

export class Pipeline {
  private constructor(
    readonly folder: ModelFolder,
    readonly className: (typeof supported)[number],
    readonly index: Record<string, unknown>,
    readonly unetConfig: UnetConfig,
    readonly vaeConfig: AutoencoderConfig,
    readonly schedulerConfig: SchedulerConfig,
    readonly schedule: NoiseSchedule,
  ) {}

  /**
   * Reads the configs of a pipeline.
   * @throws DiffsightError PIPELINE when the folder is no pipeline that diffsight runs
   */
  static async open(idOrPath: string, options: OpenOptions = {}): Promise<Pipeline> {
    const folder = await openModel(idOrPath, options);
    if (!(await folder.has("model_index.json"))) {
      throw failure(
        "PIPELINE",
        `${folder.source} has no model_index.json: give the folder of a whole pipeline.`,
      );
    }
    const index = (await folder.json("model_index.json")) as Record<string, unknown>;
    const className = String(index._class_name);
    if (!supported.includes(className as (typeof supported)[number])) {
      throw failure(
        "PIPELINE",
        `${folder.source} is a ${className}; supported are ${supported.join(" and ")}.`,
      );
    }
    const unetJson = (await folder.json("unet/config.json")) as Record<string, unknown>;
    const unetConfig = readUnetConfig(
      className === "StableDiffusionPipeline" ? { ...unetJson, ...trueSize(unetJson) } : unetJson,
    );
    // These pipelines scale latents and never shift them, whatever the VAE's shift_factor says.
    const vaeConfig = { ...readAutoencoderConfig(await folder.json("vae/config.json")), shiftFactor: 0 };
    if (unetConfig.additionEmbed && className !== "StableDiffusionXLPipeline") {
      throw failure(
        "PIPELINE",
        `${folder.source}: a U-Net with addition_embed_type ${unetConfig.additionEmbed} needs a StableDiffusionXLPipeline, not a ${className}.`,
      );
    }
    if (unetConfig.inChannels !== vaeConfig.latentChannels) {
      const { inChannels } = unetConfig;
      throw failure(
        "PIPELINE",
        `${folder.source}: the U-Net's in_channels ${inChannels} are not the VAE's latent_channels ${vaeConfig.latentChannels} (inpainting and depth models are not supported).`,
      );
    }
    const name = className as (typeof supported)[number];
    const written = parseSchedulerConfig(await folder.text("scheduler/scheduler_config.json"));
    const schedulerConfig = name === "StableDiffusionPipeline" ? modernized(written) : written;
    const schedule = noiseSchedule(schedulerConfig);
    return new Pipeline(folder, name, index, unetConfig, vaeConfig, schedulerConfig, schedule);
  }

  /** Whether pictures made without a negative prompt are led away from zeros, and not from the empty prompt (SDXL). */
  get zerosForEmptyPrompt(): boolean {
    return (
      this.className === "StableDiffusionXLPipeline" && this.index.force_zeros_for_empty_prompt !== false
    );
  }

  unet(): Promise<Checkpoint> {
    return this.folder.checkpoint("unet");
  }

  async autoencoder(engine: Engine): Promise<Autoencoder> {
    return new Autoencoder(engine, this.vaeConfig, await this.folder.checkpoint("vae"));
  }

  async textEncoder(engine: Engine): Promise<TextEncoder> {
    const suffixes = this.className === "StableDiffusionXLPipeline" ? ["", "_2"] : [""];
    return new TextEncoder(engine, await Promise.all(suffixes.map((suffix) => this.#tower(suffix))));
  }

  async #tower(suffix: string): Promise<TextTower> {
    const files: Partial<Record<(typeof clipTokenizerFiles)[number], string>> = {};
    for (const name of clipTokenizerFiles) {
      const path = `tokenizer${suffix}/${name}`;
      if (await this.folder.has(path)) files[name] = await this.folder.text(path);
    }
    const folder = `text_encoder${suffix}`;
    const config = readClipTextConfig(await this.folder.json(`${folder}/config.json`));
    const checkpoint = await this.folder.checkpoint(folder);
    if (suffix && !checkpoint.entries.has("text_projection.weight")) {
      throw failure("PIPELINE", `${checkpoint.name} has no text_projection.weight, which SDXL needs there.`);
    }
    return { tokenizer: clipTokenizer(files), config, checkpoint };
  }
}

/** Before diffusers 0.9 some U-Nets of 512 px said a sample_size of 32: there, less than 64 means 64. */
function trueSize({ _diffusers_version: version, sample_size: side }: Record<string, unknown>) {
  const old = /^0\.[0-8]\./.test(String(version));
  return old && typeof side === "number" && side < 64 ? { sample_size: 64 } : {};
}

/**
 * Scheduler configs of 2022 leave out or misstate two fields, which diffusers' `StableDiffusionPipeline` overrules in
 * all configs: the first step is at timestep 1, and no sampler clips, as latents are no pixels.
 */
function modernized(config: SchedulerConfig): SchedulerConfig {
  const clips = config.clip_sample ?? /^(DDIM|DDPM|LCM|TCD)/.test(String(config._class_name));
  return { ...config, steps_offset: 1, ...(clips === true && { clip_sample: false }) };
}
