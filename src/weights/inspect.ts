/** @file What a checkpoint is: its components, sizes and types, from headers alone. */

import { openSource } from "#host/weights";
import { byteSize, count, DiffsightError, type DType, failure } from "../tensor/index.js";
import { readWeightFile, type WeightFormat, type WeightPart } from "./checkpoint.js";
import { findWeights, type OpenOptions, readWeights } from "./folder.js";
import { isPlainPath } from "./hub-api.js";
import type { FileTree } from "./source.js";

export interface Inspection {
  /** The path or id. */
  source: string;
  kind: "file" | "component" | "pipeline";
  /** As the configs spell it: "StableDiffusionPipeline", "UNet2DConditionModel". */
  className: string | undefined;
  components: ComponentInspection[];
  /** Sums over the components. */
  tensors: number;
  parameters: number;
  bytes: number;
  /** What diffsight can do with it, and what it cannot: plain sentences. */
  notes: string[];
}

export interface ComponentInspection {
  /** "unet"; "" when the folder or file is the component. */
  name: string;
  className: string | undefined;
  /** What tells models of this class apart. */
  config: Record<string, unknown>;
  /** Tokenizers and schedulers have none. */
  weights?: WeightsInspection;
  /** How the weights differ from what the config asks for; all empty when they fit, absent where that is not known. */
  misfit?: Misfit;
  /** Why the weights cannot be used. */
  problem?: string;
}

export interface Misfit {
  /** Tensors that the config's network has, and the weights lack. */
  missing: string[];
  /** Tensors for which the config's network has no place. */
  unused: string[];
  /** Tensors of another shape than the config asks for. */
  misshapen: { key: string; dims: readonly number[]; wanted: readonly number[] }[];
}

export interface InspectOptions extends OpenOptions {
  /**
   * Knows the tensors of networks: with it, weights are held against their configs.
   * @returns undefined for a class that it does not know
   * @throws DiffsightError CONFIG when the config is not supported: the component's problem
   */
  layoutOf?(
    className: string,
    config: unknown,
    keys: readonly string[],
  ): readonly { key: string; dims: readonly number[] }[] | undefined;
}

export interface WeightsInspection {
  format: WeightFormat;
  variant: string | undefined;
  files: { location: string; bytes: number }[];
  tensors: number;
  /** Numbers in all tensors. */
  parameters: number;
  /** Numbers of each type. */
  dtypes: Partial<Record<DType, number>>;
  /** Of the tensors, without headers. */
  bytes: number;
  metadata: Record<string, string>;
}

/** Fields of configs that a reader asks for first, of all classes. */
const highlights = [
  ...[
    "sample_size",
    "in_channels",
    "out_channels",
    "latent_channels",
    "scaling_factor",
    "block_out_channels",
  ],
  ...["layers_per_block", "transformer_layers_per_block", "cross_attention_dim", "attention_head_dim"],
  ...[
    "use_linear_projection",
    "addition_embed_type",
    "prediction_type",
    "num_train_timesteps",
    "beta_schedule",
  ],
  ...["model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"],
  ...["num_key_value_heads", "hidden_act", "projection_dim", "vocab_size", "max_position_embeddings"],
  ...["image_size", "patch_size", "model_max_length", "torch_dtype", "dtype"],
];

const configNames = [
  "config.json",
  "scheduler_config.json",
  "tokenizer_config.json",
  "preprocessor_config.json",
];

/** Components that have no weights. */
const weightless = /Tokenizer|Scheduler|FeatureExtractor|Processor/;

const inPipeline = "as a component of a pipeline folder (with model_index.json)";

const sees = "it sees for a vision-language model whose diffsight.json names it.";
const speaks =
  "it speaks for a vision-language model whose diffsight.json names it; quantize writes it in fewer bits.";

const uses: Record<string, string> = {
  StableDiffusionPipeline: "extract, attend, score and generate run with it.",
  StableDiffusionXLPipeline: "extract, attend, score and generate run with it.",
  UNet2DConditionModel: `features and attention come from it, ${inPipeline}.`,
  AutoencoderKL: `it brings images to latents and back, ${inPipeline}.`,
  AutoencoderTiny: `it brings images to latents and back, fast and roughly, ${inPipeline}.`,
  CLIPTextModel: `it encodes prompts, ${inPipeline}.`,
  CLIPTextModelWithProjection: `it encodes prompts, ${inPipeline}.`,
  CLIPModel: sees,
  CLIPVisionModel: sees,
  CLIPVisionModelWithProjection: sees,
  Dinov2Model: sees,
  SiglipModel: sees,
  SiglipVisionModel: sees,
  LlamaForCausalLM: speaks,
  Qwen2ForCausalLM: speaks,
  LlavaForConditionalGeneration: "ask answers with it.",
  LlavaLlamaForCausalLM: "ask answers with it.",
};

