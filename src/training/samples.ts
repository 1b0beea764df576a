/** @file Drawings of an exported pipeline, for its card. */

import { DiffusionEncoder } from "../diffusion/index.js";
import { contactSheet, encodePng, enlarged } from "../image/index.js";

export const samplesFile = "samples.png";

export const samplesSettings = { steps: 50, cfg: 4 } as const;

/** Pixels a side of a drawing on the sheet, at least. */
const shownSide = 128;

/** A sheet of drawings, the prompt under each; the noise of number i is seeded i. @returns a PNG */
export async function drawSamples(folder: string, prompts: readonly string[]): Promise<Uint8Array> {
  const passes = 2 * samplesSettings.steps * prompts.length;
  await using eye = await DiffusionEncoder.fromPretrained(folder, { device: "cpu", passes });
  const tiles = [];
  for (const [seed, prompt] of prompts.entries()) {
    const image = await eye.generate(prompt, { ...samplesSettings, seed });
    tiles.push({ image: enlarged(image, shownSide), caption: prompt });
  }
  return encodePng(contactSheet(tiles, { columns: 8 }));
}
