/**
 * @file The tensors of a LLaVA by what they belong to, whichever of the four spellings the file has: the original's,
 * that of transformers before and since 4.52, and that of a projector alone.
 */

import type { Checkpoint, WeightEntry } from "../weights/index.js";

export type LlavaComponent = "vision" | "projector" | "language";

/**
 * Which component a tensor belongs to, and its key there: the vision encoder's own, `mm_projector...` for the
 * projector, and those of a language model by itself (`model.layers...`, `lm_head.weight`).
 */
export function llavaKey(key: string): { component: LlavaComponent; key: string } {
  for (const [pattern, component, place] of spellings) {
    if (pattern.test(key)) return { component, key: key.replace(pattern, place) };
  }
  return { component: "language", key };
}

/** What comes before a component's own keys, and what is there instead. */
const spellings: readonly (readonly [RegExp, LlavaComponent, string])[] = [
  // The original names its wrapper too: model.vision_tower.vision_tower.
  [/^(model\.)?vision_tower\.(vision_tower\.)?/, "vision", ""],
  // The loader of the original cuts at the name, whatever adapters have put before it.
  [/^(.*\.)?mm_projector\./, "projector", "mm_projector."],
  [/^(model\.)?multi_modal_projector\.linear_1\./, "projector", "mm_projector.0."],
  [/^(model\.)?multi_modal_projector\.linear_2\./, "projector", "mm_projector.2."],
  [/^language_model\.lm_head\./, "language", "lm_head."],
  [/^(language_model\.model|model\.language_model)\./, "language", "model."],
];

/** One component of a LLaVA as a checkpoint of its own; undefined when it holds no tensor of it. */
export function llavaCheckpoint(whole: Checkpoint, component: LlavaComponent): Checkpoint | undefined {
  const entries = new Map<string, WeightEntry>();
  const spelt = new Map<string, string>();
  for (const [key, entry] of whole.entries) {
    const own = llavaKey(key);
    if (own.component !== component) continue;
    entries.set(own.key, entry);
    spelt.set(own.key, key);
  }
  if (entries.size === 0) return undefined;
  return {
    ...whole,
    name: `${whole.name} (${component})`,
    entries,
    read: (key) => whole.read(spelt.get(key) ?? key),
  };
}