/** Layouts of bare weight files, told by their keys. */
const layouts: [pattern: RegExp, note: string][] = [
  [
    /^model\.diffusion_model\./,
    "Stable Diffusion's original layout of one file. diffsight reads diffusers' layout: convert it with diffusers, from_single_file(...).save_pretrained(...).",
  ],
  [
    /\blora_(up|down|A|B)\b|\.lora\./,
    "A LoRA: changes to another model's weights, which diffsight does not apply.",
  ],
  [/(^|\.)mm_projector\./, "A projector in LLaVA's names."],
];

/**
 * Explains a weight file, a component's folder, a pipeline's folder, or an id. Reads configs and headers only; of an id
 * that is not in the cache it fetches no more than these.
 * @throws MODEL_MISSING, HUB_*, NETWORK; a component that is broken has its `problem` instead
 */
export async function inspect(pathOrId: string, options: InspectOptions = {}): Promise<Inspection> {
  const source = await openSource(pathOrId, options);
  if (source.kind === "file") {
    const weights = summarize([await readWeightFile(source.file)], undefined);
    const component = { name: "", className: undefined, config: {}, weights: weights.summary };
    return summed(pathOrId, "file", undefined, [component], notesOfKeys(weights.keys));
  }

  const { tree } = source;
  const index = await readConfig(tree, "model_index.json");
  if (index) {
    const components: ComponentInspection[] = [];
    for (const [name, value] of Object.entries(index)) {
      if (!Array.isArray(value) || typeof value[1] !== "string" || !isPlainPath(name)) continue;
      components.push((await inspectComponent(tree, name, value[1], options)).component);
    }
    const className = typeof index._class_name === "string" ? index._class_name : undefined;
    return summed(pathOrId, "pipeline", className, components, notesOfClass(className));
  }
  const { component, keys } = await inspectComponent(tree, "", undefined, options);
  if (!component.weights && Object.keys(component.config).length === 0 && component.className === undefined) {
    throw failure(
      "MODEL_MISSING",
      `${pathOrId} is no model: ${component.problem ?? "it has no configuration and no weights."}`,
    );
  }
  const described = await readConfig(tree, "diffsight.json");
  if (described) {
    const own = await tree.has("llm/config.json");
    const language = own ? [(await inspectComponent(tree, "llm", undefined, options)).component] : [];
    const parts = [component, ...language];
    return summed(pathOrId, "component", "VisionLanguageModel", parts, [noteOfDescription(described)]);
  }
  const notes = component.className ? notesOfClass(component.className) : notesOfKeys(keys);
  return summed(pathOrId, "component", component.className, [component], notes);
}

/** What a diffsight.json names; it is read whole where it is used. */
function noteOfDescription({ encoders, language }: Record<string, unknown>): string {
  const nameOf = (model: unknown) =>
    typeof model === "object" && model !== null ? String((model as { id?: unknown }).id) : String(model);
  const modelOf = (part: unknown) => nameOf((part as { model?: unknown } | undefined)?.model);
  const seeing = Object.entries((encoders ?? {}) as object).map(([name, one]) => `${name} (${modelOf(one)})`);
  return `A vision-language model of diffsight's: ask answers with it. It sees through ${seeing.join(" and ")}, and speaks by ${modelOf(language)}.`;
}

