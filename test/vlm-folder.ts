/** @file Writes small vision-language models with `diffsight.json`, of networks that have learned nothing. */

import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { clipLayout, initialise, llamaLayout } from "../src/models/index.js";
import { encodeSafetensors, TorchGenerator } from "../src/tensor/index.js";
import { parseDescription, planSight, writeDescription } from "../src/vlm/index.js";
import { goldenPath } from "./golden.js";

/** Whose tokenizer and sizes the language model has. */
const llava = goldenPath("pipeline-llava");

const tower = { hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 2 };
const clip = {
  model_type: "clip",
  projection_dim: 8,
  text_config: { ...tower, vocab_size: 20, max_position_embeddings: 8 },
  vision_config: { ...tower, image_size: 64, patch_size: 8 },
};

export interface VlmFolderOptions {
  /** Joins "clip" and "sd"; without it there is one encoder, "clip". */
  fusion?: object | undefined;
  /** Of the encoder "sd", beside its defaults. */
  sd?: object;
  /** Only "sd", the embedded diffusion model. */
  alone?: "sd";
}

/** @returns the folder */
export async function writeVlmFolder(
  at: string,
  { fusion, sd, alone }: VlmFolderOptions = {},
): Promise<string> {
  const write = async (file: string, content: string | Uint8Array) => {
    await mkdir(path.dirname(path.join(at, file)), { recursive: true });
    await writeFile(path.join(at, file), content);
  };
  const preprocessor = { size: { shortest_edge: 64 }, crop_size: { height: 64, width: 64 } };
  await write("clip/config.json", JSON.stringify(clip));
  await write("clip/preprocessor_config.json", JSON.stringify(preprocessor));
  const random = new TorchGenerator(0);
  await write("clip/model.safetensors", encodeSafetensors(initialise(clipLayout(clip), random)));

  const own = JSON.parse(readFileSync(path.join(llava, "config.json"), "utf8")).text_config;
  await write("language/config.json", JSON.stringify(own));
  await write("language/model.safetensors", encodeSafetensors(initialise(llamaLayout(own), random)));
  for (const file of ["tokenizer.json", "tokenizer_config.json"])
    await write(`language/${file}`, readFileSync(path.join(llava, file)));

  const diffusion = {
    kind: "diffusion",
    model: fileURLToPath(new URL("../assets/micro/sd", import.meta.url)),
    fit: "squash",
    ...sd,
  };
  const description = parseDescription({
    encoders: {
      ...(!alone && { clip: { kind: "vision", model: "./clip", fit: "squash" } }),
      ...((fusion || alone) && { sd: diffusion }),
    },
    ...(fusion && { fusion }),
    projector: "linear",
    language: { model: "./language" },
  });
  await writeDescription(at, description);
  const shapes = {
    ...(!alone && { clip: { tokens: 64, width: 16, grid: [8, 8] as const } }),
    ...((fusion || alone) && { sd: { tokens: 64, width: 64, grid: [8, 8] as const } }),
  };
  const { layout } = planSight(description, shapes, own.hidden_size);
  // The same projector whatever the fusion.
  const isProjector = ({ key }: { key: string }) => key.startsWith("model.");
  const parts = [layout.filter(isProjector), layout.filter((one) => !isProjector(one))];
  const weights = new Map(parts.flatMap((part, i) => [...initialise(part, new TorchGenerator(1 + i))]));
  await write("model.safetensors", encodeSafetensors(weights));
  return at;
}
