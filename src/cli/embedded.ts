/** @file Where the package keeps its own model and pictures. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { misuse } from "../tensor/index.js";
import { modelPath } from "../weights/index.js";

export const embeddedFolder = modelPath("embedded:sd");

export const scenesFolder = fileURLToPath(new URL("../../assets/scenes", import.meta.url));

/** What diffusers computes with that model of one of the pictures. */
export const selfTestFile = fileURLToPath(new URL("../../assets/micro/self-test.json", import.meta.url));

/**
 * The package's own vision-language model.
 * @throws misuse MODEL_MISSING when this package has none
 */
export function embeddedSpeaker(): string {
  const folder = fileURLToPath(new URL("../../assets/micro/vlm", import.meta.url));
  if (existsSync(join(folder, "diffsight.json"))) return folder;
  throw misuse(
    "MODEL_MISSING",
    "This package has no vision-language model of its own: --model names one, a folder or an id such as llava-hf/llava-1.5-7b-hf.",
  );
}
