/** @file Opening the model that the flags name. */

import type { DiffusionEncoder } from "../diffusion/index.js";
import { misuse } from "../tensor/index.js";
import type { OpenOptions } from "../weights/index.js";
import type { ModelFlags } from "./flags.js";
import type { Shell } from "./shell.js";

/** Where the files come from, as the library takes it. */
export function openOptions(flags: ModelFlags, shell: Shell): OpenOptions {
  return {
    revision: flags.revision,
    variant: flags.variant,
    cacheDir: flags.cacheDir,
    // Left out, HF_HUB_OFFLINE decides.
    localFilesOnly: flags.localFilesOnly,
    signal: shell.signal,
    onProgress: shell.progress.model,
  };
}

/**
 * @param passes how many passes of the U-Net the command will make: steers `--memory auto`
 * @throws DTYPE, and what opening raises
 */
export async function openEncoder(
  flags: ModelFlags,
  shell: Shell,
  passes: number,
): Promise<DiffusionEncoder> {
  if (flags.dtype === "f16" || flags.dtype === "bf16") {
    throw misuse(
      "DTYPE",
      `--dtype ${flags.dtype} is not there yet: computing is in f32 (weights stored as f16 or bf16 are read as they are). Use auto or f32.`,
    );
  }
  const { DiffusionEncoder } = await import("../diffusion/index.js");
  if (flags.model === undefined)
    shell.note("No --model: the embedded one, which knows a toy world at 64 px.");
  return DiffusionEncoder.fromPretrained(flags.model, {
    ...openOptions(flags, shell),
    device: flags.device,
    memory: flags.memory,
    passes,
    ...(flags.threads !== undefined && { threads: flags.threads }),
  });
}
