/** @file What a stage that teaches to speak of pictures says, and what is found in the models that it names. */

import { dirname } from "node:path";
import { z } from "zod";
import { hashFolder } from "../../data/index.js";
import { readLanguageConfig } from "../../models/index.js";
import { misuse } from "../../tensor/index.js";
import {
  parseDescription,
  planSight,
  resolveModel,
  type SightPlan,
  type VlmDescription,
} from "../../vlm/index.js";
import { openModel } from "../../weights/index.js";
import { networkSchema } from "../tasks/networks.js";
import { absoluteModel, openTokenEncoder, readDescriptionFile } from "../token-encoder.js";
import { loraSchema } from "./adapter.js";
import { languageJson } from "./language.js";

const size = z.number().int().positive();
const share = z.number().min(0).max(1);

/** An encoder's tokens. */
const streamSchema = z.strictObject({
  tokens: size,
  width: size,
  grid: z.tuple([size, size]).optional(),
});

export const speakerConfig = z
  .strictObject({
    /**
     * A new language model with the world's own words: LlamaForCausalLM's config.json; what the tokenizer decides
     * (vocab_size ...) may be left out. Default: the one that `sight` names, which is read.
     */
    network: networkSchema((json) => readLanguageConfig({ ...json, vocab_size: 8 })).optional(),
    /** Tokens of a text, pictures left out; longer ones are cut. Default: 64, or what LLaVA's 2048 leave beside a picture. */
    length: size.optional(),
    /** What sees: a diffsight.json, or the path of one; none for texts alone. */
    sight: z.union([z.string().min(1), z.record(z.string(), z.unknown())]).optional(),
    /** The shape of each encoder's tokens. Default: read from its model. */
    streams: z.record(z.string(), streamSchema).default({}),
    /** Most pictures in a conversation. */
    pictures: size.default(1),
    /** Which of the description's conditionings counts. In stage 1 the language model is frozen. */
    phase: z.enum(["stage1", "stage2"]).default("stage2"),
    /** How conversations are written. Default: `plain` in stage 1, else as the description says. */
    template: z.string().min(1).optional(),
    /** Conversations of one kind and of similar length together, or any. Default: `grouped` in stage 2. */
    order: z.enum(["random", "grouped"]).optional(),
    /** A conversation whose answers cannot be found among its tokens is left out with a warning, or an error. */
    mismatch: z.enum(["mask", "error"]).default("mask"),
    /** A picture that cannot be read any more ends the training, all saved, or is left out with a warning. */
    faulty: z.enum(["error", "skip"]).default("error"),
    /** Adapters in the language model, which stays as it is. */
    lora: loraSchema.optional(),
    /** Of scenes: share of captions; the others are answers. */
    captions: share.default(0),
    /** Of scenes: of the questions, those that name their two options. */
    options: share.default(0.7),
    /** Of scenes: of the questions, those that are to be answered by yes or no: "is the dog facing left?" */
    claims: share.default(0),
    /** Of scenes: most questions with their answers in one conversation. */
    turns: size.default(1),
    /** Of the conditioning's draws. */
    seed: z.number().int().min(0).default(0),
    /** What `readModels` has found. */
    found: z
      .strictObject({
        language: z
          .strictObject({
            source: z.string(),
            revision: z.string().optional(),
            json: z.record(z.string(), z.unknown()),
          })
          .optional(),
        /** What the models hold, by encoder, and `language`. */
        hashes: z.record(z.string(), z.string()),
      })
      .optional(),
  })
  .refine(({ network, sight }) => network !== undefined || sight !== undefined, {
    path: ["network"],
    message: "is needed where no sight names a language model",
  });

export type SpeakerTraining = z.infer<typeof speakerConfig>;

/**
 * Completes a config by what its models say: shapes of tokens, the language model's config, hashes. Relative paths of the
 * description begin in its folder.
 * @throws DiffsightError DESCRIPTION, MODEL_MISSING, CONFIG; what opening encoders may raise
 */
export async function readModels(config: SpeakerTraining): Promise<SpeakerTraining> {
  if (config.sight === undefined) return config;
  const { description, folder } = await descriptionFrom(config.sight);
  const streams = { ...config.streams };
  const hashes: Record<string, string> = {};
  for (const [name, encoder] of Object.entries(description.encoders)) {
    hashes[name] = await hashFolder(resolveModel(encoder.model, folder).source);
    if (streams[name]) continue;
    const opened = await openTokenEncoder({ encoder, folder });
    const { tokens, width, grid } = opened.shape;
    streams[name] = { tokens, width, ...(grid && { grid: [...grid] }) };
    await opened.release();
  }
  const sight = { ...description, encoders: withPaths(description.encoders, folder) };
  if (config.network) return { ...config, sight, streams, found: { hashes } };
  const { source, revision } = resolveModel(absoluteModel(description.language.model, folder), folder);
  const model = await openModel(source, { revision });
  hashes.language = await hashFolder(source);
  const language = { source, ...(revision && { revision }), json: await model.json("config.json") };
  const found = { ...config, sight, streams, found: { language, hashes } };
  const tokens = seeingOf(found)!.plan.tokens;
  return { ...found, length: config.length ?? Math.max(64, longestText - tokens * config.pictures) };
}

/** LLaVA's `model_max_length`. */
const longestText = 2048;

async function descriptionFrom(
  sight: NonNullable<SpeakerTraining["sight"]>,
): Promise<{ description: VlmDescription; folder: string }> {
  if (typeof sight !== "string") return { description: parseDescription(sight), folder: "." };
  return { description: await readDescriptionFile(sight), folder: dirname(sight) };
}

function withPaths(encoders: VlmDescription["encoders"], folder: string): VlmDescription["encoders"] {
  return Object.fromEntries(
    Object.entries(encoders).map(([name, encoder]) => [
      name,
      { ...encoder, model: absoluteModel(encoder.model, folder) },
    ]),
  );
}

export interface Seeing {
  description: VlmDescription;
  plan: SightPlan;
}

/** @throws misuse DESCRIPTION, FUSION, PROJECTOR, STREAM */
export function seeingOf(config: SpeakerTraining): Seeing | undefined {
  const { sight, streams } = config;
  if (sight === undefined) return undefined;
  const description = parseDescription(sight);
  for (const name of Object.keys(description.encoders))
    if (!streams[name])
      throw misuse("STREAM", `streams.${name} is missing: the shape of that encoder's tokens.`);
  const shapes = Object.fromEntries(
    Object.entries(streams).map(([name, { tokens, width, grid }]) => [name, { tokens, width, grid }]),
  );
  const { hiddenSize } = readLanguageConfig(languageJson(config));
  return { description, plan: planSight(description, shapes, hiddenSize) };
}

/** Tokens of a text without its pictures. */
export const textLength = ({ length = 64 }: SpeakerTraining): number => length;

/** Rows of a text with its pictures. */
export function rowsOf(config: SpeakerTraining, seeing: Seeing | undefined): number {
  return textLength(config) + (seeing ? seeing.plan.tokens * config.pictures : 0);
}
