/** @file Which of a model's tensors are a language model's linear layers: those that are worth quantising. */

import { llamaLayout, readLanguageConfig } from "../../models/index.js";
import { failure } from "../../tensor/index.js";
import {
  type ModelFolder,
  type QuantizeModelOptions,
  type QuantizeReport,
  quantizeModel,
} from "../../weights/index.js";
import { readLlavaConfig } from "../llava-config.js";
import { llavaKey } from "../llava-keys.js";

export interface QuantizeLanguageOptions extends Omit<QuantizeModelOptions, "isLinear" | "head"> {
  /** Leaves the head, which scores the next token, as it is. */
  keepHead?: boolean;
}

const table = "model.embed_tokens.weight";
const head = "lm_head.weight";

/**
 * Writes a language model, or a LLaVA, with the linear layers of the language model in 4 or 8 bits. Tables of embeddings,
 * norms, projectors and vision encoders stay as they are; a tied model gets a head of its own.
 * @param out a folder that does not exist, or is empty
 * @throws DiffsightError CONFIG for other models; what `quantizeModel` raises
 */
export async function quantizeLanguageModel(
  folder: ModelFolder,
  out: string,
  { keepHead = false, ...options }: QuantizeLanguageOptions,
): Promise<QuantizeReport> {
  const json = await folder.json("config.json");
  const isLlava = String(json.model_type).startsWith("llava") || "mm_vision_tower" in json;
  if (String(json.mm_vision_tower).startsWith("./"))
    throw failure(
      "QUANTIZE",
      `${folder.source} has its vision encoder in ${json.mm_vision_tower}, which a new folder would not have: let mm_vision_tower of its config.json be a path from anywhere, or a hub's id.`,
    );
  const language = isLlava ? readLlavaConfig(json).language : json;
  const { tied } = readLanguageConfig(language);
  const linear = new Set(
    llamaLayout(language)
      .filter(({ key, role, dims }) => role === "weight" && dims.length === 2 && key !== table)
      .map(({ key }) => key)
      .filter((key) => !keepHead || key !== head),
  );
  const { entries } = await folder.checkpoint("");
  const own = (key: string) => {
    const { component, key: spelt } = llavaKey(key);
    return component === "language" ? spelt : undefined;
  };
  const tables = [...entries.keys()].filter((key) => own(key) === table);
  return quantizeModel(folder, out, {
    ...options,
    isLinear: (key) => linear.has(own(key) ?? ""),
    head: tied && !keepHead && tables[0] !== undefined ? { from: tables[0], to: head } : undefined,
  });
}
