/** @file A language model as one program for any number of rows, with its keys and values kept where it computes. */

import { type Engine, KeptRows, type KeptTensor, type Program } from "../../engine/index.js";
import { add, constant, equal, gather, input, mul, reshape, type Value } from "../../graph/index.js";
import { type LlamaConfig, llama, llamaEmbeddings, llamaLogits, rotaryTables } from "../../models/index.js";
import { Tensor } from "../../tensor/index.js";
import { type Checkpoint, Scope } from "../../weights/index.js";
import type { PromptRow } from "./prompt.js";

/** One row to be computed. */
export interface NetworkRow {
  row: PromptRow;
  /** Its place in its sequence, from 0. */
  position: number;
  /** Tokens of the sequence as far as it is read with this row. */
  length: number;
  /** Ranges [from, to) of kept rows that it sees. */
  sees: readonly (readonly [from: number, to: number])[];
  /** From which of the new rows on it sees them, up to itself. */
  from: number;
}

/** Added to the score of what is not seen. */
const hidden = -1e30;

export class LanguageNetwork {
  readonly #program: Program;
  readonly kept: KeptRows;

  constructor(
    engine: Engine,
    checkpoint: Checkpoint,
    readonly config: LlamaConfig,
  ) {
    this.#program = compile(engine, checkpoint, config);
    const names = layerNames(config);
    const dims = [config.kvHeads, config.headDim];
    this.kept = new KeptRows(
      engine,
      names.flatMap(({ keys, values }): KeptTensor[] =>
        [keys, values].map((name) => ({ input: name, output: `new.${name}`, dims })),
      ),
    );
  }

  /**
   * Computes new rows, which are kept from row `at` on.
   * @param at kept rows before them, from 1: the first is of zeros and nobody sees it
   * @param ends which of the new rows' scores are wanted
   * @returns the scores of the token after each of these rows [ends, vocab_size]
   */
  async run(rows: readonly NetworkRow[], at: number, ends: readonly number[]): Promise<Tensor> {
    const { hiddenSize, rope } = this.config;
    const { cos, sin } = rotaryTables(
      rope,
      rows.map(({ position }) => position),
      rows.map(({ length }) => length),
    );
    const embeddings = rows.flatMap(({ row }) => (typeof row === "number" ? [] : [row]));
    const features = new Float32Array((1 + embeddings.length) * hiddenSize);
    embeddings.forEach((row, i) => {
      features.set(row, (1 + i) * hiddenSize);
    });
    let next = 1;
    const { logits } = await this.#program.run(
      {
        ids: Tensor.i64(
          [1, rows.length],
          rows.map(({ row }) => (typeof row === "number" ? row : 0)),
        ),
        places: Tensor.i64(
          [1, rows.length],
          rows.map(({ row }) => (typeof row === "number" ? 0 : next++)),
        ),
        features: Tensor.f32([1 + embeddings.length, hiddenSize], features),
        cos,
        sin,
        bias: visibility(rows, at),
        // A run has results: without a wish, the scores after its last row.
        ends: Tensor.i64([Math.max(1, ends.length)], ends.length > 0 ? ends : [rows.length - 1]),
      },
      { kept: { rows: this.kept, at } },
    );
    return logits!;
  }

  prepare(): Promise<void> {
    return this.#program.prepare();
  }

  async release(): Promise<void> {
    await this.kept.release();
    await this.#program.release();
  }
}

/** [T, at + T]: 0 where a row sees another. */
function visibility(rows: readonly NetworkRow[], at: number): Tensor {
  const width = at + rows.length;
  const bias = new Float32Array(rows.length * width).fill(hidden);
  rows.forEach(({ sees, from }, i) => {
    const own = bias.subarray(i * width, (i + 1) * width);
    for (const [start, end] of sees) own.fill(0, start, end);
    own.fill(0, at + from, at + i + 1);
  });
  return Tensor.f32([rows.length, width], bias);
}

function layerNames({ layers }: LlamaConfig): { keys: string; values: string }[] {
  return Array.from({ length: layers }, (_, i) => ({ keys: `keys.${i}`, values: `values.${i}` }));
}

function compile(engine: Engine, checkpoint: Checkpoint, config: LlamaConfig): Program {
  const { hiddenSize, headDim, kvHeads } = config;
  return engine.compileForAnySize(["rows", "past", "features", "ends"], (size) => {
    const w = Scope.of(checkpoint);
    const ids = input("ids", [1, size.rows], "i64");
    const places = input("places", [1, size.rows], "i64");
    const features = input("features", [size.features, hiddenSize]);

    // 1. Tokens from the table, embeddings from the features, of which the first is of zeros
    const isToken = reshape(equal(places, constant(Tensor.i64([], [0]))), [1, size.rows, 1]);
    const embeds = add(mul(llamaEmbeddings(w, ids), isToken), gather(features, places));

    // 2. The network after its past
    const row = [size.past, kvHeads, headDim];
    const past = layerNames(config).map(({ keys, values }) => ({
      keys: input(keys, row),
      values: input(values, row),
    }));
    const { lastHiddenState, cache } = llama(w, config, {
      embeds,
      cos: input("cos", [size.rows, headDim / 2]),
      sin: input("sin", [size.rows, headDim / 2]),
      past,
      bias: input("bias", [size.rows, size.past + size.rows]),
    });

    // 3. Scores where they are wanted
    const ends = gather(reshape(lastHiddenState, [size.rows, hiddenSize]), input("ends", [size.ends], "i64"));
    const outputs: Record<string, Value> = { logits: llamaLogits(w, config, ends) };
    layerNames(config).forEach(({ keys, values }, i) => {
      outputs[`new.${keys}`] = reshape(cache[i]!.keys, [size.rows, kvHeads, headDim]);
      outputs[`new.${values}`] = reshape(cache[i]!.values, [size.rows, kvHeads, headDim]);
    });
    return outputs;
  });
}
