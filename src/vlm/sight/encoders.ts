/** @file The encoders that a description names, each from a picture or a question to tokens. */

import { DiffusionEncoder, Memory } from "../../diffusion/index.js";
import type { CallOptions, Engine, EngineOptions } from "../../engine/index.js";
import { input, reshape } from "../../graph/index.js";
import { finalSize, networkPixels, withSide } from "../../image/index.js";
import {
  clipText,
  pooledIndex,
  readClipTextConfig,
  readVisionEncoder,
  visionTokens,
} from "../../models/index.js";
import { beginningOf, misuse, Tensor } from "../../tensor/index.js";
import {
  type ClipTokenizerFile,
  clipTokenizer,
  clipTokenizerFiles,
  type Truncation,
} from "../../text/index.js";
import { type ModelFolder, type OpenOptions, openModel, Scope } from "../../weights/index.js";
import type { ConditioningChoice } from "../conditioning.js";
import type { EncoderDescription } from "../description.js";
import type { StreamShape } from "../fusion/index.js";
import { diffusionEncoder } from "./diffusion.js";
import { readImageProcessor } from "./processor.js";
import type { DiffusionLook, Picture } from "./sight.js";

/** What an encoder is told with a picture. */
export interface Told extends ConditioningChoice {
  /** The cross-attentions that hear it. Default: the description's. */
  textLayers?: readonly string[];
}

/** One encoder, opened. */
export interface OpenEncoder {
  readonly shape: StreamShape;
  /**
   * [1, tokens, width]
   * @param told the text that steers diffusion, or that a text encoder reads
   */
  see(picture: Picture, told: Told, call?: CallOptions): Promise<Tensor>;
  /** Where the text made diffusion look; nothing when it is told none. Other kinds of encoders look nowhere. */
  look?(
    picture: Picture,
    told: Told,
    call?: CallOptions,
  ): Promise<Pick<DiffusionLook, "image" | "delta" | "words"> | undefined>;
  prepare(): Promise<void>;
}

type Kind<Name extends EncoderDescription["kind"]> = Extract<EncoderDescription, { kind: Name }>;

/** Where an encoder's model lies, as `openModel` takes it. */
export interface ModelSource {
  source: string;
  revision: string | undefined;
}

/** What a vision encoder and a text encoder keep of what they have seen. */
const memoryBytes = 64 * 2 ** 20;

/** Opens encoders on one engine; diffusion models, of which several may look with one, have engines of their own. */
export class EncoderOpener {
  readonly #diffusion = new Map<string, Promise<DiffusionEncoder>>();
  readonly #told = new Set<string>();

  constructor(
    readonly engine: Engine,
    readonly options: OpenOptions & EngineOptions,
  ) {}

  /** Tells the user something that was not asked for; each message once. */
  notify(name: string, message: string): void {
    if (this.#told.has(message)) return;
    this.#told.add(message);
    this.options.onProgress?.({ status: "notice", name, message });
  }

  /** Tells of texts that are longer than a model's text encoder reads. */
  #cutTeller({ source }: ModelSource): (truncation: Truncation) => void {
    return ({ tokens, limit, cut }) => {
      this.notify(
        source,
        `A text for ${source} has ${tokens} tokens, and its text encoder reads ${limit} (start and end included): ` +
          `it does not hear what begins with "${beginningOf(cut)}".`,
      );
    };
  }

  /** @throws DiffsightError what opening its model may raise; LAYER, TOKENS, UNKNOWN_TAP for what the model does not have */
  open(description: EncoderDescription, from: ModelSource): Promise<OpenEncoder> {
    switch (description.kind) {
      case "vision":
        return this.#vision(description, from);
      case "diffusion":
        return this.#eye(description, from);
      case "text":
        return this.#text(from);
    }
  }

  async release(): Promise<void> {
    for (const eye of this.#diffusion.values()) await (await eye).release();
  }

  async #vision(
    { layer, tokens: select, fit, size }: Kind<"vision">,
    from: ModelSource,
  ): Promise<OpenEncoder> {
    const folder = await this.#folder(from);
    const encoder = readVisionEncoder(await folder.json("config.json"));
    const own = (await readImageProcessor(folder, encoder, this.options.onProgress)).config;
    const preprocessor = size === undefined ? own : withSide(own, size, fit);
    const { width, height } = finalSize(preprocessor);
    const pixels = input("pixels", [1, encoder.channels, height, width]);
    const w = Scope.of(await folder.checkpoint(""));
    const tokens = visionTokens(encoder, encoder.states(w, pixels), { layer, select });
    const program = this.engine.compile({ tokens });
    const memory = new Memory(memoryBytes);
    const [, count, channels] = tokens.dims as [number, number, number];
    const grid = [Math.floor(height / encoder.patchSize), Math.floor(width / encoder.patchSize)] as const;
    return {
      shape: { tokens: count, width: channels, grid: select === "class" ? undefined : grid },
      async see({ image, key }, _, call = {}) {
        const seen = await memory.recall(key, () =>
          program.run({ pixels: networkPixels(image, preprocessor, fit) }, call),
        );
        return seen.tokens!;
      },
      prepare: () => program.prepare(),
    };
  }

  async #eye(description: Kind<"diffusion">, from: ModelSource): Promise<OpenEncoder> {
    const key = JSON.stringify(from);
    const opened = this.#diffusion.get(key) ?? this.#openEye(from);
    this.#diffusion.set(key, opened);
    const eye = await opened;
    return diffusionEncoder(eye, description, this.#cutTeller(from));
  }

  #openEye({ source, revision }: ModelSource): Promise<DiffusionEncoder> {
    return DiffusionEncoder.fromPretrained(source, { ...this.options, revision });
  }

  async #text(from: ModelSource): Promise<OpenEncoder> {
    const folder = await this.#folder(from);
    const isPipeline = await folder.has("model_index.json");
    const [component, tokenizerAt] = isPipeline ? ["text_encoder", "tokenizer/"] : ["", ""];
    const json = await folder.json<{ text_config?: unknown }>(
      isPipeline ? `${component}/config.json` : "config.json",
    );
    const config = readClipTextConfig(json.text_config ?? json);
    const files: Partial<Record<ClipTokenizerFile, string>> = {};
    for (const file of clipTokenizerFiles)
      if (await folder.has(`${tokenizerAt}${file}`)) files[file] = await folder.text(`${tokenizerAt}${file}`);
    const tokenizer = clipTokenizer(files);
    const onTruncate = this.#cutTeller(from);
    const ids = input("ids", [1, tokenizer.length], "i64");
    const { pooled } = clipText(
      Scope.of(await folder.checkpoint(component)),
      config,
      ids,
      input("end", [1], "i64"),
    );
    if (!pooled) throw misuse("CONFIG", `${folder.source} has no pooled text state.`);
    const program = this.engine.compile({ tokens: reshape(pooled, [1, 1, -1]) });
    const memory = new Memory(memoryBytes);
    return {
      shape: { tokens: 1, width: pooled.dims[1]!, grid: undefined },
      async see(_, { prompt }, call = {}) {
        const { ids } = tokenizer.encode(prompt, { onTruncate });
        const seen = await memory.recall(ids.join(), () =>
          program.run(
            { ids: Tensor.i64([1, ids.length], ids), end: Tensor.i64([1], [pooledIndex(ids, config)]) },
            call,
          ),
        );
        return seen.tokens!;
      },
      prepare: () => program.prepare(),
    };
  }

  #folder({ source, revision }: ModelSource): Promise<ModelFolder> {
    return openModel(source, { ...this.options, revision });
  }
}
