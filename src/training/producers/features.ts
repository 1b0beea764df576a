/** @file Frozen features of pictures, as rows for probes: each row's tokens, and what is asked about it. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { contentKey, hashFolder, type Store } from "../../data/index.js";
import { DiffusionEncoder } from "../../diffusion/index.js";
import { Engine } from "../../engine/index.js";
import { input, reshape, type Value } from "../../graph/index.js";
import { networkPixels, type RgbImage, vaePixels } from "../../image/index.js";
import {
  clipVision,
  encodeImage,
  readAutoencoderConfig,
  readClipConfig,
  readClipVisionConfig,
  readVisionEncoder,
  visionPatches,
} from "../../models/index.js";
import { formatDims, misuse, Tensor } from "../../tensor/index.js";
import { gridTokens, readImageProcessor, resolveModel } from "../../vlm/index.js";
import { modelPath, openModel, Scope } from "../../weights/index.js";
import type { AskedRow } from "../lines.js";
import { defineProducer, type Production } from "../producer.js";
import {
  featureColumn,
  type PlannedFeature,
  pictureOf,
  planFeatures,
  type Subject,
  subjectOf,
} from "../subjects.js";
import { pictureColumn, stacked } from "../tasks/pictures.js";
import { describedEncoder, encoderDescription, noticesTaken, openTokenEncoder } from "../token-encoder.js";
import { withUntrainedUnet } from "./untrained.js";

const model = z.string().min(1);

export const featuresSchema = z
  .discriminatedUnion("encoder", [
    z.strictObject({
      encoder: z.literal("diffusion"),
      /** Folder or id of a pipeline. */
      model,
      taps: z.array(z.string()).min(1),
      timesteps: z.array(z.number().int()).min(1).default([50]),
      guidance: z.number().default(1),
      /** What the U-Net is told; with `question` there is a row for each question, else one for each picture. */
      prompt: z.enum(["none", "question", "full", "loose"]).default("none"),
      seed: z.number().int().min(0).default(0),
      ensemble: z.number().int().positive().default(1),
      /** Draws the U-Net's weights anew from this seed: what its form alone gives. */
      untrained: z.number().int().min(0).optional(),
    }),
    z.strictObject({
      encoder: z.literal("clip"),
      /** Folder or id of a CLIPModel. */
      model,
      /** Whose states: 0 are the embeddings, -1 is the last layer, -2 the one that LLaVA takes; or the picture's one embedding. */
      layer: z.union([z.number().int(), z.literal("embedding")]).default(-2),
    }),
    /** What the U-Net is given, without noise. */
    z.strictObject({ encoder: z.literal("latent"), model }),
    /** An encoder as diffsight.json describes it. */
    z.strictObject({
      encoder: z.literal("described"),
      as: describedEncoder,
      /** What it is told; with `question` there is a row for each question, else one for each picture. */
      prompt: z.enum(["none", "question", "caption", "pseudo-caption"]).default("none"),
    }),
    /** Nothing of the picture. */
    z.strictObject({ encoder: z.literal("words") }),
  ])
  .and(
    z.object({
      /** Grids larger than this are folded: k x k neighbours side by side in the channels. */
      grid: z.number().int().positive().default(8),
    }),
  );

export type FeaturesConfig = z.infer<typeof featuresSchema>;

/** Tokens of one row, [T, C] by column. */
type Seen = Record<string, Tensor>;

interface Encoder {
  /** What the user is to be told of how it was opened. */
  notices?: readonly string[];
  /** @param name equal pictures have equal names */
  see(image: RgbImage, prompt: string, name: string): Promise<Seen>;
  release(): Promise<void>;
}

/**
 * A grid as tokens, folded where it is finer than wanted.
 * @param grid [C, H, W]
 * @param side tokens a side; H and W are whole multiples of it, or not larger
 * @returns [T, C k²], a row a place, row by row
 */
export function tokensOf(grid: Tensor, side: number): Tensor {
  const [, height, width] = grid.dims as [number, number, number];
  const fold = Math.max(1, height / side);
  if (grid.dims.length !== 3 || !Number.isInteger(fold) || (width !== height && fold !== 1)) {
    throw misuse("SHAPE", `Features ${formatDims(grid.dims)} do not fold into a grid of ${side} x ${side}.`);
  }
  return gridTokens(grid, fold);
}

const device = { device: "cpu", memory: "fast", threads: 1, host: "here" } as const;

type Config<Kind extends FeaturesConfig["encoder"]> = Extract<FeaturesConfig, { encoder: Kind }>;

