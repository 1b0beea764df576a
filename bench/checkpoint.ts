/** @file Random checkpoints of full size in diffusers' layout, for benchmarks: no download, no Python. */

import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { byteSize, count, numberToF16, TorchGenerator } from "../src/tensor/index.js";
import { byteCharacters } from "../src/text/byte-pairs.js";
import { writeFileAtomic } from "../src/weights/index.js";
import {
  type Layout,
  type PlannedTensor,
  parameterCount,
  textTensors,
  unetTensors,
  vaeTensors,
} from "./layout.js";
import { type PublishedName, published } from "./published.js";

export const components = ["unet", "vae", "text_encoder"] as const;
export type Component = (typeof components)[number];

export interface CheckpointOptions {
  model?: PublishedName;
  dtype?: "f32" | "f16";
  /** As in `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined;
  /** Default: all, and what makes them a pipeline. */
  component?: Component | undefined;
  onProgress?: (message: string) => void;
}

/** Every tensor of a component, in the order of the published file. */
export function tensorsOf(model: PublishedName, component: Component): Layout {
  const { unet, vae, textEncoder } = published[model];
  if (component === "unet") return unetTensors(unet);
  return component === "vae" ? vaeTensors(vae) : textTensors(textEncoder);
}

/**
 * Writes a checkpoint, or what is missing of it; weights that are there in full are kept.
 * @returns the folder
 */
export async function writeCheckpoint(folder: string, options: CheckpointOptions = {}): Promise<string> {
  const { model = "sd21-base", dtype = "f32", variant, component, onProgress = () => {} } = options;
  const { index, unet, vae, textEncoder, scheduler, padding } = published[model];
  const configs = { unet, vae, text_encoder: textEncoder };
  const suffix = variant === undefined ? "" : `.${variant}`;
  for (const name of components) {
    if (component !== undefined && component !== name) continue;
    const place = component === undefined ? path.join(folder, name) : folder;
    const stem = name === "text_encoder" ? "model" : "diffusion_pytorch_model";
    await writeJson(path.join(place, "config.json"), configs[name]);
    const tensors = tensorsOf(model, name);
    const file = path.join(place, `${stem}${suffix}.safetensors`);
    const parameters = parameterCount(tensors).toLocaleString("en");
    await writeWeights(file, tensors, dtype, () =>
      onProgress(`writing ${file}: ${parameters} numbers in ${dtype}`),
    );
  }
  if (component === undefined) {
    await writeTokenizer(path.join(folder, "tokenizer"), padding);
    await writeJson(path.join(folder, "scheduler", "scheduler_config.json"), scheduler);
    await writeJson(path.join(folder, "model_index.json"), index);
  }
  return folder;
}

function writeJson(file: string, value: unknown): Promise<void> {
  return writeFileAtomic(file, `${JSON.stringify(value, undefined, 2)}\n`);
}

/** Writes a model in transformers' layout, f32: its config and random weights. @returns the folder */
export async function writeModel(
  folder: string,
  config: object,
  tensors: Layout,
  note: (message: string) => void,
): Promise<string> {
  await writeJson(path.join(folder, "config.json"), config);
  const file = path.join(folder, "model.safetensors");
  await writeWeights(file, tensors, "f32", () => note(`writing ${file}`));
  return folder;
}

/** A CLIP tokenizer that splits words into bytes: ids 0 to 511 for bytes, 49406 and 49407 for start and end. */
async function writeTokenizer(folder: string, padding: string): Promise<void> {
  const bytes = [...byteCharacters].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const tokens = [...bytes, ...bytes.map((character) => `${character}</w>`)];
  const special = { "<|startoftext|>": 49406, "<|endoftext|>": 49407 };
  const vocabulary = { ...Object.fromEntries(tokens.map((token, id) => [token, id])), ...special };
  const named = {
    bos_token: "<|startoftext|>",
    eos_token: "<|endoftext|>",
    pad_token: padding,
    unk_token: "<|endoftext|>",
  };
  const config = { ...named, do_lower_case: true, model_max_length: 77, tokenizer_class: "CLIPTokenizer" };
  await writeJson(path.join(folder, "vocab.json"), vocabulary);
  await writeFileAtomic(path.join(folder, "merges.txt"), "#version: 0.2\n");
  await writeJson(path.join(folder, "special_tokens_map.json"), named);
  await writeJson(path.join(folder, "tokenizer_config.json"), config);
}

// Weights

/** Numbers written at a time. */
const chunk = 1 << 22;

/**
 * Writes the tensors to a temporary name, piece by piece, and renames it; a file that is there in full is kept.
 * @param onStart called when there is something to write
 */
