/**
 * @file An encoder's tokens of a row's picture: from stores, or seen now. Both give the same numbers; what a text changes
 * is weighed here, so that any guidance and any dropout costs no new pass.
 */

import type { Store, Stores } from "../../data/index.js";
import { guide } from "../../diffusion/index.js";
import type { RgbImage } from "../../image/index.js";
import { misuse, type Tensor } from "../../tensor/index.js";
import { type EncoderDescription, parseDescription } from "../../vlm/index.js";
import { type FeaturePlan, featureColumn, planFeatures } from "../subjects.js";
import { openTokenEncoder, type TokenEncoder } from "../token-encoder.js";
import type { SpeakerTraining } from "./config.js";

/** Which text an encoder is told, and how much it counts. */
export interface Told {
  kind: "question" | "caption" | "noisy-caption" | "pseudo-caption";
  text: string;
  /** Of a question its place in the row. */
  question?: number;
  /** s of f_u + s (f_c - f_u). */
  guidance: number;
}

/** Which picture of which row. */
export interface Place {
  row: number;
  image: number;
  /** Equal pictures have equal names. */
  name: string;
  picture(): Promise<RgbImage>;
}

/** Where an encoder's tokens [tokens, width] come from. */
interface Source {
  /** What the user is to be told of how the encoder was opened. */
  readonly notices: readonly string[];
  tokens(place: Place, told: Told | undefined): Promise<Tensor> | Tensor;
  release(): Promise<void>;
}

export class Stream {
  constructor(
    readonly encoder: EncoderDescription,
    readonly source: Source,
  ) {}

  get notices(): readonly string[] {
    return this.source.notices;
  }

  /** [tokens, width] */
  async row(place: Place, told: Told | undefined): Promise<Tensor> {
    const { encoder, source } = this;
    if (!told) return source.tokens(place, undefined);
    if (encoder.kind !== "diffusion" || encoder.part !== "guided") return source.tokens(place, told);
    if (told.guidance === 0) return source.tokens(place, undefined);
    const conditional = await source.tokens(place, told);
    const unconditional = await source.tokens(place, undefined);
    return guide(unconditional, conditional, told.guidance);
  }
}

const splits = ["train", "validation"] as const;
export type Split = (typeof splits)[number];

/**
 * The streams of one split. Stores are named by encoder, text and split: "sd", "sd-question", "sd-validation",
 * "sd-question-validation"; an encoder without any sees in this process.
 */
export function openStreams(
  config: SpeakerTraining,
  data: Stores,
  split: Split,
  pictures: Store,
): Map<string, Stream> {
  if (config.sight === undefined) return new Map();
  const { encoders } = parseDescription(config.sight);
  return new Map(
    Object.entries(encoders).map(([name, encoder]) => {
      const stored = storesOf(data, name, split);
      const shape = config.streams[name]!;
      return [
        name,
        new Stream(encoder, stored ? new Stored(stored, pictures, shape) : new Seen(encoder, name, shape)),
      ];
    }),
  );
}

/** By what was told; "" for nothing. */
type TextStores = { plain: Store } & Partial<Record<Told["kind"], Store>>;

function storesOf(data: Stores, name: string, split: Split): TextStores | undefined {
  const ending = split === "train" ? "" : "-validation";
  const named = (text: string) => data[`${name}${text}${ending}`];
  const told = ["question", "caption", "pseudo-caption"] as const;
  const texts = told.flatMap((text) => {
    const store = named(`-${text}`);
    return store ? [[text, store] as const] : [];
  });
  const plain = named("");
  if (plain) return { plain, ...Object.fromEntries(texts) };
  if (texts.length === 0) return undefined;
  throw misuse(
    "DATA_MISSING",
    `data: "${name}${ending}" is missing beside "${name}-${texts[0]![0]}${ending}".`,
  );
}

/** What stages of features have made. */
class Stored implements Source {
  readonly notices: readonly string[] = [];
  readonly #plain: FeaturePlan;
  readonly #question: FeaturePlan | undefined;

  constructor(
    readonly stores: TextStores,
    pictures: Store,
    shape: { tokens: number; width: number },
  ) {
    this.#plain = planFeatures(pictures, false);
    this.#question = stores.question && planFeatures(pictures, true);
    for (const [text, store] of Object.entries(stores)) {
      const rows = (text === "question" ? this.#question! : this.#plain).rows.length;
      const what = text === "question" ? "questions" : "pictures";
      if (store.rows !== rows)
        throw misuse("STORE_ROWS", `${store.folder} has ${store.rows} rows for ${rows} ${what}.`);
      const [tokens, width] = store.columns[featureColumn]?.dims ?? [];
      if (tokens === shape.tokens && width === shape.width) continue;
      const found = tokens === undefined ? `no column "${featureColumn}"` : `tokens [${tokens}, ${width}]`;
      throw misuse(
        "STORE_COLUMN",
        `${store.folder} has ${found}, not [${shape.tokens}, ${shape.width}] as the encoder gives.`,
      );
    }
  }

  tokens({ row, image }: Place, told: Told | undefined): Tensor {
    const { stores } = this;
    if (!told) return stores.plain.row(featureColumn, this.#plain.at(row, image)!);
    const store = stores[told.kind];
    if (!store)
      throw misuse(
        "DATA_MISSING",
        `${stores.plain.folder}: there are no features that were told the ${told.kind}. Without any store of this ` +
          "encoder it sees while the task learns.",
      );
    const at =
      told.kind === "question" ? this.#question!.at(row, image, told.question) : this.#plain.at(row, image);
    return store.row(featureColumn, at!);
  }

  async release(): Promise<void> {}
}

/** The encoder itself, opened when it is first needed. */
class Seen implements Source {
  notices: readonly string[] = [];
  #opened: Promise<TokenEncoder> | undefined;

  constructor(
    readonly encoder: EncoderDescription,
    readonly name: string,
    readonly shape: { tokens: number; width: number },
  ) {}

  async #open(): Promise<TokenEncoder> {
    const opened = await openTokenEncoder({ encoder: this.encoder, folder: "." });
    const { tokens, width } = opened.shape;
    if (tokens === this.shape.tokens && width === this.shape.width) {
      this.notices = opened.notices;
      return opened;
    }
    await opened.release();
    throw misuse(
      "STREAM",
      `streams.${this.name} is [${this.shape.tokens}, ${this.shape.width}], its encoder gives [${tokens}, ${width}].`,
    );
  }

  async tokens(place: Place, told: Told | undefined): Promise<Tensor> {
    const encoder = await (this.#opened ??= this.#open());
    const image = await place.picture();
    return encoder.see({ image, key: place.name }, told?.text ?? "");
  }

  async release(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined);
    await opened?.release();
  }
}
