/** @file What a trained model's folder holds: diffsight.json, what sees, and the language model where it was changed. */

import type { Tensor } from "../../tensor/index.js";
import { chatTemplateFiles, tokenizerFiles } from "../../text/index.js";
import { descriptionFile, parseDescription } from "../../vlm/index.js";
import type { Checkpoint } from "../../weights/index.js";
import type { Component, ExportRequest } from "../task.js";
import { below, configFile, jsonFile, weightsFile } from "../tasks/exported.js";
import { adapterConfig, isAdapter, Merging, peftKey } from "./adapter.js";
import type { SpeakerTraining } from "./config.js";
import { fixedIds, languageJson, openLanguage, tokenizerFilesOf } from "./language.js";

export type Files = Component["files"];

/** Tensors of a file, read when it is written. */
export interface Shard {
  keys: readonly string[];
  read(): Promise<Map<string, Tensor>>;
}

/** The language model's folder where there is nothing that sees; else around it what sees. */
export async function filesOf(request: ExportRequest<SpeakerTraining>): Promise<Files> {
  const { config, weights, dtype } = request;
  const language = await languageFolder(request);
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

/** The language model's folder; nothing where one was read and training has left it as it is. */
async function languageFolder(request: ExportRequest<SpeakerTraining>): Promise<Files> {
  const { config, weights, dtype } = request;
  if (!config.network && ![...weights.keys()].some((key) => key.startsWith("language."))) return {};
  const { json, texts, shards } = await languageFiles(request);
  const type = dtype === "f16" ? "float16" : "float32";
  return {
    "config.json": configFile(config.network ? json : { ...json, torch_dtype: type }),
    ...texts,
    ...shardFiles(shards, dtype),
  };
}

/** The language model's config, its tokenizer and other texts, its weights under their own keys with adapters merged. */
export async function languageFiles(
  request: ExportRequest<SpeakerTraining>,
): Promise<{ json: Record<string, unknown>; texts: Files; shards: Shard[] }> {
  const { config, weights, base } = request;
  const json = languageJson(config);
  if (config.network) {
    const own = [...below(weights, "language")].filter(([key]) => !isAdapter(key));
    const texts = { "generation_config.json": jsonFile(fixedIds), ...tokenizerFilesOf(config) };
    return { json, texts, shards: languageShards(request, checkpointOf(own)) };
  }
  const folder = await openLanguage(config);
  const texts: Record<string, Uint8Array> = {};
  for (const name of ["generation_config.json", ...tokenizerFiles, ...chatTemplateFiles])
    if (await folder.has(name)) texts[name] = await folder.bytes(name);
  return { json, texts, shards: languageShards(request, base!) };
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
function languageShards(
  { config: { lora }, weights, dtype }: ExportRequest<SpeakerTraining>,
  { entries, read }: Pick<Checkpoint, "entries" | "read">,
): Shard[] {
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
  const nameOf = (key: string) => key.slice("language.".length);
  return shards.map((keys) => ({
    keys: keys.map(nameOf),
    async read() {
      const merging = lora && new Merging(lora, adapters);
      const tensors = new Map<string, Tensor>();
      for (const key of keys) {
        const weight = weights.get(key) ?? (await read(key));
        tensors.set(nameOf(key), merging ? await merging.merge(nameOf(key), weight) : weight);
      }
      await merging?.release();
      return tensors;
    },
  }));
}

/** One file, or several with an index, as transformers names them. */
export function shardFiles(shards: readonly Shard[], dtype: "f32" | "f16"): Files {
  const write = (shard: Shard) => async () => weightsFile(await shard.read(), dtype);
  if (shards.length === 1) return { "model.safetensors": write(shards[0]!) };
  const count = String(shards.length).padStart(5, "0");
  const names = shards.map((_, i) => `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`);
  const weight_map = Object.fromEntries(shards.flatMap(({ keys }, i) => keys.map((key) => [key, names[i]!])));
  return {
    ...Object.fromEntries(shards.map((shard, i) => [names[i]!, write(shard)])),
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
