/**
 * @file Learning to speak of pictures: a LLaMA from texts alone, then a projector and a fusion in front of it, then all
 * together. Features come from stores; what a text changes in them is weighed here, so that any guidance and any dropout
 * costs no new pass.
 */

import { z } from "zod";
import type { Store, Stores } from "../../data/index.js";
import { vocabulary } from "../../diorama/index.js";
import { constant, input, slice, type Value } from "../../graph/index.js";
import {
  initialise,
  type Layout,
  llama,
  llamaEmbeddings,
  llamaLayout,
  llamaLogits,
  readLanguageConfig,
  rotaryTables,
} from "../../models/index.js";
import { misuse, Tensor, type TorchGenerator } from "../../tensor/index.js";
import {
  type ChatTemplate,
  chatTemplate,
  ignoredLabel,
  imageTokenIndex,
  jinjaTemplate,
  labelConversation,
  readTokenizer,
  type Tokenizer,
  type WordVocabularyFiles,
  wordVocabulary,
} from "../../text/index.js";
import {
  conditionOn,
  descriptionFile,
  isStatistic,
  parseDescription,
  planSight,
  planSplice,
  type SightPlan,
  splice,
  spliceIndex,
  type VlmDescription,
} from "../../vlm/index.js";
import { type SceneLine, sceneSchema } from "../lines.js";
import { languageLoss } from "../losses.js";
import { plannedRows } from "../producers/features.js";
import { defineTask, type GraphRequest, type TrainingGraph, type Weights } from "../task.js";
import { below, jsonFile, under, weightsFile } from "./exported.js";
import { type NetworkJson, networkSchema } from "./networks.js";
import { roles } from "./pictures.js";
import { drawSaid, type Said, templateOf } from "./said.js";

const size = z.number().int().positive();
const share = z.number().min(0).max(1);

/** An encoder's tokens in the stores. */
const streamSchema = z.strictObject({
  tokens: size,
  width: size,
  grid: z.tuple([size, size]).optional(),
});

export const speakerConfig = z.strictObject({
  /** LlamaForCausalLM's config.json; what the tokenizer decides (vocab_size ...) may be left out. */
  network: networkSchema((json) => readLanguageConfig({ ...json, vocab_size: 8 })),
  /** Tokens of a text, pictures left out; longer ones are cut. */
  length: size.default(64),
  /** What sees, as diffsight.json describes it; none for texts alone. */
  sight: z.record(z.string(), z.unknown()).optional(),
  /** The shape of each encoder's tokens. */
  streams: z.record(z.string(), streamSchema).default({}),
  /** Which of the description's conditionings counts. */
  phase: z.enum(["stage1", "stage2"]).default("stage2"),
  /** Share of captions; the others are answers. */
  captions: share.default(0),
  /** Of the questions, those that name their two options. */
  options: share.default(0.7),
  /** Of the conditioning's draws. */
  seed: z.number().int().min(0).default(0),
});

export type SpeakerTraining = z.infer<typeof speakerConfig>;

/** Conversations as the embedded language model writes them. */
export const speakerTemplate =
  "{% for message in messages %}{% if message.role == 'user' %}USER: {{ message.content }} " +
  "{% else %}ASSISTANT: {{ message.content }}{{ eos_token }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}ASSISTANT:{% endif %}";

function tokenizerFilesOf({ network }: SpeakerTraining): WordVocabularyFiles {
  const length = Number(network.max_position_embeddings ?? 2048);
  return wordVocabulary([...vocabulary, "USER:", "ASSISTANT:"], { length, chatTemplate: speakerTemplate });
}

interface Speech {
  tokenizer: Tokenizer;
  plain: ChatTemplate;
  chat: ChatTemplate;
}

async function speechOf(config: SpeakerTraining): Promise<Speech> {
  return {
    tokenizer: await readTokenizer(tokenizerFilesOf(config)),
    plain: chatTemplate("plain"),
    chat: await jinjaTemplate(speakerTemplate, { bos_token: "<s>", eos_token: "</s>" }),
  };
}

/** Ids of "<unk>", "<s>", "</s>", "<pad>": fixed by `wordVocabulary`. */
const fixedIds = { bos_token_id: 1, eos_token_id: 2, pad_token_id: 3 };

/** The language model's config.json, with what the tokenizer decides. */
export function speakerJson(config: SpeakerTraining): NetworkJson {
  const { model } = JSON.parse(tokenizerFilesOf(config)["tokenizer.json"]) as {
    model: { vocab: Record<string, number> };
  };
  const vocab_size = Object.keys(model.vocab).length;
  const kind = { architectures: ["LlamaForCausalLM"], model_type: "llama" };
  return { ...kind, ...config.network, vocab_size, ...fixedIds };
}

interface Seeing {
  description: VlmDescription;
  plan: SightPlan;
}