async function diffusionEncoder(config: Config<"diffusion">): Promise<Encoder> {
  const { taps, timesteps, guidance, seed, ensemble, grid, untrained } = config;
  const scratch = untrained === undefined ? undefined : await mkdtemp(join(tmpdir(), "diffsight-untrained-"));
  const folder =
    scratch === undefined
      ? config.model
      : await withUntrainedUnet(modelPath(config.model), scratch, untrained!);
  const eye = await DiffusionEncoder.fromPretrained(folder, { ...device, passes: 1000 });
  const names = taps.length * timesteps.length === 1 ? undefined : nameOf;
  return {
    async see(image, prompt) {
      const request = { taps, timesteps, seed, ensemble, guidance: prompt === "" ? 0 : guidance };
      const { tensors } = await eye.encode(
        { ...image, channels: 3 },
        { ...request, ...(prompt !== "" && { prompt }) },
      );
      const seen = [...tensors].map(([name, grown]) => [
        names?.(name) ?? featureColumn,
        tokensOf(grown, grid),
      ]);
      return Object.fromEntries(seen) as Seen;
    },
    async release() {
      await eye.release();
      if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
    },
  };
}

/** "up-level1-repeat1-res-out/t50/guided" -> "up-level1-repeat1-res-out/t50" */
function nameOf(feature: string): string {
  return feature.split("/").slice(0, 2).join("/");
}

/** An encoder whose features are one graph of its pixels. */
async function graphEncoder(
  build: (pixels: Value) => Value,
  dims: readonly number[],
  prepare: (image: RgbImage) => Tensor,
  tokens: (features: Tensor) => Tensor,
): Promise<Encoder> {
  const engine = await Engine.open(device);
  const program = engine.compile({ features: build(input("pixels", dims)) });
  return {
    async see(image) {
      const { features } = await program.run({ pixels: prepare(image) });
      return { [featureColumn]: tokens(features!.reshape(features!.dims.slice(1))) };
    },
    release: () => engine.dispose(),
  };
}

async function clipEncoder(config: Config<"clip">): Promise<Encoder> {
  const folder = await openModel(config.model);
  const json = await folder.json<{ vision_config?: unknown }>("config.json");
  const network = json.vision_config ? readClipConfig(json).vision : readClipVisionConfig(json);
  const usual = readVisionEncoder({
    ...json,
    model_type: json.vision_config ? "clip" : "clip_vision_model",
  });
  const { notices, onProgress } = noticesTaken();
  const { config: preprocessor } = await readImageProcessor(folder, usual, onProgress);
  const w = Scope.of(await folder.checkpoint(""));
  const build = (pixels: Value) => {
    const { hiddenStates, imageEmbeds } = clipVision(w, network, pixels);
    if (config.layer === "embedding") {
      if (imageEmbeds) return reshape(imageEmbeds, [1, ...imageEmbeds.dims]);
      throw misuse("LAYER", `${config.model} has no visual_projection: its pictures have no embedding.`);
    }
    const state = hiddenStates.at(config.layer);
    if (state) return visionPatches(state);
    const count = hiddenStates.length;
    throw misuse("LAYER", `layer ${config.layer}: there are ${-count} to ${count - 1}, and "embedding".`);
  };
  const side = network.imageSize;
  const dims = [1, network.channels, side, side];
  const encoder = await graphEncoder(
    build,
    dims,
    (image) => networkPixels(image, preprocessor, undefined, { width: side, height: side }),
    (features) => features,
  );
  return { ...encoder, notices };
}

async function latentEncoder(config: Config<"latent">, side: number): Promise<Encoder> {
  const folder = await openModel(config.model);
  const network = readAutoencoderConfig(await folder.json("vae/config.json"));
  const w = Scope.of(await folder.checkpoint("vae"));
  return graphEncoder(
    (pixels) => encodeImage(w, network, pixels).mean,
    [1, 3, side, side],
    (image) => vaePixels(image),
    (features) => tokensOf(features, config.grid),
  );
}

async function describedFeatures({ as }: Config<"described">): Promise<Encoder> {
  const encoder = await openTokenEncoder(await encoderDescription(as));
  return {
    notices: encoder.notices,
    see: async (image, prompt, name) => ({ features: await encoder.see({ image, key: name }, prompt) }),
    release: () => encoder.release(),
  };
}

