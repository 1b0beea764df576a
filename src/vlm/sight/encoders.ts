/** @file The encoders that a description names, each from a picture or a question to tokens. */

import { average, DiffusionEncoder, Memory } from "../../diffusion/index.js";
import type { CallOptions, Engine, EngineOptions } from "../../engine/index.js";
import { input, reshape } from "../../graph/index.js";
import { clipPixels, readPreprocessorConfig } from "../../image/index.js";
import {
  clipText,
  pooledIndex,
  readClipTextConfig,
  readVisionEncoder,
  visionTokens,
} from "../../models/index.js";
import { misuse, Tensor } from "../../tensor/index.js";
import { type ClipTokenizerFile, clipTokenizer, clipTokenizerFiles } from "../../text/index.js";
import { type ModelFolder, type OpenOptions, openModel, Scope } from "../../weights/index.js";
import type { ConditioningChoice } from "../conditioning.js";
import type { EncoderDescription } from "../description.js";
import type { StreamShape } from "../fusion/index.js";
import type { Picture } from "./sight.js";

/** One encoder, opened. */
export interface OpenEncoder {
  readonly shape: StreamShape;
  /**
   * [1, tokens, width]
   * @param choice the text that steers diffusion, or that a text encoder reads
   */
  see(picture: Picture, choice: ConditioningChoice, call?: CallOptions): Promise<Tensor>;
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

  constructor(
    readonly engine: Engine,
    readonly options: OpenOptions & EngineOptions,
  ) {}

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
    const file = await folder.json("preprocessor_config.json", true);
    const own = file ? readPreprocessorConfig(file) : encoder.preprocessor;
    const sized = size && { size: { height: size, width: size }, crop_size: { height: size, width: size } };
    const preprocessor = sized ? { ...own, ...sized } : own;
    const { width, height } = preprocessor.do_center_crop
      ? preprocessor.crop_size
      : "width" in preprocessor.size
        ? preprocessor.size
        : preprocessor.crop_size;
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
          program.run({ pixels: clipPixels(image, preprocessor, fit) }, call),
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
    const { tap, timestep, part, fit, size, textLayers, seed, ensemble, vae, pool } = description;
    const [info] = (await eye.taps(size === undefined ? {} : { size })).filter(
      ({ id, short }) => id === tap.toLowerCase() || short.toLowerCase() === tap.toLowerCase(),
    );
    if (info?.dims.length !== 3)
      throw misuse(
        "UNKNOWN_TAP",
        `${from.source} has no grid of features called "${tap}": \`diffsight taps\` lists them.`,
      );
    const [width, height, across] = info.dims as unknown as [number, number, number];
    const grid = pool === undefined ? ([height, across] as const) : ([pool, pool] as const);
    const timesteps = [timestep].flat();
    return {
      shape: { tokens: grid[0] * grid[1], width, grid },
      async see({ image }, { prompt, guidance }, { signal } = {}) {
        const told = prompt !== "";
        const seen = await eye.encode(
          { ...image, channels: 3 },
          {
            taps: [tap],
            timesteps,
            // Without a text all parts but the difference are the unconditional one.
            parts: [part],
            guidance: told ? guidance : 0,
            ...((told || part === "delta" || part === "conditional") && { prompt }),
            ...(size !== undefined && { size }),
            ...(pool !== undefined && { pool }),
            ...(textLayers && { textLayers }),
            fit,
            seed,
            ensemble,
            vae,
            signal,
          },
        );
        const mean = average([...seen.tensors.values()]);
        return tokensOfGrid(mean);
      },
      prepare: async () => {},
    };
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
        const { ids } = tokenizer.encode(prompt);
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

/** [C, H, W] -> [1, H W, C] */
function tokensOfGrid(grid: Tensor): Tensor {
  const [channels, height, width] = grid.dims as [number, number, number];
  const places = height * width;
  const values = grid.toFloat32();
  const tokens = new Float32Array(values.length);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < places; i++) tokens[i * channels + c] = values[c * places + i]!;
  return Tensor.f32([1, places, channels], tokens);
}
