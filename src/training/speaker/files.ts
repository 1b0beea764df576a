/** @file What a trained model's folder holds: diffsight.json, what sees, and the language model where it was changed. */

import type { Tensor } from "../../tensor/index.js";
import { chatTemplateFiles, tokenizerFiles } from "../../text/index.js";
import { descriptionFile, parseDescription } from "../../vlm/index.js";
import type { Checkpoint } from "../../weights/index.js";
import type { Component, ExportRequest, Weights } from "../task.js";
import { below, jsonFile, weightsFile } from "../tasks/exported.js";
import { adapterConfig, isAdapter, Merging, peftKey } from "./adapter.js";
import type { SpeakerTraining } from "./config.js";
import { fixedIds, languageJson, openLanguage, tokenizerFilesOf } from "./language.js";

type Files = Component["files"];

/** The language model's folder where there is nothing that sees; else around it what sees. */
export async function filesOf(request: ExportRequest<SpeakerTraining>): Promise<Files> {
  const { config, weights, dtype } = request;
  const language = config.network ? ownLanguage(request) : await changedLanguage(request);
  if (config.sight === undefined) return language;
  const isChanged = Object.keys(language).length > 0;
  const own = new Map([...weights].filter(([key]) => !key.startsWith("language.")));
  const found = config.found?.language;
  const original = found && (found.revision ? { id: found.source, revision: found.revision } : found.source);
  const description = parseDescription({
    ...(config.sight as object),
    language: { model: isChanged ? "./llm" : original },
    ...(config.network && { template: "chat" }),
  });
  return {
    [descriptionFile]: jsonFile(description),
    "model.safetensors": weightsFile(own, dtype),
    ...within("llm", language),
    ...(config.lora && within("adapter", adapterFiles(request))),
  };
}

const within = (folder: string, files: Files): Files =>
  Object.fromEntries(Object.entries(files).map(([name, contents]) => [`${folder}/${name}`, contents]));

/** A language model that was made here. */
function ownLanguage({ config, weights, dtype }: ExportRequest<SpeakerTraining>): Files {
  const own = [...below(weights, "language")].filter(([key]) => !isAdapter(key));
  return {
    "config.json": jsonFile(languageJson(config)),
    "generation_config.json": jsonFile(fixedIds),
    ...languageWeights(config, weights, checkpointOf(own), dtype),
    ...tokenizerFilesOf(config),
  };
}

/** One that was read, if training has changed it. */
async function changedLanguage({
  config,
  weights,
  base,
  dtype,
}: ExportRequest<SpeakerTraining>): Promise<Files> {
  if (![...weights.keys()].some((key) => key.startsWith("language."))) return {};
  const folder = await openLanguage(config);
  const copied: Record<string, Uint8Array> = {};
  for (const name of ["generation_config.json", ...tokenizerFiles, ...chatTemplateFiles])
    if (await folder.has(name)) copied[name] = await folder.bytes(name);
  const type = dtype === "f16" ? "float16" : "float32";
  return {
    "config.json": jsonFile({ ...languageJson(config), torch_dtype: type }),
    ...copied,
    ...languageWeights(config, weights, base!, dtype),
  };
}

function checkpointOf(weights: Iterable<readonly [string, Tensor]>): Pick<Checkpoint, "entries" | "read"> {
  const all = new Map<string, Tensor>([...weights].map(([key, tensor]) => [`language.${key}`, tensor]));
  const entries = new Map(
    [...all].map(([key, { dtype, dims }]) => [
      key,
      { dtype, dims: [...dims], storage: { bytes: new Uint8Array() } },
    ]),
  );
  return { entries, read: async (key) => all.get(key)! };
}

/** Bytes of a shard at most. */
const shardBytes = 2 ** 31;

/** The language model's weights, adapters merged, a shard at a time. */
function languageWeights(
  { lora }: SpeakerTraining,
  weights: Weights,
  { entries, read }: Pick<Checkpoint, "entries" | "read">,
  dtype: "f32" | "f16",
): Files {
  const width = dtype === "f16" ? 2 : 4;
  const shards: string[][] = [[]];
  let bytes = 0;
  for (const [key, { dims }] of entries) {
    const own = width * dims.reduce((a, b) => a * b, 1);
    if (bytes > 0 && bytes + own > shardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(key);
    bytes += own;
  }
  const adapters = below(weights, "language");
  const shard = (keys: readonly string[]) => async () => {
    const merging = lora && new Merging(lora, adapters);
    const tensors = new Map<string, Tensor>();
    for (const key of keys) {
      const name = key.slice("language.".length);
      const weight = weights.get(key) ?? (await read(key));
      tensors.set(name, merging ? await merging.merge(name, weight) : weight);
    }
    await merging?.release();
    return weightsFile(tensors, dtype);
  };
  if (shards.length === 1) return { "model.safetensors": shard(shards[0]!) };
  const count = String(shards.length).padStart(5, "0");
  const names = shards.map((_, i) => `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`);
  const weight_map = Object.fromEntries(
    shards.flatMap((keys, i) => keys.map((key) => [key.slice("language.".length), names[i]!])),
  );
  return {
    ...Object.fromEntries(shards.map((keys, i) => [names[i]!, shard(keys)])),
    "model.safetensors.index.json": jsonFile({ metadata: {}, weight_map }),
  };
}

/** As PEFT writes them. */
function adapterFiles({ config, weights, dtype }: ExportRequest<SpeakerTraining>): Files {
  const own = [...below(weights, "language")].filter(([key]) => isAdapter(key));
  const base = config.found?.language?.source ?? "../llm";
  return {
    "adapter_config.json": jsonFile(adapterConfig(config.lora!, base)),
    "adapter_model.safetensors": weightsFile(new Map(own.map(([key, one]) => [peftKey(key), one])), dtype),
  };
}
