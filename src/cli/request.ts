/** @file The part of a request that every look at an image has in common, as the library takes it. */

import type { EncodeOptions } from "../diffusion/index.js";
import type { ImageFlags } from "./flags.js";
import type { Shell } from "./shell.js";
import { truncationWarner } from "./truncation.js";

type Common = Pick<EncodeOptions, "seed" | "size" | "fit" | "vae" | "signal" | "onProgress" | "onTruncate">;

export function imageOptions({ seed, size, fit, vae }: ImageFlags, shell: Shell): Common {
  return {
    seed,
    ...(size !== undefined && { size }),
    fit,
    vae,
    signal: shell.signal,
    onProgress: shell.progress.job,
    onTruncate: truncationWarner(shell),
  };
}
