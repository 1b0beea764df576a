/** @file Opening a LLaVA: its three networks as checkpoints of their own, whichever layout the folder has. */

import type { Value } from "../graph/index.js";
import { type Fit, finalSize, type PreprocessorConfig, usualFit } from "../image/index.js";
import { readLanguageConfig, readVisionEncoder, type VisionEncoder, visionTokens } from "../models/index.js";
import { DiffsightError, failure, misuse } from "../tensor/index.js";
import { type Checkpoint, type ModelFolder, type OpenOptions, openModel, Scope } from "../weights/index.js";
import { type LlavaConfig, readLlavaConfig } from "./llava-config.js";
import { type LlavaComponent, llavaCheckpoint } from "./llava-keys.js";
import { type ProjectorConfig, projector } from "./projector.js";
import { readImageProcessor } from "./sight/processor.js";

export interface LlavaOptions extends OpenOptions {
  /** The vision encoder's folder or id, in place of what the original's config.json names. */
  vision?: string | undefined;
  /** The language model's, for folders that hold a projector alone. Default: what config.json was made from. */
  language?: string | undefined;
}

/** What is read of a LLaVA before anything runs: configs and headers. */
export interface Llava {
  config: LlavaConfig;
  vision: {
    encoder: VisionEncoder;
    checkpoint: Checkpoint;
    preprocessor: PreprocessorConfig;
    /** How pictures are brought to size. */
    fit: Fit;
  };
  projector: { config: ProjectorConfig; checkpoint: Checkpoint };
  /** Its keys are those of the language model alone; its folder holds the tokenizer. */
  language: { config: Record<string, unknown>; checkpoint: Checkpoint; folder: ModelFolder };
}

/**
 * @param folder transformers' layout, the original one, or the original's first stage: `mm_projector.bin` and config.json
 * @throws DiffsightError CONFIG, WEIGHT_MISSING; what opening the vision encoder and the language model may raise
 */
export async function openLlava(folder: ModelFolder, options: LlavaOptions = {}): Promise<Llava> {
  // A revision is the LLaVA's own, not that of the networks that it names.
  const { vision: visionSource, language: languageSource, revision: _, ...open } = options;
  const config = readLlavaConfig(await folder.json("config.json"));
  // LLaVA 1.5's folders hold both: all weights, and the first stage's projector that nobody needs any more.
  const all = await allWeights(folder);
  const whole = all ?? (await folder.weightFile("mm_projector.bin"));
  const language = all
    ? { config: config.language, checkpoint: component(all, "language"), folder }
    : await openLanguage(languageSource ?? config.language._name_or_path, folder, open);
  const vision =
    "config" in config.vision
      ? { encoder: readVisionEncoder(config.vision.config), folder, own: component(whole, "vision") }
      : await openVision(visionSource ?? config.vision.source, folder, open, whole);
  if (config.layout === "transformers") checkSelection(config, vision.encoder);
  const { config: preprocessor } = await readImageProcessor(vision.folder, vision.encoder, open.onProgress);
  checkPictures(vision.encoder, preprocessor);
  return {
    config,
    vision: {
      encoder: vision.encoder,
      checkpoint: vision.own,
      preprocessor,
      fit: config.fit ?? usualFit(preprocessor),
    },
    projector: {
      config: {
        type: config.projector,
        from: vision.encoder.hiddenSize * [config.tokens.layer].flat().length,
        to: readLanguageConfig(language.config).hiddenSize,
      },
      checkpoint: config.projector === "identity" ? whole : component(whole, "projector"),
    },
    language,
  };
}

/** transformers counts tokens from the first, whatever they are: its "default" drops one, and keeps registers as patches. */
function checkSelection({ tokens }: LlavaConfig, { kind, classTokens, registers }: VisionEncoder): void {
  const refuse = (why: string) => failure("CONFIG", `LLaVA's config.json is not supported: ${why}`);
  if (registers > 0) throw refuse(`vision_config: ${kind} with registers, which LLaVA takes for patches`);
  if (classTokens === 0 && tokens.select === "patches")
    throw refuse(`vision_feature_select_strategy "default" drops a patch of ${kind}; "full" keeps all`);
}

/** Positions of CLIP and SigLIP belong to pictures of one size; DINOv2 stretches its own. */
function checkPictures({ kind, imageSize }: VisionEncoder, preprocessor: PreprocessorConfig): void {
  const { width, height } = finalSize(preprocessor);
  if (kind === "dinov2" || (width === imageSize && height === imageSize)) return;
  throw failure(
    "CONFIG",
    `LLaVA's pictures do not fit: its image processor makes them ${width} x ${height}, its ${kind} was taught on ${imageSize} x ${imageSize}.`,
  );
}

/** Undefined where there are none, but a projector alone. @throws WEIGHTS_MISSING where there is neither */
async function allWeights(folder: ModelFolder): Promise<Checkpoint | undefined> {
  try {
    return await folder.checkpoint("");
  } catch (error) {
    const isMissing = error instanceof DiffsightError && error.code === "WEIGHTS_MISSING";
    if (!isMissing || !(await folder.has("mm_projector.bin"))) throw error;
    return undefined;
  }
}

function component(whole: Checkpoint, wanted: LlavaComponent): Checkpoint {
  const found = llavaCheckpoint(whole, wanted);
  if (found) return found;
  const names = { vision: "vision encoder", projector: "projector", language: "language model" };
  throw misuse("WEIGHT_MISSING", `${whole.name} holds no tensor of a ${names[wanted]}.`);
}

async function openLanguage(
  source: unknown,
  folder: ModelFolder,
  open: OpenOptions,
): Promise<Llava["language"]> {
  if (typeof source !== "string" || source === "") {
    throw misuse("MODEL_MISSING", `${folder.source} holds a projector alone: name its language model.`);
  }
  const model = await openModel(source, open);
  return { config: await model.json("config.json"), checkpoint: await model.checkpoint(""), folder: model };
}

/** A tower trained along lies in the whole; else, as in LLaVA 1.5, where it came from; "./" is the LLaVA's own folder. */
async function openVision(source: string, folder: ModelFolder, open: OpenOptions, whole: Checkpoint) {
  const model = await openModel(
    source.startsWith("./") ? `${folder.source}/${source.slice(2)}` : source,
    open,
  );
  const encoder = readVisionEncoder(await model.json("config.json"));
  const own = llavaCheckpoint(whole, "vision") ?? (await model.checkpoint(""));
  return { encoder, folder: model, own };
}

/**
 * Pictures as the language model sees them: pixels [N, 3, H, W], normalised -> [N, T, width]
 * @throws DiffsightError WEIGHT_MISSING, WEIGHT_SHAPE, IMAGE_SIZE
 */
export function llavaImageFeatures({ config, projector: own, vision }: Llava, pixels: Value): Value {
  const states = vision.encoder.states(Scope.of(vision.checkpoint), pixels);
  const tokens = visionTokens(vision.encoder, states, config.tokens);
  return projector(Scope.of(own.checkpoint).at("mm_projector"), own.config, tokens);
}
