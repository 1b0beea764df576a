/** @file Telling that a text was too long, once a text. */

import type { EncodeOptions } from "../diffusion/index.js";
import { beginningOf } from "../tensor/index.js";
import type { Shell } from "./shell.js";

type OnTruncate = NonNullable<EncodeOptions["onTruncate"]>;

export function truncationWarner(shell: Shell): OnTruncate {
  const told = new Set<string>();
  return ({ tokens, limit, cut }) => {
    if (told.has(cut)) return;
    told.add(cut);
    shell.warn(
      `the text has ${tokens} tokens, and the model reads ${limit} (start and end included): cut before "${beginningOf(cut)}".`,
    );
  };
}
