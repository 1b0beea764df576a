/**
 * @file Learning to speak of pictures: a LLaMA from texts alone, then a projector and a fusion in front of it, then all
 * together; or the same in front of a language model that is there, whose weights are read in place.
 */

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
import {
  fusionWarnings,
  isStatistic,
  parseDescription,
  picturesToWhiten,
  splice,
  whiteningOf,
} from "../../vlm/index.js";
import { languageLoss, total } from "../losses.js";
import { randomAt } from "../order.js";
import { adapted, adapterLayout, isAdapter } from "../speaker/adapter.js";
import { openExamples } from "../speaker/batches.js";
import { readModels, rowsOf, type SpeakerTraining, seeingOf, speakerConfig } from "../speaker/config.js";
import { filesOf } from "../speaker/files.js";
import { languageCheckpoint, languageJson } from "../speaker/language.js";
import { llavaFiles } from "../speaker/llava.js";
import { defineTask, type GraphRequest, llavaClass, type TrainingGraph } from "../task.js";
import { under } from "./exported.js";

/** What this task draws: the language model unless it is read, what sees, adapters. */
function layoutOf(config: SpeakerTraining): { language: Layout; sight: Layout; adapters: Layout } {
  const json = languageJson(config);
  return {
    language: config.network ? llamaLayout(json) : [],
    sight: seeingOf(config)?.plan.layout ?? [],
    adapters: config.lora ? adapterLayout(config.lora, json) : [],
  };
}

function graph({ config, w, batch, dropout }: GraphRequest<SpeakerTraining>): TrainingGraph {
  const language = readLanguageConfig(languageJson(config));
  const seeing = seeingOf(config);
  const rows = rowsOf(config, seeing);
  const texts = {
    ids: input("ids", [batch, rows], "i64"),
    labels: input("labels", [batch, rows - 1], "i64"),
    weights: input("weights", [batch, rows - 1]),
  };
  const streams: Record<string, Value<"input">> = {};
  for (const [name, { tokens, width }] of Object.entries(seeing ? config.streams : {}))
    streams[name] = input(`see.${name}`, [batch * config.pictures, tokens, width]);
  // 1. Texts, with what is seen in its place
  const own = w.at("language");
  const speaker = config.lora ? own.adapting(adapted(config.lora, dropout)) : own;
  const read = llamaEmbeddings(speaker, texts.ids);
  const index = input("index", [batch, rows], "i64");
  const embeds = seeing ? splice(read, seeing.plan.rows(w, streams, { dropout }), index) : read;
  // 2. The language model
  const { cos, sin } = rotaryTables(
    language.rope,
    Array.from({ length: rows }, (_, i) => i),
  );
  const { lastHiddenState, hiddenStates } = llama(speaker, language, {
    embeds,
    cos: constant(cos),
    sin: constant(sin),
  });
  const logits = llamaLogits(speaker, language, slice(lastHiddenState, 1, 0, rows - 1));
  const seen = seeing
    ? { index, ...Object.fromEntries(Object.entries(streams).map(([name, one]) => [`see.${name}`, one])) }
    : {};
  return {
    inputs: { ...texts, ...seen },
    loss: languageLoss(logits, texts.labels, texts.weights),
    weight: total(texts.weights),
    metrics: {},
    states: hiddenStates,
  };
}

export const task = defineTask<SpeakerTraining>({
  version: 3,
  config: speakerConfig,
  read: readModels,
  base: languageCheckpoint,

  initial(config, random) {
    const { language, sight, adapters } = layoutOf(config);
    return new Map([
      ...under("language", initialise(language, random)),
      ...initialise(sight, random),
      ...under("language", initialise(adapters, random)),
    ]);
  },

  graph,

  async measured({ config, data, seed }) {
    const whitened = seeingOf(config)?.plan.whitened ?? [];
    if (whitened.length === 0) return new Map();
    const examples = await openExamples(config, data);
    try {
      // As training sees them, texts and dropout included.
      const streams = whitened.map(({ encoder }) => config.streams[encoder]!);
      const rows = picturesToWhiten(streams, examples.train);
      const random = randomAt("measured", seed);
      const feeds = await examples.batch({ split: "train", step: 0, part: 0, rows, random, warn() {} });
      const seen = whitened.map(({ encoder }) => [encoder, feeds[`see.${encoder}`]!] as const);
      return whiteningOf(whitened, Object.fromEntries(seen));
    } finally {
      await examples.release?.();
    }
  },

  validationBatch: ({ network }) => (network ? 32 : undefined),

  rule(key, { lora, phase, sight }) {
    // What a normalisation measured is not learnt.
    if (isStatistic(key)) return { decay: false, scale: 0 };
    if (!key.startsWith("language.")) return lora ? { scale: lora.sight } : {};
    return { frozen: !isAdapter(key) && sight !== undefined && (phase === "stage1" || lora !== undefined) };
  },

  warnings({ sight, phase }, { batch }) {
    if (sight === undefined) return [];
    const { encoders, fusion } = parseDescription(sight);
    const facts = Object.entries(encoders).map(
      ([name, { kind }]) => [name, { kind, trained: false }] as const,
    );
    const stage = phase === "stage1" ? 1 : 2;
    return fusionWarnings(fusion, { encoders: Object.fromEntries(facts), batch, stage }).map(
      ({ message }) => message,
    );
  },

  open: ({ config, data }) => openExamples(config, data),

  async export(request) {
    if (request.layout === "llava")
      return [{ name: "vlm", kind: ["transformers", llavaClass], files: await llavaFiles(request) }];
    return [{ name: "vlm", kind: ["diffsight", "VisionLanguageModel"], files: await filesOf(request) }];
  },
});
