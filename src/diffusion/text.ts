/** @file Prompts to the states that the U-Net listens to: one CLIP text encoder, or SDXL's two side by side. */

import type { CallOptions, Engine, Program } from "../engine/index.js";
import { concat, input, type Value } from "../graph/index.js";
import { type ClipTextConfig, clipText, pooledIndex } from "../models/index.js";
import { count, Tensor } from "../tensor/index.js";
import type { ClipTokenizer, EncodedPrompt, EncodeOptions } from "../text/index.js";
import { type Checkpoint, Scope } from "../weights/index.js";
import { Memory } from "./memory.js";

/** What the U-Net is told about a text. */
export interface TextStates {
  /** [1, T, cross_attention_dim] */
  states: Tensor;
  /** SDXL: [1, projection_dim] */
  pooled?: Tensor | undefined;
}

export interface TextTower {
  tokenizer: ClipTokenizer;
  config: ClipTextConfig;
  checkpoint: Checkpoint;
}

/** Every prompt's states are computed once. */
const memoryBytes = 64 * 2 ** 20;

export class TextEncoder {
  #program: Program | undefined;
  readonly #memory = new Memory(memoryBytes);

  constructor(
    readonly engine: Engine,
    /** One tower: its last states (SD 1.x, 2.x). Two: the states before the last of both, and the second's projection (SDXL). */
    readonly towers: readonly TextTower[],
  ) {}

  /** Token ids and where the words stand, as the first tower sees them. */
  tokenize(prompt: string, options: EncodeOptions = {}): EncodedPrompt {
    return this.towers[0]!.tokenizer.encode(prompt, options);
  }

  /** Shapes of what `encode` gives. */
  get dims(): { states: number[]; pooled: number[] | undefined } {
    const width = this.towers.reduce((sum, { config }) => sum + config.hiddenSize, 0);
    const second = this.towers[1];
    return {
      states: [1, this.towers[0]!.tokenizer.length, width],
      pooled: second && [1, second.config.projectionDim],
    };
  }

  /** Zeros in place of a text. */
  get zeros(): TextStates {
    const { states, pooled } = this.dims;
    const zeros = (dims: number[]) => Tensor.f32(dims, new Float32Array(count(dims)));
    return { states: zeros(states), pooled: pooled && zeros(pooled) };
  }

  /** @param prompt cut at the tokenizer's length unless the options say otherwise */
  async encode(
    prompt: string,
    { signal, ...options }: EncodeOptions & CallOptions = {},
  ): Promise<TextStates> {
    const encoded = this.towers.map(({ tokenizer }) => tokenizer.encode(prompt, options));
    const key = encoded.map(({ ids }) => ids.join()).join(";");
    const { states, pooled } = await this.#memory.recall(key, () => {
      this.#program ??= this.#compile();
      const feeds: Record<string, Tensor> = {};
      for (const { name } of this.#program.inputs) {
        const i = Number(name.slice(3));
        const { ids } = encoded[i]!;
        const { config } = this.towers[i]!;
        feeds[name] = name.startsWith("end")
          ? Tensor.i64([1], [pooledIndex(ids, config)])
          : Tensor.i64([1, ids.length], ids);
      }
      return this.#program.run(feeds, { signal });
    });
    return { states: states!, pooled };
  }

  /** Gives the session's memory back; the next prompt makes it again. */
  async release(): Promise<void> {
    await this.#program?.release();
  }

  #compile(): Program {
    const written = this.towers.map(({ tokenizer, config, checkpoint }, i) => {
      const ids = input(`ids${i}`, [1, tokenizer.length], "i64");
      return clipText(Scope.of(checkpoint), config, ids, input(`end${i}`, [1], "i64"));
    });
    const outputs: Record<string, Value> =
      written.length === 1
        ? { states: written[0]!.lastHiddenState }
        : {
            states: concat(
              written.map(({ hiddenStates }) => hiddenStates.at(-2)!),
              2,
            ),
            pooled: written[1]!.textEmbeds!,
          };
    return this.engine.compile(outputs);
  }
}
