/** @file The tensors of an autoencoder (diffusers `AutoencoderKL`). */

import { readVaeConfig, type VaeConfig } from "../vae/config.js";
import { type Layout, LayoutBuilder } from "./layout.js";

const attentionNames = {
  current: ["to_q", "to_k", "to_v", "to_out.0"],
  // Files from before diffusers 0.12, as those of Stable Diffusion are.
  early: ["query", "key", "value", "proj_attn"],
};

/**
 * @param json its config.json
 * @param early names the middle's attention as files from before diffusers 0.12 do
 * @throws DiffsightError CONFIG for fields that diffsight does not know how to run
 */
export function vaeLayout(json: unknown, { early = false }: { early?: boolean } = {}): Layout {
  const config = readVaeConfig(json);
  const layers = new LayoutBuilder();
  const { latentChannels } = config;
  const widths = config.channels;
  const deepest = widths.at(-1)!;
  const middle = (key: string) => {
    layers.resnet(`${key}.resnets.0`, { from: deepest, to: deepest });
    if (config.midAttention) {
      layers.norm(`${key}.attentions.0.group_norm`, deepest);
      for (const name of attentionNames[early ? "early" : "current"]) {
        layers.linear(`${key}.attentions.0.${name}`, deepest, deepest);
      }
    }
    layers.resnet(`${key}.resnets.1`, { from: deepest, to: deepest });
  };
  const end = (key: string, inner: number, outer: number) => {
    layers.norm(`${key}.conv_norm_out`, inner);
    layers.conv(`${key}.conv_out`, inner, outer);
  };

  layers.conv("encoder.conv_in", config.inChannels, widths[0]!);
  levels(layers, "encoder.down_blocks", widths[0]!, widths, config.layersPerBlock, "downsamplers");
  middle("encoder.mid_block");
  end("encoder", deepest, 2 * latentChannels);
  if (config.quantConv) layers.conv("quant_conv", 2 * latentChannels, 2 * latentChannels, 1);

  if (config.postQuantConv) layers.conv("post_quant_conv", latentChannels, latentChannels, 1);
  layers.conv("decoder.conv_in", latentChannels, deepest);
  middle("decoder.mid_block");
  levels(
    layers,
    "decoder.up_blocks",
    deepest,
    [...widths].reverse(),
    config.layersPerBlock + 1,
    "upsamplers",
  );
  end("decoder", widths[0]!, config.outChannels);
  return layers.build();
}

/** Residual blocks at each width, with a sampler after all but the last. */
function levels(
  layers: LayoutBuilder,
  key: string,
  from: number,
  widths: VaeConfig["channels"],
  blocks: number,
  sampler: "downsamplers" | "upsamplers",
): void {
  let channels = from;
  widths.forEach((width, i) => {
    for (let j = 0; j < blocks; j++) {
      layers.resnet(`${key}.${i}.resnets.${j}`, { from: channels, to: width });
      channels = width;
    }
    if (i < widths.length - 1) layers.conv(`${key}.${i}.${sampler}.0.conv`, width, width);
  });
}
