/** @file A pipeline whose U-Net has learned nothing: the control that tells form from knowledge. */

import { readFileSync } from "node:fs";
import { cp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { initialise, unetLayout } from "../../models/index.js";
import { encodeSafetensors, misuse, TorchGenerator } from "../../tensor/index.js";

/**
 * Copies a pipeline's folder, the U-Net's weights drawn anew as before training.
 * @param folder a local pipeline
 * @param into an empty folder
 * @returns `into`
 */
export async function withUntrainedUnet(folder: string, into: string, seed: number): Promise<string> {
  let config: unknown;
  try {
    config = JSON.parse(readFileSync(join(folder, "unet", "config.json"), "utf8"));
  } catch (cause) {
    throw misuse(
      "MODEL_MISSING",
      `${folder} is no local pipeline: unet/config.json cannot be read (${cause}).`,
    );
  }
  await cp(folder, into, { recursive: true, dereference: true });
  await rm(join(into, "unet"), { recursive: true });
  await cp(join(folder, "unet", "config.json"), join(into, "unet", "config.json"));
  const weights = initialise(unetLayout(config), new TorchGenerator(seed));
  await writeFile(join(into, "unet", "diffusion_pytorch_model.safetensors"), encodeSafetensors(weights));
  return into;
}
