/** @file Autoencoders of either kind behind one face. */

import { z } from "zod";
import type { Value } from "../../graph/index.js";
import type { Scope } from "../../weights/index.js";
import { readConfig } from "../config.js";
import { readTinyVaeConfig, type TinyVaeConfig, tinyVaeDecode, tinyVaeEncode } from "../vae-tiny.js";
import { readVaeConfig, type VaeConfig } from "./config.js";
import { vaeDecode, vaeEncode } from "./vae.js";

export type AutoencoderConfig = VaeConfig | TinyVaeConfig;

const schema = z.looseObject({ _class_name: z.enum(["AutoencoderKL", "AutoencoderTiny"]) });

/**
 * Reads the config of the class that it names.
 * @throws DiffsightError CONFIG for other classes, and for fields that diffsight does not know how to run
 */
export function readAutoencoderConfig(json: unknown): AutoencoderConfig {
  const { _class_name } = readConfig(schema, json, "Autoencoder");
  return _class_name === "AutoencoderKL" ? readVaeConfig(json) : readTinyVaeConfig(json);
}

/** Latents [B, C, h, w], not scaled; the tiny autoencoder gives them without a variance. */
export interface EncodedImage {
  mean: Value;
  logvar?: Value;
}

/** pixels [B, 3, H, W] in [-1, 1] -> latents; the caller applies shiftFactor and scalingFactor. */
export function encodeImage(w: Scope, config: AutoencoderConfig, pixels: Value): EncodedImage {
  return config.kind === "kl" ? vaeEncode(w, config, pixels) : { mean: tinyVaeEncode(w, config, pixels) };
}

/** latent [B, C, h, w], scaling undone -> pixels [B, 3, h * factor, w * factor], about [-1, 1]. */
export function decodeLatent(w: Scope, config: AutoencoderConfig, latent: Value): Value {
  return config.kind === "kl" ? vaeDecode(w, config, latent) : tinyVaeDecode(w, config, latent);
}
