/** @file Seeing as LLaVA sees: one vision encoder and a projector, the same for every question. */

import { Memory } from "../../diffusion/index.js";
import type { CallOptions, Engine, Program } from "../../engine/index.js";
import { input, reshape } from "../../graph/index.js";
import { type Fit, finalSize, networkPixels } from "../../image/index.js";
import type { Tensor } from "../../tensor/index.js";
import { type Llava, llavaImageFeatures } from "../llava-open.js";
import type { Picture, Sight } from "./sight.js";

const memoryBytes = 128 * 2 ** 20;

export class LlavaSight implements Sight {
  readonly width: number;
  readonly tokens: number;
  readonly #llava: Llava;
  readonly #program: Program;
  readonly #fit: Fit;
  readonly #memory = new Memory(memoryBytes);

  /** @param fit in place of what the checkpoint's config says */
  constructor(engine: Engine, llava: Llava, fit: Fit = llava.vision.fit) {
    this.#llava = llava;
    this.#fit = fit;
    this.width = llava.projector.config.to;
    const { encoder, preprocessor } = llava.vision;
    const { width, height } = finalSize(preprocessor);
    const pixels = input("pixels", [1, encoder.channels, height, width]);
    const rows = reshape(llavaImageFeatures(llava, pixels), [-1, this.width]);
    this.tokens = rows.dims[0]!;
    this.#program = engine.compile({ rows });
  }

  steered(): string {
    return "";
  }

  async rows({ image, key }: Picture, _: unknown, call: CallOptions = {}): Promise<Tensor> {
    const seen = await this.#memory.recall(key, () =>
      this.#program.run({ pixels: networkPixels(image, this.#llava.vision.preprocessor, this.#fit) }, call),
    );
    return seen.rows!;
  }

  told(): [] {
    return [];
  }

  async looks(): Promise<[]> {
    return [];
  }

  prepare(): Promise<void> {
    return this.#program.prepare();
  }

  release(): Promise<void> {
    return this.#program.release();
  }
}
