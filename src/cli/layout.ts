/** @file Which tensors the network of a component has, by its class and config. */

import {
  clipLayout,
  clipTextLayout,
  clipVisionLayout,
  type Layout,
  llamaLayout,
  unetLayout,
  vaeLayout,
} from "../models/index.js";

/**
 * @param keys of the weights: they tell old spellings of a network from new ones
 * @returns undefined for classes whose tensors are not known beforehand
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 */
export function layoutOf(className: string, config: unknown, keys: readonly string[]): Layout | undefined {
  const holds = (ending: string): boolean => keys.some((key) => key.endsWith(ending));
  switch (className) {
    case "UNet2DConditionModel":
      return unetLayout(config);
    case "AutoencoderKL":
      return vaeLayout(config, { early: holds("mid_block.attentions.0.query.weight") });
    case "CLIPTextModel":
    case "CLIPTextModelWithProjection":
      return unprefixed(
        "text_model.",
        clipTextLayout(config, { early: holds("embeddings.position_ids") }),
        keys,
      );
    case "CLIPVisionModel":
    case "CLIPVisionModelWithProjection":
      return unprefixed(
        "vision_model.",
        clipVisionLayout(config, { early: holds("embeddings.position_ids") }),
        keys,
      );
    case "CLIPModel":
      return clipLayout(config, { early: holds("embeddings.position_ids") });
    case "LlamaForCausalLM":
    case "Qwen2ForCausalLM":
      return llamaLayout(config);
    default:
      return undefined;
  }
}

/** transformers 5 writes a tower's keys without the tower's name. */
function unprefixed(prefix: string, layout: Layout, keys: readonly string[]): Layout {
  if (keys.some((key) => key.startsWith(prefix))) return layout;
  return layout.map((tensor) => {
    return tensor.key.startsWith(prefix) ? { ...tensor, key: tensor.key.slice(prefix.length) } : tensor;
  });
}