async function openEncoder(config: FeaturesConfig, pictures: Store): Promise<Encoder> {
  switch (config.encoder) {
    case "diffusion":
      return diffusionEncoder(config);
    case "clip":
      return clipEncoder(config);
    case "latent":
      return latentEncoder(config, sideOf(pictures));
    case "described":
      return describedFeatures(config);
    case "words":
      return {
        see: async () => ({ features: Tensor.f32([1, 1]) }),
        release: async () => {},
      };
  }
}

/** @throws misuse STORE_COLUMN where pictures have sizes of their own */
function sideOf({ columns, folder }: Store): number {
  const side = columns[pictureColumn]?.dims[0];
  if (side !== undefined) return side;
  throw misuse("STORE_COLUMN", `${folder}: latents need pictures of one size, as scenes are.`);
}

/** Whether each question of a picture has a row of its own. */
export const asksEach = (config: z.input<typeof featuresSchema>): boolean =>
  "prompt" in config && config.prompt === "question";

/** Which row of the pictures each row of features is about, and which of its questions: all, or one. */
export function plannedRows(pictures: Store, each: boolean): readonly PlannedFeature[] {
  return planFeatures(pictures, each).rows;
}

/** What is told of a picture. @throws misuse PROMPT_MISSING where a row has no such text */
function toldOf(
  prompt: "none" | "question" | "full" | "loose" | "caption" | "pseudo-caption",
  { questions, captions, pseudoCaption }: Subject,
  { row, question }: PlannedFeature,
): string {
  const texts = {
    none: "",
    full: captions.full,
    caption: captions.full,
    loose: captions.loose,
    question: questions[question ?? 0] ?? "",
    "pseudo-caption": pseudoCaption,
  };
  const text = texts[prompt];
  if (text === undefined) throw misuse("PROMPT_MISSING", `Row ${row} has no ${prompt}.`);
  return text;
}

/** The line of a row of features: what is asked of its picture. */
function lineOf(subject: Subject, { row, image, question }: PlannedFeature): AskedRow | object {
  if (subject.kind === "conversation") return { row, image, ...(question !== undefined && { question }) };
  const { questions, pair, unseen } = subject.line;
  return {
    questions: question === undefined ? questions : [questions[question]!],
    ...(pair !== undefined && { pair }),
    ...(unseen && { unseen }),
  };
}

/** Needs the data `pictures`: scenes with captions and questions, or conversations. */
export const producer = defineProducer<FeaturesConfig>({
  version: 1,
  config: featuresSchema as z.ZodType<FeaturesConfig>,

  async source(config) {
    if (config.encoder === "words") return "";
    if (config.encoder !== "described") return hashFolder(config.model);
    const { encoder, folder } = await encoderDescription(config.as);
    // Neither when it is told what nor what is done with its tokens changes them.
    const seeing = { ...encoder, conditioning: undefined, projector: undefined };
    return contentKey([seeing, await hashFolder(resolveModel(encoder.model, folder).source)]);
  },

  async open({ config, data }): Promise<Production> {
    const { pictures } = data;
    if (!pictures)
      throw misuse("DATA_MISSING", 'data: "pictures" is missing: features are made of pictures.');
    const planned = plannedRows(pictures, asksEach(config));
    const [start] = planned;
    if (!start) throw misuse("STORE_ROWS", `${pictures.folder} has no picture to make features of.`);
    const encoder = await openEncoder(config, pictures);
    const prompt = "prompt" in config ? config.prompt : "none";

    const seeAt = async (one: PlannedFeature) => {
      const subject = subjectOf(pictures, one.row);
      const image = await pictureOf(pictures, one.row, one.image);
      const told = toldOf(prompt, subject, one);
      return {
        seen: await encoder.see(image, told, subject.pictures[one.image]!),
        line: lineOf(subject, one),
      };
    };

    const { seen: first } = await seeAt(start);
    const columns = Object.fromEntries(
      Object.entries(first).map(([name, { dims }]) => [name, { dtype: "f16" as const, dims }]),
    );
    return {
      count: planned.length,
      columns,
      lines: true,
      ...(encoder.notices && { warnings: encoder.notices }),
      async make(from, to) {
        const made: Awaited<ReturnType<typeof seeAt>>[] = [];
        for (let i = from; i < to; i++) made.push(await seeAt(planned[i]!));
        const column = (name: string) =>
          stacked(made.map(({ seen }) => seen[name]!.reshape([1, ...columns[name]!.dims]))).to("f16");
        return {
          columns: Object.fromEntries(Object.keys(columns).map((name) => [name, column(name)])),
          lines: made.map(({ line }) => line),
        };
      },
      release: () => encoder.release(),
    };
  },
});
