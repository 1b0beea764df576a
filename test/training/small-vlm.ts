/** @file Small models and conversations in a folder, as a user would have them: what recipes for LLaVA's JSON name. */

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { initialise, llamaLayout } from "../../src/models/index.js";
import { encodeSafetensors, TorchGenerator } from "../../src/tensor/index.js";
import { goldenPath } from "../golden.js";

const pipeline = (file: string) => goldenPath("pipeline-llava", file);

/** A LLaMA with random weights and a tokenizer of 642 tokens. */
export function writeLanguageModel(folder: string, width = 32): string {
  mkdirSync(folder, { recursive: true });
  const { text_config: own } = JSON.parse(readFileSync(pipeline("config.json"), "utf8"));
  const json = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: own.vocab_size,
    hidden_size: width,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
    bos_token_id: 1,
    eos_token_id: 2,
  };
  writeFileSync(path.join(folder, "config.json"), JSON.stringify(json));
  const weights = initialise(llamaLayout(json), new TorchGenerator(5));
  const half = [...weights].map(([key, tensor]) => [key, tensor.to("f16")] as const);
  writeFileSync(path.join(folder, "model.safetensors"), encodeSafetensors(half));
  for (const file of ["tokenizer.json", "tokenizer_config.json"])
    copyFileSync(pipeline(file), path.join(folder, file));
  return folder;
}

const answered = (question: string, answer: string) => [
  { from: "human", value: question },
  { from: "gpt", value: answer },
];

/** LLaVA's JSON beside its pictures; two of its rows cannot be used. */
export function writeConversations(folder: string): string {
  const images = path.join(folder, "images");
  mkdirSync(images, { recursive: true });
  for (const name of ["q.png", "r.png"]) copyFileSync(pipeline(`images/${name}`), path.join(images, name));
  writeFileSync(path.join(images, "broken.png"), "no picture");
  const rows = [
    {
      id: "first",
      image: "q.png",
      conversations: [
        ...answered("<image>\nWhat is in the picture?", "a red square"),
        ...answered("How many?", "two"),
      ],
    },
    { id: "second", image: "r.png", conversations: answered("What is this?\n<image>", "a blue circle") },
    { id: "text", conversations: answered("What is two and two?", "four") },
    { id: "gone", image: "missing.png", conversations: answered("<image>", "nothing") },
    { id: "broken", image: "broken.png", conversations: answered("<image>", "noise") },
    { id: "third", image: "q.png", conversations: answered("<image>\nWhich colour is it?", "red") },
  ];
  const file = path.join(folder, "conversations.json");
  writeFileSync(file, JSON.stringify(rows));
  return file;
}

export const clip = goldenPath("clip-vision");
export const sd = goldenPath("pipeline-sd21");