export async function writeWeights(
  file: string,
  tensors: Layout,
  dtype: "f32" | "f16",
  onStart: () => void = () => {},
): Promise<void> {
  const header = encodeHeader(tensors, dtype);
  const size = header.length + tensors.reduce((sum, tensor) => sum + bytesOf(tensor, dtype), 0);
  if ((await stat(file).catch(() => undefined))?.size === size) return;

  onStart();
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}.tmp`);
  try {
    const handle = await open(temporary, "wx");
    try {
      const buffer = new ArrayBuffer(chunk * byteSize(dtype));
      await handle.writeFile(header);
      for (const tensor of tensors) {
        for (const bytes of randomBytes(tensor, dtype, buffer)) await handle.writeFile(bytes);
      }
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function bytesOf({ dims, dtype: own }: PlannedTensor, dtype: "f32" | "f16"): number {
  return count(dims) * byteSize(own ?? dtype);
}

function encodeHeader(tensors: Layout, dtype: "f32" | "f16"): Uint8Array {
  let end = 0;
  const fields = tensors.map((tensor) => {
    const start = end;
    end += bytesOf(tensor, dtype);
    const type = (tensor.dtype ?? dtype).toUpperCase();
    return [tensor.key, { dtype: type, shape: tensor.dims, data_offsets: [start, end] }];
  });
  const json = JSON.stringify({ __metadata__: { format: "pt" }, ...Object.fromEntries(fields) });
  const text = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
  const header = new Uint8Array(8 + text.length);
  new DataView(header.buffer).setBigUint64(0, BigInt(text.length), true);
  header.set(text, 8);
  return header;
}

/** 65536 normal numbers of mean 0 and variance 1: a random number of 16 bits picks one. */
const normal = (() => {
  const drawn = new TorchGenerator(0).randn([65536]).toFloat32();
  const mean = drawn.reduce((sum, value) => sum + value, 0) / drawn.length;
  const variance = drawn.reduce((sum, value) => sum + (value - mean) ** 2, 0) / drawn.length;
  return drawn.map((value) => (value - mean) / Math.sqrt(variance));
})();

/**
 * A tensor's bytes, in pieces of a buffer that is used again. Numbers depend on the key alone; f16 rounds those of f32.
 * Weights have variance 1 / fan-in, so that activations neither explode nor vanish; scales lie around 1.
 */
function* randomBytes(
  { key, dims, role }: PlannedTensor,
  dtype: "f32" | "f16",
  buffer: ArrayBuffer,
): Generator<Uint8Array> {
  const length = count(dims);
  if (role === "positions") {
    yield new Uint8Array(BigInt64Array.from({ length }, (_, i) => BigInt(i)).buffer);
    return;
  }
  const spread = role === "weight" ? 1 / Math.sqrt(count(dims.slice(1))) : 0.05;
  const centre = role === "scale" ? 1 : 0;
  const scaled = normal.map((value) => Math.fround(centre + spread * value));
  const table = dtype === "f32" ? scaled : Uint16Array.from(scaled, numberToF16);
  const numbers = dtype === "f32" ? new Float32Array(buffer) : new Uint16Array(buffer);
  let state = seedOf(key);
  for (let done = 0; done < length; done += chunk) {
    const part = Math.min(chunk, length - done);
    for (let i = 0; i < part; i += 2) {
      // Marsaglia's xorshift, scrambled by a multiplication
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      const bits = Math.imul(state, 0x9e3779b1);
      numbers[i] = table[bits & 0xffff]!;
      numbers[i + 1] = table[bits >>> 16]!;
    }
    yield new Uint8Array(buffer, 0, part * byteSize(dtype));
  }
}

/** FNV-1a of the key; never 0, which xorshift would not leave. */
function seedOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return hash || 1;
}

// Command

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      model: { type: "string", default: "sd21-base" },
      dtype: { type: "string", default: "f32" },
      variant: { type: "string" },
      component: { type: "string" },
    },
  });
  const [folder] = positionals;
  const model = values.model as PublishedName;
  const dtype = values.dtype as "f32" | "f16";
  const component = values.component as Component | undefined;
  const known =
    folder !== undefined &&
    model in published &&
    ["f32", "f16"].includes(dtype) &&
    (component === undefined || components.includes(component));
  if (!known) {
    const flags = `[--model ${Object.keys(published).join("|")}] [--dtype f32|f16] [--variant fp16]`;
    console.error(`usage: bench/checkpoint.ts FOLDER ${flags} [--component ${components.join("|")}]`);
    process.exitCode = 2;
    return;
  }
  const onProgress = (message: string) => console.error(message);
  await writeCheckpoint(folder, { model, dtype, variant: values.variant, component, onProgress });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
