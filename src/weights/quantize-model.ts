/** @file A whole model quantised into a new folder, tensor by tensor. */

import { writeFolderAtomic } from "#host/weights";
import { aborted, encodeSafetensorsHeader, failure, type Tensor, type TensorShape } from "../tensor/index.js";
import type { ModelFolder } from "./folder.js";
import {
  checkQuantization,
  isQuantizable,
  type Quantization,
  quantizedShapes,
  quantizeMatrix,
} from "./quantize.js";

export interface QuantizeModelOptions extends Quantization {
  /** Which tensors are a linear layer's weights; others are copied as they are. */
  isLinear: (key: string) => boolean;
  /** A matrix that is quantised under another key too: the table that is a tied model's head. */
  head?: { from: string; to: string } | undefined;
  signal?: AbortSignal | undefined;
  /** Before each tensor. */
  onProgress?: ((progress: { key: string; done: number; total: number }) => void) | undefined;
}

export interface QuantizeReport {
  /** Of all weights, stored as they were and as they are. */
  bytes: { before: number; after: number };
  /** Quantised tensors, with their relative errors: the root of Σ (w - ŵ)² / Σ w². */
  tensors: { key: string; error: number }[];
  /** The same over all of them. */
  error: number;
  /** Linear layers that stay as they are, because their rows do not divide into blocks. */
  whole: string[];
}

/** What diffsight writes into config.json as `quantization_config`. */
export interface QuantizationConfig {
  quant_method: "diffsight";
  bits: 4 | 8;
  block_size: number;
  /** What each weight's key has beside it: f32 scales [out, in / block_size]. */
  scales: "<key>_scales";
}

/** Files that a language model is used with. */
const companions = [
  "generation_config.json",
  "tokenizer.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "chat_template.json",
  "preprocessor_config.json",
  "processor_config.json",
];

/** One tensor of the new file: a copy, or the two that a quantised one becomes. */
interface Planned {
  key: string;
  source: string;
  quantized: boolean;
}

/**
 * Writes a model whose linear layers have weights of few bits: u8 [out, in / block, bytes] under their own keys, with
 * f32 `<key>_scales` [out, in / block] beside them, and `quantization_config` in its config.json. One tensor is in
 * memory at a time; the folder appears when it is whole.
 * @param out a folder that does not exist, or is empty
 * @throws DiffsightError QUANTIZE, FOLDER_EXISTS, DISK_FULL, ABORTED; what reading the model may raise
 */
export async function quantizeModel(
  folder: ModelFolder,
  out: string,
  { isLinear, head, signal, onProgress, ...quantization }: QuantizeModelOptions,
): Promise<QuantizeReport> {
  checkQuantization(quantization);
  const { bits, block } = quantization;
  const config = await folder.json("config.json");
  if (config.quantization_config != null) {
    throw failure(
      "QUANTIZE",
      `${folder.source} is quantised already: its config.json has quantization_config.`,
    );
  }
  const { entries, read } = await folder.checkpoint("");
  const plan = [...entries].map(([key, { dims }]): Planned => {
    return { key, source: key, quantized: isLinear(key) && isQuantizable(dims, quantization) };
  });
  if (head && entries.has(head.from) && !entries.has(head.to)) {
    const quantized = isQuantizable(entries.get(head.from)!.dims, quantization);
    if (quantized) plan.push({ key: head.to, source: head.from, quantized });
  }
  if (!plan.some(({ quantized }) => quantized)) {
    throw failure(
      "QUANTIZE",
      `${folder.source} has no linear layer whose inputs divide into blocks of ${block}.`,
    );
  }

  const shapes = new Map<string, TensorShape>();
  for (const { key, source, quantized } of plan) {
    const { dtype, dims } = entries.get(source)!;
    if (!quantized) shapes.set(key, { dtype, dims });
    else {
      const { weight, scales } = quantizedShapes(dims, quantization);
      shapes.set(key, { dtype: "u8", dims: weight }).set(`${key}_scales`, { dtype: "f32", dims: scales });
    }
  }
  const { header, offsets } = encodeSafetensorsHeader(shapes, { format: "pt" });
  const whole = plan.filter(({ key, quantized }) => isLinear(key) && !quantized).map(({ key }) => key);
  const report: QuantizeReport = { bytes: { before: 0, after: 0 }, tensors: [], error: 0, whole };
  const sums = { error: 0, size: 0 };

  await writeFolderAtomic(out, async (write) => {
    const put = async (key: string, { data }: Tensor) => {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      report.bytes.after += bytes.length;
      await write("model.safetensors", header.length + offsets.get(key)!, bytes);
    };
    await write("model.safetensors", 0, header);
    for (const [done, { key, source, quantized }] of plan.entries()) {
      if (signal?.aborted) throw aborted();
      onProgress?.({ key, done, total: plan.length });
      const tensor = await read(source);
      if (source === key) report.bytes.before += tensor.data.byteLength;
      if (!quantized) {
        await put(key, tensor);
        continue;
      }
      const { weight, scales, error, size } = quantizeMatrix(tensor, quantization);
      await put(key, weight);
      await put(`${key}_scales`, scales);
      report.tensors.push({ key, error: Math.sqrt(error / (size || 1)) });
      sums.error += error;
      sums.size += size;
    }
    const own: QuantizationConfig = {
      quant_method: "diffsight",
      bits,
      block_size: block,
      scales: "<key>_scales",
    };
    const json = JSON.stringify({ ...config, quantization_config: own }, null, 2);
    await write("config.json", 0, new TextEncoder().encode(`${json}\n`));
    for (const name of companions) {
      if (await folder.has(name)) await write(name, 0, await folder.bytes(name));
    }
  });
  return { ...report, error: Math.sqrt(sums.error / (sums.size || 1)) };
}
