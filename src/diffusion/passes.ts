/**
 * @file Passes of the U-Net. What does not depend on the text is computed once for an image, a timestep and a noise,
 * and shared by every text; what nobody asked for is not computed at all.
 */

import type { CallOptions, Engine, Program } from "../engine/index.js";
import { dependents, frontier, input, type Value } from "../graph/index.js";
import { sinusoids, type UnetConfig, unet } from "../models/index.js";
import { type Dims, failure, type Tensor } from "../tensor/index.js";
import { type Checkpoint, Scope } from "../weights/index.js";
import type { Tensors } from "./memory.js";
import { listTaps, longId, type Tap } from "./taps.js";
import type { TextStates } from "./text.js";

/** The written U-Net of one size of latent. */
export interface WrittenUnet {
  taps: Tap[];
  /** What the text decides: its states and, in SDXL, its pooled vector. */
  text: Value[];
  /** Inputs that are the same in every pass. */
  fixed: Tensors;
}

/** A text that only some of the network hears. */
export interface PartlyHeard {
  /** Long ids of the maps of the cross-attentions that see the prompt's states. */
  maps: ReadonlySet<string>;
  /** What the others see, and what SDXL's pooled vector is: the empty prompt's. */
  empty: TextStates;
}

/**
 * Writes the U-Net for latents [1, C, h, w] and texts [1, T, D]; nothing is computed or read yet.
 * @throws DiffsightError PIPELINE when the two do not fit
 */
export function writeUnet(
  checkpoint: Checkpoint,
  config: UnetConfig,
  latent: Dims,
  text: { states: Dims; pooled: Dims | undefined },
  heard?: PartlyHeard,
): WrittenUnet {
  const width = text.states[2];
  const deaf = [...config.down, config.mid, ...config.up].find(
    ({ attention, crossAttentionDim }) => attention && crossAttentionDim !== width,
  );
  if (deaf) {
    throw failure(
      "PIPELINE",
      `${checkpoint.name} has cross_attention_dim ${deaf.crossAttentionDim}, but the text encoders' states are ${width} wide.`,
    );
  }
  const w = Scope.of(checkpoint);
  const states = input("text", text.states);
  const silence = heard && input("emptyText", text.states);
  const pooled = config.additionEmbed ? text.pooled : undefined;
  const textEmbeds = pooled && input(heard ? "emptyTextEmbeds" : "textEmbeds", pooled);
  const timeIds = pooled && input("timeIds", [1, 6 * config.additionTimeEmbedDim]);
  unet(w, config, {
    sample: input("sample", latent),
    timestep: input("timestep", [1, config.down[0]!.channels]),
    encoderHiddenStates: heard
      ? (path) => (heard.maps.has(longId(`${path}:cross-map`)) ? states : silence!)
      : states,
    textEmbeds,
    timeIds,
  });
  const texts = [states, ...(textEmbeds && !heard ? [textEmbeds] : [])];
  const { states: emptyText, pooled: emptyTextEmbeds } = heard?.empty ?? {};
  const fixed = { ...(emptyText && { emptyText }), ...(emptyTextEmbeds && { emptyTextEmbeds }) };
  return { taps: listTaps(w.taps, texts), text: texts, fixed };
}

/** A compiled choice of outputs: one program without the text, one with it. */
export class Passes {
  readonly #free: Program | undefined;
  readonly #bound: Program | undefined;
  readonly #freeOutputs: string[];
  readonly #fixed: Tensors;

  constructor(
    engine: Engine,
    readonly config: UnetConfig,
    /** Pixels a latent's cell, each way. */
    readonly factor: number,
    written: WrittenUnet,
    outputs: Readonly<Record<string, Value>>,
  ) {
    this.#fixed = written.fixed;
    const sources = new Set(written.text);
    const dependent = dependents(Object.values(outputs), sources);
    const wanted = Object.entries(outputs);
    const free = wanted.filter(([, value]) => !dependent.has(value));
    const bound = wanted.filter(([, value]) => dependent.has(value));
    const cut = frontier(
      bound.map(([, value]) => value),
      sources,
    );
    const given = new Map(cut.map((value, i) => [value, `cut${i}`]));
    const first = {
      ...Object.fromEntries([...given].map(([value, name]) => [name, value])),
      ...Object.fromEntries(free),
    };
    this.#freeOutputs = free.map(([name]) => name);
    this.#free = Object.keys(first).length > 0 ? engine.compile(first) : undefined;
    this.#bound = bound.length > 0 ? engine.compile(Object.fromEntries(bound), { given }) : undefined;
  }

  /** Whether any output depends on the text. */
  get needsText(): boolean {
    return this.#bound !== undefined;
  }

  /**
   * The part without the text.
   * @param sample the noisy latent [1, C, h, w]
   * @param t the timestep, passed as it is
   */
  async free(sample: Tensor, t: number, call: CallOptions = {}): Promise<Tensors> {
    return this.#free
      ? this.#free.run(
          this.#feeds(this.#free, { sample, timestep: this.#time(t), ...this.#sizes(sample) }),
          call,
        )
      : {};
  }

  /**
   * Every output for one text, given the part without it.
   * @param shared what `free` gave for the same sample and timestep
   */
  async bound(
    shared: Tensors,
    text: TextStates,
    sample: Tensor,
    t: number,
    call: CallOptions = {},
  ): Promise<Tensors> {
    const free = Object.fromEntries(this.#freeOutputs.map((name) => [name, shared[name]!]));
    if (!this.#bound) return free;
    const own: Record<string, Tensor> = { sample, timestep: this.#time(t), ...this.#sizes(sample) };
    own.text = text.states;
    if (text.pooled) own.textEmbeds = text.pooled;
    const results = await this.#bound.run(this.#feeds(this.#bound, { ...own, ...shared }), call);
    return { ...free, ...results };
  }

  async release(): Promise<void> {
    await this.#free?.release();
    await this.#bound?.release();
  }

  #feeds(program: Program, offered: Record<string, Tensor>): Record<string, Tensor> {
    return Object.fromEntries(program.inputs.map(({ name }) => [name, offered[name] ?? this.#fixed[name]!]));
  }

  #time(t: number): Tensor {
    return sinusoids([t], this.config.down[0]!.channels, this.config);
  }

  /** SDXL's size conditioning: original size, no crop, target size. */
  #sizes({ dims }: Tensor): Tensors {
    if (!this.config.additionEmbed) return {};
    const [height, width] = [dims[2]! * this.factor, dims[3]! * this.factor];
    const ids = [height, width, 0, 0, height, width];
    return { timeIds: sinusoids(ids, this.config.additionTimeEmbedDim, this.config).reshape([1, -1]) };
  }
}