/** @throws misuse DESCRIPTION, FUSION, PROJECTOR */
function seeingOf({ sight, streams }: SpeakerTraining, width: number): Seeing | undefined {
  if (!sight) return undefined;
  const description = parseDescription(sight);
  for (const name of Object.keys(description.encoders))
    if (!streams[name])
      throw misuse("STREAM", `streams.${name} is missing: the shape of that encoder's tokens.`);
  const shapes = Object.fromEntries(
    Object.entries(streams).map(([name, { tokens, width, grid }]) => [name, { tokens, width, grid }]),
  );
  return { description, plan: planSight(description, shapes, width) };
}

/** Rows of a text with its picture. */
const rowsOf = ({ length }: SpeakerTraining, seeing: Seeing | undefined): number =>
  length + (seeing?.plan.tokens ?? 0);

function layoutOf(config: SpeakerTraining): { language: Layout; sight: Layout } {
  const json = speakerJson(config);
  const { hiddenSize } = readLanguageConfig(json);
  return { language: llamaLayout(json), sight: seeingOf(config, hiddenSize)?.plan.layout ?? [] };
}

function graph({ config, w, batch }: GraphRequest<SpeakerTraining>): TrainingGraph {
  const language = readLanguageConfig(speakerJson(config));
  const seeing = seeingOf(config, language.hiddenSize);
  const rows = rowsOf(config, seeing);
  const texts = {
    ids: input("ids", [batch, rows], "i64"),
    labels: input("labels", [batch, rows - 1], "i64"),
    weights: input("weights", [batch, rows - 1]),
  };
  const streams: Record<string, Value<"input">> = {};
  for (const [name, { tokens, width }] of Object.entries(seeing ? config.streams : {}))
    streams[name] = input(`see.${name}`, [batch, tokens, width]);
  const speaker = w.at("language");
  const read = llamaEmbeddings(speaker, texts.ids);
  const index = input("index", [batch, rows], "i64");
  const embeds = seeing ? splice(read, seeing.plan.rows(w, streams), index) : read;
  const { cos, sin } = rotaryTables(
    language.rope,
    Array.from({ length: rows }, (_, i) => i),
  );
  const { lastHiddenState } = llama(speaker, language, { embeds, cos: constant(cos), sin: constant(sin) });
  const logits = llamaLogits(speaker, language, slice(lastHiddenState, 1, 0, rows - 1));
  const seen = seeing
    ? { index, ...Object.fromEntries(Object.entries(streams).map(([name, one]) => [`see.${name}`, one])) }
    : {};
  return {
    inputs: { ...texts, ...seen },
    loss: languageLoss(logits, texts.labels, texts.weights),
    metrics: {},
  };
}

/** An encoder's rows of one split: without a text, and with a text in the stores that there are. */
interface StreamStores {
  plain: Store;
  question?: Store | undefined;
  caption?: Store | undefined;
  /** Where each picture's questions begin in `question`. */
  firsts: readonly number[];
}

const splits = ["train", "validation"] as const;
type Split = (typeof splits)[number];

/** Stores are named by encoder, text and split: "sd", "sd-question", "sd-validation", "sd-question-validation". */
function streamStores(data: Stores, name: string, split: Split, scenes: Store): StreamStores {
  const named = (text: string) => data[`${name}${text}${split === "train" ? "" : "-validation"}`];
  const plain = named("");
  if (!plain)
    throw misuse("DATA_MISSING", `data: "${name}${split === "train" ? "" : "-validation"}" is missing.`);
  if (plain.rows !== scenes.rows)
    throw misuse("STORE_ROWS", `${plain.folder} has ${plain.rows} rows for ${scenes.rows} pictures.`);
  const question = named("-question");
  const firsts: number[] = [];
  if (question) {
    const planned = plannedRows(scenes, true);
    planned.forEach(({ row }, i) => {
      firsts[row] ??= i;
    });
    if (question.rows !== planned.length)
      throw misuse(
        "STORE_ROWS",
        `${question.folder} has ${question.rows} rows for ${planned.length} questions.`,
      );
  }
  return { plain, question, caption: named("-caption"), firsts };
}

const column = "features";

/** What an encoder gives of a picture, told what its conditioning chose: f_u + s (f_c - f_u). */
function streamRow(
  { plain, question, caption, firsts }: StreamStores,
  row: number,
  told: { text: "question" | "caption"; question: number; guidance: number } | undefined,
): Float32Array {
  const unconditional = plain.row(column, row).toFloat32();
  if (!told || told.guidance === 0) return unconditional;
  const store = told.text === "question" ? question : caption;
  if (!store)
    throw misuse("DATA_MISSING", `${plain.folder}: there are no features that were told the ${told.text}.`);
  const at = told.text === "question" ? firsts[row]! + told.question : row;
  const conditional = store.row(column, at).toFloat32();
  return unconditional.map((u, i) => u + told.guidance * (conditional[i]! - u));
}

class Batches {
  constructor(
    readonly config: SpeakerTraining,
    readonly speech: Speech,
    readonly seeing: Seeing | undefined,
    readonly scenes: Record<Split, Store>,
    readonly streams: Record<Split, ReadonlyMap<string, StreamStores>>,
  ) {}

