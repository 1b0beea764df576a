/**
 * @file Low-rank adapters of a language model's linear layers, as PEFT has them: y = W x + α / r B A x.
 * @see Hu et al. 2021, "LoRA"
 */

import { z } from "zod";
import { Engine } from "../../engine/index.js";
import { add, input, linear, matmul, mul } from "../../graph/index.js";
import { type Layout, LayoutBuilder, llamaLayout } from "../../models/index.js";
import { misuse, type Tensor } from "../../tensor/index.js";
import type { Adapt } from "../../weights/index.js";
import type { GraphRequest } from "../task.js";

const linearLayers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/** LLaVA-1.5's numbers by default. */
export const loraSchema = z.strictObject({
  r: z.number().int().positive().default(128),
  alpha: z.number().positive().default(256),
  dropout: z.number().min(0).lt(1).default(0.05),
  /** The last parts of the adapted layers' keys. Default: every linear layer but the head. */
  targets: z.array(z.string().min(1)).min(1).default(linearLayers),
  /** Factor of the learning rate of projector and fusion. */
  sight: z.number().min(0).default(0.1),
});

export type Lora = z.infer<typeof loraSchema>;

const keysOf = (layer: string) => ({ a: `${layer}.lora_A.weight`, b: `${layer}.lora_B.weight` });

/** Whether a key is an adapter's. */
export const isAdapter = (key: string): boolean => /\.lora_[AB]\.weight$/.test(key);

/**
 * The adapters of a language model before training: A as torch starts a linear layer, B zeros.
 * @param json its config.json
 * @throws misuse LORA naming a target that fits no layer
 */
export function adapterLayout({ r, targets }: Lora, json: unknown): Layout {
  const layers = llamaLayout(json).flatMap(({ key, dims, role }) => {
    const layer = key.replace(/\.weight$/, "");
    const name = layer.split(".").at(-1)!;
    return role === "weight" && dims.length === 2 && name !== "embed_tokens" ? [{ layer, name, dims }] : [];
  });
  const known = new Set(layers.map(({ name }) => name));
  const stray = targets.find((target) => !known.has(target));
  if (stray !== undefined)
    throw misuse("LORA", `lora.targets: no linear layer is called "${stray}" (${[...known].join(", ")}).`);
  const builder = new LayoutBuilder();
  for (const { layer, name, dims } of layers) {
    if (!targets.includes(name)) continue;
    const [out, inner] = dims as [number, number];
    builder.linear(`${layer}.lora_A`, inner, r, { bias: false });
    builder.add(keysOf(layer).b, [out, r], "weight", { kind: "constant", value: 0 });
  }
  return builder.build();
}

/** Adapts the layers that have adapters. @param dropout masks of what A is given, in training */
export function adapted({ alpha, r, dropout: rate }: Lora, dropout: GraphRequest<unknown>["dropout"]): Adapt {
  return (layer, x, y) => {
    if (!layer.has("lora_A")) return y;
    const given = rate > 0 && dropout ? mul(x, dropout(`${layer.path}.lora_dropout`, x.dims, rate)) : x;
    const low = linear(given, layer.at("lora_A").parameter("weight"));
    return add(y, mul(linear(low, layer.at("lora_B").parameter("weight")), alpha / r));
  };
}

/** Adapters written into the weights that they are of: W + α / r B A. */
export class Merging {
  readonly #engine = Engine.open({ device: "cpu", memory: "fast", threads: 1, host: "here" });

  constructor(
    readonly lora: Lora,
    readonly adapters: ReadonlyMap<string, Tensor>,
  ) {}

  /** @param key of a weight @returns the weight itself where nothing adapts it */
  async merge(key: string, weight: Tensor): Promise<Tensor> {
    const { a, b } = keysOf(key.replace(/\.weight$/, ""));
    const [down, up] = [this.adapters.get(a), this.adapters.get(b)];
    if (!down || !up) return weight;
    const { alpha, r } = this.lora;
    const feeds = { w: weight.to("f32"), a: down, b: up };
    const [w, below, above] = Object.entries(feeds).map(([name, { dims }]) => input(name, dims));
    const program = (await this.#engine).compile({
      merged: add(w!, mul(matmul(above!, below!), alpha / r)),
    });
    try {
      return (await program.run(feeds)).merged!;
    } finally {
      await program.release();
    }
  }

  async release(): Promise<void> {
    await (await this.#engine).dispose();
  }
}

/**
 * The files of an adapter that PEFT loads beside its base model.
 * @param base the base model's folder or id
 * @param adapters by the language model's own keys
 */
export function adapterConfig({ r, alpha, dropout, targets }: Lora, base: string): object {
  return {
    base_model_name_or_path: base,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: alpha,
    lora_dropout: dropout,
    modules_to_save: null,
    peft_type: "LORA",
    r,
    target_modules: targets,
    task_type: "CAUSAL_LM",
    use_dora: false,
    use_rslora: false,
  };
}

/** PEFT's name of an adapter's tensor. */
export const peftKey = (key: string): string => `base_model.model.${key}`;
