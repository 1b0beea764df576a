/** @file Attention of an existing image, word by word. */

import { mean } from "../graph/index.js";
import { type ImageInput, interpolate, type RgbImage } from "../image/index.js";
import { misuse, Tensor } from "../tensor/index.js";
import type { EncodedPrompt, TokenWord, Truncation } from "../text/index.js";
import { average } from "./arithmetic.js";
import { checkSeed, checkTimesteps, type Eye, type ImageOptions } from "./eye.js";
import type { Tensors } from "./memory.js";
import { crossAttentions } from "./taps.js";

export interface AttendOptions extends ImageOptions {
  prompt: string;
  /** Literal indices into ᾱ. Default [50]. */
  timesteps?: readonly number[];
  /** Cross-attentions to average over, as `U-L1-R1-B0-Cross` (any tap of one names it). Default: all. */
  layers?: readonly string[];
  /** Keeps each layer's own maps too. */
  perLayer?: boolean;
  truncate?: "cut" | "error";
  onTruncate?: (truncation: Truncation) => void;
}

/** Where each token of a prompt looks in an image. */
export class WordMaps {
  constructor(
    /** One map a token of the prompt, padding included: [T, h, w], each the mean over layers, heads and timesteps. */
    readonly tokens: Tensor,
    readonly encoded: EncodedPrompt,
    /** `layers/<long tap id without -map>/t<t>` -> [T, h, w] of that layer's own grid; empty unless asked for. */
    readonly layers: ReadonlyMap<string, Tensor>,
    /** The picture as the network saw it. */
    readonly image: RgbImage,
    readonly request: Readonly<Record<string, unknown>>,
    readonly find: (phrase: string) => TokenWord[],
  ) {}

  /** Words of the prompt in order, with the positions of their tokens. */
  get words(): readonly TokenWord[] {
    return this.encoded.words;
  }

  /** The map of the token at a position; the start token is at 0. [h, w] */
  token(position: number): Tensor {
    return this.#mean(position, position + 1);
  }

  /** Mean over the sub-tokens of a word, [h, w]. */
  of({ start, end }: TokenWord): Tensor {
    return this.#mean(start, end);
  }

  /**
   * The map of a word or phrase of the prompt, [h, w]; of several occurrences the first.
   * @throws DiffsightError UNKNOWN_WORD that lists the prompt's words
   */
  word(phrase: string): Tensor {
    const [first] = this.find(phrase);
    if (!first) {
      const words = this.words.map(({ text }) => text).join(", ");
      throw misuse("UNKNOWN_WORD", `"${phrase}" is not in the prompt. Its words: ${words}.`);
    }
    return this.of(first);
  }

  get start(): Tensor {
    return this.token(0);
  }

  get end(): Tensor {
    return this.token(this.encoded.tokens - 1);
  }

  /** Mean over the padding. @throws DiffsightError UNKNOWN_WORD when the prompt fills every place */
  get padding(): Tensor {
    const { tokens, ids } = this.encoded;
    if (tokens === ids.length)
      throw misuse("UNKNOWN_WORD", "The prompt fills every place: there is no padding.");
    return this.#mean(tokens, ids.length);
  }

  #mean(from: number, to: number): Tensor {
    const [, height, width] = this.tokens.dims;
    const cells = height! * width!;
    const all = this.tokens.toFloat32();
    const rows = Array.from({ length: to - from }, (_, i) =>
      Tensor.f32([height!, width!], all.subarray((from + i) * cells, (from + i + 1) * cells)),
    );
    return average(rows);
  }
}

export async function attendImage(
  eye: Eye,
  input: ImageInput,
  options: AttendOptions,
  described: Readonly<Record<string, unknown>>,
): Promise<WordMaps> {
  const {
    prompt,
    timesteps = [50],
    layers,
    perLayer = false,
    seed = 0,
    vae = "mean",
    signal,
    onProgress,
  } = options;
  const { truncate = "cut", onTruncate } = options;
  const call = { signal, truncate, ...(onTruncate && { onTruncate }) };
  checkTimesteps(timesteps, eye.pipeline.schedule.alphasCumprod.length);
  checkSeed(seed);
  const subject = await eye.subject(input, options);
  const taps = await eye.taps(subject.latent);
  const chosen = crossAttentions(taps, layers, "map");
  const encoder = await eye.textEncoder();
  const encoded = encoder.tokenize(prompt, { truncate });

  onProgress?.({ phase: "text", done: 0, total: 1 });
  await eye.text(prompt, call);
  await eye.leave(encoder);
  onProgress?.({ phase: "image", done: 0, total: 1 });
  await eye.posterior(subject, call);
  await eye.leave(await eye.autoencoder());

  const ids = chosen.map(({ id }) => id);
  const passes = await eye.passes(subject.latent, `heads:${ids.join()}`, (find) =>
    Object.fromEntries(ids.map((id) => [id, mean(find(id).value, 1)])),
  );
  const [, , height, width] = subject.latent as [number, number, number, number];
  const kept = new Map<string, Tensor>();
  const overTime: Tensor[] = [];
  for (const [i, t] of timesteps.entries()) {
    onProgress?.({ phase: "unet", done: i, total: timesteps.length });
    const results: Tensors = await eye.see(passes, { subject, t, seed, vae }, prompt, call);
    const maps = ids.map((id) => {
      const queries = taps.find((tap) => tap.id === id.replace(/map$/, "q"))!.value.dims;
      const own = tokensFirst(results[id]!, queries[2]!, queries[3]!);
      if (perLayer) kept.set(`layers/${id.replace(/-map$/, "")}/t${t}`, own);
      const wide = interpolate(own, [height, width], "bicubic");
      return Tensor.f32(
        wide.dims,
        wide.toFloat32().map((value) => Math.max(0, value)),
      );
    });
    overTime.push(average(maps));
  }
  onProgress?.({ phase: "unet", done: timesteps.length, total: timesteps.length });
  const request = {
    ...described,
    prompt,
    timesteps,
    layers: ids.map((id) => id.replace(/-map$/, "")),
    seed,
    vae,
    size: [width * eye.factor, height * eye.factor],
    fit: options.fit ?? "squash",
  };
  const find = (phrase: string) => encoder.towers[0]!.tokenizer.find(encoded, phrase);
  return new WordMaps(average(overTime), encoded, kept, subject.image, request, find);
}

/** [1, 1, h w, T] -> [T, h, w] */
function tokensFirst(map: Tensor, height: number, width: number): Tensor {
  const tokens = map.dims.at(-1)!;
  const cells = height * width;
  const from = map.toFloat32();
  const data = new Float32Array(from.length);
  for (let cell = 0; cell < cells; cell++) {
    for (let token = 0; token < tokens; token++) data[token * cells + cell] = from[cell * tokens + token]!;
  }
  return Tensor.f32([tokens, height, width], data);
}