  make(split: Split, rows: readonly number[], random: TorchGenerator): Record<string, Tensor> {
    const { config, seeing, speech } = this;
    const lines = rows.map((row) => sceneSchema.parse(this.scenes[split].line(row)));
    const shares = { caption: config.captions, options: config.options };
    const said = lines.map((line) => drawSaid(line, shares, seeing !== undefined, random));
    const length = rowsOf(config, seeing);
    const labelled = said.map((one) =>
      labelConversation(speech.tokenizer, templateOf(one, speech), one.turns, { maxLength: config.length }),
    );
    const plan = planSplice(
      labelled.map(({ ids }) => ids),
      {
        imageToken: imageTokenIndex,
        imageLengths: seeing ? rows.map(() => seeing.plan.tokens) : [],
        labels: labelled.map(({ labels }) => labels),
        padToken: fixedIds.pad_token_id,
        minLength: length,
        maxLength: length,
      },
    );
    // Each position is to predict the next one's label.
    const labels = plan.labels!.flatMap((row) => row.slice(1));
    const dims = [rows.length, length - 1];
    const feeds: Record<string, Tensor> = {
      ids: Tensor.i64([rows.length, length], plan.ids.flat()),
      labels: Tensor.i64(
        dims,
        labels.map((label) => Math.max(0, label)),
      ),
      weights: Tensor.f32(
        dims,
        labels.map((label) => Number(label !== ignoredLabel)),
      ),
    };
    if (!seeing) return feeds;
    feeds.index = spliceIndex(plan);
    const draw = Math.floor((random.rand([1], "f64").data as Float64Array)[0]! * 2 ** 31);
    for (const [name, stores] of this.streams[split]) {
      const { tokens, width } = config.streams[name]!;
      const all = new Float32Array(rows.length * tokens * width);
      rows.forEach((row, i) => {
        const told = this.#told(name, row, lines[i]!, said[i]!, draw);
        all.set(streamRow(stores, row, told), i * tokens * width);
      });
      feeds[`see.${name}`] = Tensor.f32([rows.length, tokens, width], all);
    }
    return feeds;
  }

  /** Which text, at which guidance, an encoder is given with a row. */
  #told(
    name: string,
    row: number,
    { captions, questions }: SceneLine,
    said: Said,
    draw: number,
  ): Parameters<typeof streamRow>[2] {
    const encoder = this.seeing!.description.encoders[name]!;
    if (encoder.kind !== "diffusion") return undefined;
    const conditioning = encoder.conditioning[this.config.phase];
    // What is asked comes first; a caption's picture has questions too, of which any may be told.
    const asked = said.question === undefined ? [...questions.keys()] : [said.question];
    const { prompt, guidance } = conditionOn(
      conditioning,
      { id: String(row), caption: captions.full, questions: asked.map(String) },
      { seed: this.config.seed, epoch: draw },
    );
    if (prompt === "") return undefined;
    const isQuestion = conditioning.text === "question" || conditioning.text === "random-question";
    return isQuestion
      ? { text: "question", question: Number(prompt), guidance }
      : { text: "caption", question: 0, guidance };
  }
}

export const task = defineTask<SpeakerTraining>({
  version: 1,
  config: speakerConfig,

  initial(config, random) {
    const { language, sight } = layoutOf(config);
    return new Map([...under("language", initialise(language, random)), ...initialise(sight, random)]);
  },

  graph,

  validationBatch: () => 32,

  // What a normalisation measured is not learnt.
  rule: (key) => (isStatistic(key) ? { decay: false, scale: 0 } : {}),

  async open({ config, data }) {
    const scenes = roles(data, ...splits);
    const { hiddenSize } = readLanguageConfig(speakerJson(config));
    const seeing = seeingOf(config, hiddenSize);
    const names = seeing ? Object.keys(config.streams) : [];
    const of = (split: Split) =>
      new Map(names.map((name) => [name, streamStores(data, name, split, scenes[split])]));
    const streams = { train: of("train"), validation: of("validation") };
    const batches = new Batches(config, await speechOf(config), seeing, scenes, streams);
    return {
      train: scenes.train.rows,
      validation: scenes.validation.rows,
      batch: ({ split, rows, random }) => batches.make(split, rows, random),
    };
  },

  async export({ config, weights, dtype }) {
    return [
      { name: "vlm", kind: ["diffsight", "VisionLanguageModel"], files: filesOf(config, weights, dtype) },
    ];
  },
});

/** The language model's folder, and around it what sees, where there is something. */
function filesOf(
  config: SpeakerTraining,
  weights: Weights,
  dtype: "f32" | "f16",
): Record<string, Uint8Array | string> {
  const language = {
    "config.json": jsonFile(speakerJson(config)),
    "generation_config.json": jsonFile(fixedIds),
    "model.safetensors": weightsFile(below(weights, "language"), dtype),
    ...tokenizerFilesOf(config),
  };
  if (!config.sight) return language;
  const description = parseDescription({ ...config.sight, language: { model: "./llm" }, template: "chat" });
  const own = new Map([...weights].filter(([key]) => !key.startsWith("language.")));
  return {
    [descriptionFile]: jsonFile(description),
    "model.safetensors": weightsFile(own, dtype),
    ...Object.fromEntries(Object.entries(language).map(([name, content]) => [`llm/${name}`, content])),
  };
}