async function inspectComponent(
  tree: FileTree,
  name: string,
  namedClass: string | undefined,
  { variant, layoutOf }: InspectOptions,
) {
  const folder = name === "" ? "" : `${name}/`;
  let raw: Record<string, unknown> = {};
  let keys: string[] = [];
  const component: ComponentInspection = { name, className: namedClass, config: {} };
  try {
    for (const config of configNames) raw = { ...(await readConfig(tree, `${folder}${config}`)), ...raw };
    const [architecture] = Array.isArray(raw.architectures) ? raw.architectures : [];
    const className = namedClass ?? raw._class_name ?? architecture;
    component.className = typeof className === "string" ? className : undefined;
    component.config = Object.fromEntries(
      highlights.flatMap((key) => (raw[key] == null ? [] : [[key, raw[key]]])),
    );
    if (weightless.test(component.className ?? "")) return { component, keys };
    const found = await findWeights(tree, name, variant);
    const parts = await readWeights(found, tree.peek);
    const weights = summarize(parts, found.variant);
    component.weights = weights.summary;
    keys = weights.keys;
    const layout = layoutOf?.(component.className ?? "", raw, keys);
    if (layout) component.misfit = misfitOf(parts, layout);
  } catch (error) {
    if (!(error instanceof DiffsightError) || error.code === "ABORTED") throw error;
    component.problem = error.message;
  }
  return { component, keys };
}

function misfitOf(
  parts: readonly WeightPart[],
  layout: readonly { key: string; dims: readonly number[] }[],
): Misfit {
  const found = new Map(parts.flatMap(({ entries }) => [...entries]));
  const wanted = new Map(layout.map(({ key, dims }) => [key, dims]));
  // 1x1 convolutions and matrices stand in for each other.
  const numbers = (dims: readonly number[]): string => dims.filter((size) => size !== 1).join();
  return {
    missing: [...wanted.keys()].filter((key) => !found.has(key)),
    unused: [...found.keys()].filter((key) => !wanted.has(key)),
    misshapen: layout.flatMap(({ key, dims }) => {
      const entry = found.get(key);
      return entry && numbers(entry.dims) !== numbers(dims) ? [{ key, dims: entry.dims, wanted: dims }] : [];
    }),
  };
}

async function readConfig(tree: FileTree, path: string): Promise<Record<string, unknown> | undefined> {
  if (!(await tree.has(path))) return undefined;
  const file = await tree.peek(path);
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(await file.read(0, file.size)));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch (cause) {
    throw failure(
      "FILE_CORRUPT",
      `${tree.source}: ${path} is not JSON (${(cause as Error).message}).`,
      cause,
    );
  }
}

function summarize(
  parts: WeightPart[],
  variant: string | undefined,
): { summary: WeightsInspection; keys: string[] } {
  const dtypes: Partial<Record<DType, number>> = {};
  let parameters = 0;
  let bytes = 0;
  const entries = parts.flatMap((part) => [...part.entries]);
  for (const [, { dtype, dims }] of entries) {
    const numbers = count(dims);
    dtypes[dtype] = (dtypes[dtype] ?? 0) + numbers;
    parameters += numbers;
    bytes += numbers * byteSize(dtype);
  }
  const summary = {
    format: parts[0]?.format ?? "safetensors",
    variant,
    files: parts.map(({ file }) => ({ location: file.location, bytes: file.size })),
    tensors: entries.length,
    parameters,
    dtypes,
    bytes,
    metadata: Object.assign({}, ...parts.map(({ metadata }) => metadata)) as Record<string, string>,
  };
  return { summary, keys: entries.map(([key]) => key) };
}

function summed(
  source: string,
  kind: Inspection["kind"],
  className: string | undefined,
  components: ComponentInspection[],
  notes: string[],
): Inspection {
  const sum = (field: "tensors" | "parameters" | "bytes"): number =>
    components.reduce((total, { weights }) => total + (weights?.[field] ?? 0), 0);
  const totals = { tensors: sum("tensors"), parameters: sum("parameters"), bytes: sum("bytes") };
  const unfit = components.filter(
    ({ misfit }) => misfit && misfit.missing.length + misfit.misshapen.length > 0,
  );
  const names = unfit.map(({ name }) => name || "these weights").join(", ");
  const warning = `The config is of another network than the weights: ${names}. What needs them fails.`;
  return { source, kind, className, components, ...totals, notes: names ? [...notes, warning] : notes };
}

function notesOfClass(className: string | undefined): string[] {
  const use = uses[className ?? ""];
  return [
    use
      ? `${className}: ${use}`
      : `${className ?? "No class"}: the weights can be read; no network of diffsight has this name.`,
  ];
}

function notesOfKeys(keys: string[]): string[] {
  const known = layouts.filter(([pattern]) => keys.some((key) => pattern.test(key))).map(([, note]) => note);
  return known.length > 0 ? known : ["Weights without a config: put them beside a config.json to use them."];
}
