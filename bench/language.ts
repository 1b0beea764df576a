/**
 * @file Speed of a language model of 7B's width beside transformers (reading, f32) and llama.cpp (speaking, 4 bits). Of
 * its 32 layers 8 are there, with random weights; what all would take is told from the time that 4 more layers take.
 */

import { existsSync } from "node:fs";
import path from "node:path";
import { Engine, type Preset } from "../src/engine/index.js";
import { input, linear, parameter } from "../src/graph/index.js";
import { llamaLayout } from "../src/models/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";
import { LanguageModel, quantizeLanguageModel } from "../src/vlm/index.js";
import { openModel } from "../src/weights/index.js";
import { writeModel } from "./checkpoint.js";
import { alternate, duration, type Summary, seconds, summarize, table, verdict } from "./measure.js";
import type { Peer } from "./peer.js";

/** A published shape, and how much of it is measured. */
interface Shape {
  config: Record<string, number | string>;
  /** Layers of the shorter and of the longer model; those of the published one. */
  layers: readonly [few: number, many: number, all: number];
  /** Tokens that are read, and that are said after as many as `context`. */
  read: number;
  said: number;
  context: number;
}

const width7b = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_attention_heads: 32,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
};

export const languageShapes = {
  language: { config: width7b, layers: [4, 8, 32], read: 512, said: 32, context: 64 },
  // To see that it runs.
  "language-tiny": {
    config: { ...width7b, vocab_size: 320, hidden_size: 256, intermediate_size: 704, num_attention_heads: 4 },
    layers: [1, 2, 4],
    read: 300,
    said: 8,
    context: 16,
  },
} as const satisfies Record<string, Shape>;

export type LanguageShapeName = keyof typeof languageShapes;

interface Options {
  /** Where checkpoints are kept. */
  folder: string;
  rounds: number;
  threads: number;
  memory: Preset;
  /** transformers, which reads and writes the files of the other; llama.cpp, which speaks. */
  peer: Peer | undefined;
  speaker: Peer | undefined;
  note(message: string): void;
}

export interface LanguageSpeed {
  work: "read" | "speak";
  tokens: number;
  /** Weights that share a scale, where they are of 4 bits. */
  block?: number;
  /** Seconds of all tokens, with few and with many of the layers. */
  ours: readonly [Summary, Summary];
  peer?: readonly [Summary, Summary];
  way?: string;
  /** Bytes of weights that the published model reads for a token. */
  bytes: number;
  target: { atLeast: number; aim: number };
}

/** Seconds of the published number of layers, each round's own. */
function whole([few, many]: readonly [Summary, Summary], layers: Shape["layers"]): Summary {
  return summarize(
    many.rounds.map((seconds, i) => {
      const each = (seconds - few.rounds[i]!) / (layers[1] - layers[0]);
      return seconds + (layers[2] - layers[1]) * each;
    }),
  );
}

/** Weights that share a scale: as in llama.cpp's Q4_0, and as many as take no more bits than its, whose scales are of f16. */
const blocks = [32, 64] as const;

export async function compareLanguage(
  name: LanguageShapeName,
  options: Options,
): Promise<{ speeds: LanguageSpeed[]; bandwidth: number }> {
  const shape: Shape = languageShapes[name];
  const config = configOf(shape);
  const place = path.join(options.folder, `${name}-f32`);
  const folder = await writeModel(place, config, llamaLayout(config), options.note);
  const speeds = [await read(folder, shape, options)];
  for (const block of blocks) {
    const few = path.join(options.folder, `${name}-4bit-${block}`);
    if (!existsSync(few)) {
      options.note(`quantising ${few}`);
      await quantizeLanguageModel(await openModel(folder), few, { bits: 4, block });
    }
    speeds.push(await speak(folder, few, block, shape, options));
  }
  return { speeds, bandwidth: await bandwidth(options) };
}

/** As many of its layers as are ever measured. */
const configOf = ({ config, layers }: Shape) => ({
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  num_hidden_layers: layers[1],
  ...config,
});

/** Opens the first layers of a model. */
async function firstLayers(
  folder: string,
  layers: number,
  { threads, memory }: Options,
): Promise<LanguageModel> {
  const model = await openModel(folder);
  const config = { ...(await model.json("config.json")), num_hidden_layers: layers };
  const language = await LanguageModel.open(config, await model.checkpoint(""), {
    device: "cpu",
    threads,
    memory,
  });
  await language.prepare();
  return language;
}

/** What is compared: our run of a model, the peer and the file of its model with so many layers. */
interface Work {
  name: "read" | "speak";
  folder: string;
  run(model: LanguageModel): Promise<number>;
  peer: Peer | undefined;
  peerModel(layers: number): Promise<string>;
  /** Whether few and many layers take turns: steadier, where memory holds them both on both sides. */
  inTurn: boolean;
}

type Sides = Record<`ours-${number}` | `peer-${number}`, () => Promise<number>>;

