/** @file Which language model a config means. */

import { z } from "zod";
import { only, readConfig, withDefault } from "./config.js";
import { type LlamaConfig, readLlamaConfig } from "./llama.js";
import { readMistralConfig } from "./mistral.js";
import { readQwen2Config } from "./qwen2.js";

const readers = { llama: readLlamaConfig, mistral: readMistralConfig, qwen2: readQwen2Config };
const names = Object.keys(readers) as [keyof typeof readers];

const schema = z.looseObject({
  model_type: withDefault(
    z.enum(names, { error: ({ input }) => `"${input}" is not supported (only ${names.join(", ")})` }),
    "llama",
  ),
  // Of others' weights the layouts are others.
  quantization_config: z.looseObject({ quant_method: only("diffsight") }).nullish(),
});

/**
 * The config of a language model by its `model_type`.
 * @throws DiffsightError CONFIG for other networks, and for fields that diffsight does not know how to run
 */
export function readLanguageConfig(json: unknown): LlamaConfig {
  return readers[readConfig(schema, json, "Language model").model_type](json);
}