/** Both sides, with few and with many of the layers. */
async function compare(
  shape: Shape,
  options: Options,
  { name, folder, run, peer, peerModel, inTurn }: Work,
): Promise<Pick<LanguageSpeed, "ours" | "peer" | "way">> {
  const both = shape.layers.slice(0, 2) as [few: number, many: number];
  const times: Record<keyof Sides, Summary> = {};
  let way: string | undefined;
  for (const sizes of inTurn ? [both] : both.map((layers) => [layers])) {
    options.note(`${name}: ${sizes.join(" and ")} layers`);
    const sides: Sides = {};
    const models: LanguageModel[] = [];
    try {
      for (const layers of sizes) {
        const model = await firstLayers(folder, layers, options);
        models.push(model);
        sides[`ours-${layers}`] = () => run(model);
        if (!peer) continue;
        const asked = { work: name, model: await peerModel(layers), layers, ...tokensOf(shape) };
        way = await peer.prepare(asked);
        sides[`peer-${layers}`] = () => peer.run(asked);
      }
      Object.assign(times, await alternate(options.rounds, sides));
    } finally {
      for (const model of models) await model.release();
      await peer?.close();
    }
  }
  const ours = both.map((layers) => times[`ours-${layers}`]!) as [Summary, Summary];
  const theirs = both.map((layers) => times[`peer-${layers}`]!) as [Summary, Summary];
  return { ours, ...(peer && { peer: theirs, way: way! }) };
}

const tokensOf = ({ read, said, context }: Shape) => ({ read, said, context });

/** Ids without a pattern. */
const ids = (count: number, { config }: Shape) =>
  Array.from({ length: count }, (_, i) => ((i + 1) * 7919) % Number(config.vocab_size));

async function read(folder: string, shape: Shape, options: Options): Promise<LanguageSpeed> {
  const prompt = [ids(shape.read, shape)];
  const found = await compare(shape, options, {
    name: "read",
    folder,
    run: (model) => seconds(async () => (await model.read(prompt)).release()),
    peer: options.peer,
    peerModel: async () => folder,
    inTurn: false,
  });
  return { work: "read", tokens: shape.read, ...found, bytes: 0, target: { atLeast: 1, aim: 1.2 } };
}

async function speak(
  folder: string,
  few: string,
  block: number,
  shape: Shape,
  options: Options,
): Promise<LanguageSpeed> {
  const prompt = [ids(shape.context, shape)];
  const run = async (model: LanguageModel) => {
    using context = await model.read(prompt);
    const answer = model.generate(context, { maxTokens: shape.said + 1, ignoreEos: true });
    // The first token's scores are those of the context.
    const tokens = answer[Symbol.asyncIterator]();
    await tokens.next();
    return seconds(async () => {
      while (!(await tokens.next()).done);
    });
  };
  const found = await compare(shape, options, {
    name: "speak",
    folder: few,
    run,
    peer: options.peer && options.speaker,
    peerModel: (layers) => options.peer!.gguf(folder, layers),
    inTurn: true,
  });
  const { entries } = await (await openModel(few)).checkpoint("");
  const bytesOf = (pattern: RegExp) =>
    [...entries].reduce((sum, [key, { storage }]) => {
      const length = "bytes" in storage ? storage.bytes.length : storage.length;
      return pattern.test(key) ? sum + length : sum;
    }, 0);
  const layer = bytesOf(/^model\.layers\.0\./);
  const bytes = layer * shape.layers[2] + bytesOf(/^lm_head\./);
  return { work: "speak", tokens: shape.said, block, ...found, bytes, target: { atLeast: 0.9, aim: 1 } };
}

/** Bytes a second that a product of one row reads of a matrix far larger than any cache. */
async function bandwidth({ threads }: Options): Promise<number> {
  const side = 12288;
  const numbers = new TorchGenerator(0).randn([side]).toFloat32();
  const matrix = new Float32Array(side * side);
  for (let row = 0; row < side; row++) matrix.set(numbers, row * side);
  const weight = parameter("matrix", [side, side], "f32", { bytes: new Uint8Array(matrix.buffer) });
  await using engine = await Engine.open({ device: "cpu", memory: "mmap", threads });
  const program = engine.compile({ y: linear(input("x", [1, side]), weight) });
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 8; round++) {
    best = Math.min(best, await seconds(() => program.run({ x: Tensor.f32([1, side], numbers) })));
  }
  return matrix.byteLength / best;
}

export function writeLanguage(
  name: LanguageShapeName,
  { speeds, bandwidth }: { speeds: readonly LanguageSpeed[]; bandwidth: number },
): string {
  const { layers }: Shape = languageShapes[name];
  const rows = speeds.map(({ work, tokens, block, ours, peer, way, bytes, target }) => {
    const [own, other] = [ours, peer].map((both) => both && whole(both, layers).median / tokens);
    const share = bytes > 0 ? `${((100 * bytes) / own! / bandwidth).toFixed(0)} %` : "";
    const each = ([, many]: readonly [Summary, Summary]) => duration(many.median / tokens);
    return [
      work === "read"
        ? `reading ${tokens} tokens, f32`
        : `speaking ${tokens} tokens, 4 bits in blocks of ${block}`,
      each(ours),
      duration(own!),
      share,
      ...(peer && other
        ? [
            each(peer),
            duration(other),
            way!,
            (peer[1].median / ours[1].median).toFixed(2),
            (other / own!).toFixed(2),
            verdict(other / own!, target),
          ]
        : []),
    ];
  });
  const head = [
    "work, a token",
    `diffsight, ${layers[1]} layers`,
    `${layers[2]} layers`,
    "of the memory's bandwidth",
    `peer, ${layers[1]} layers`,
    `${layers[2]} layers`,
    "its way",
    `times as fast, ${layers[1]} layers`,
    `${layers[2]} layers`,
    "target",
  ];
  const note =
    `${layers[2]} layers: the time of ${layers[1]}, and ${layers[2] - layers[1]} times that of one, from ${layers[0]} and ` +
    `${layers[1]}, each round's own. Memory: ${(bandwidth / 1e9).toFixed(1)} GB/s.`;
  return `${table(head, rows)}\n\n${note}`;
}
