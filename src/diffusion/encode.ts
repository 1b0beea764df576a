/** @file Features of an image: unconditional, conditional, their difference, and guided. */

import { type ImageInput, poolGrid } from "../image/index.js";
import { misuse, type Tensor } from "../tensor/index.js";
import type { Truncation } from "../text/index.js";
import { average, difference, guide } from "./arithmetic.js";
import { checkSeed, checkTimesteps, type Eye, type ImageOptions, type Look } from "./eye.js";
import type { Tensors } from "./memory.js";
import { findTap, normalizeId, type Tap } from "./taps.js";

export const parts = ["guided", "conditional", "unconditional", "delta"] as const;
export type Part = (typeof parts)[number];

/** The paper's best tap: queries of the second cross-attention of the second level of the up path. */
export const defaultTap = "up-level1-repeat1-vit-block0-cross-q";

export interface EncodeOptions extends ImageOptions {
  /** What to look for: one text, or one an image. Without it the empty prompt. */
  prompt?: string | readonly string[] | undefined;
  /** Tap names in any spelling. Default: `U-L1-R1-B0-Cross-Q`. */
  taps?: readonly string[];
  /** Literal indices into ᾱ. Default [50]. */
  timesteps?: readonly number[];
  /** s of f_u + s (f_c - f_u). Default 4 with a prompt, else 0. */
  guidance?: number | undefined;
  /** Default ["guided"]. */
  parts?: readonly Part[];
  /**
   * The cross-attentions that hear the prompt (`U-L1-*`, `U-L1-R1-B0-Cross`); all others see the empty prompt, and so
   * does SDXL's pooled vector. None for an empty list. Default: all.
   */
  textLayers?: readonly string[] | undefined;
  /** Averages the features over this many draws of noise. Default 1. */
  ensemble?: number;
  /** Brings every grid to this many cells each way. */
  pool?: number | undefined;
  /** A prompt that is too long is cut (default), or an error. */
  truncate?: "cut" | "error";
  onTruncate?: (truncation: Truncation) => void;
}

/** The features of one image. */
export class Features {
  constructor(
    /** `<long tap id>/t<timestep>/<part>` -> [C, H, W]; keys and values over the text [T, C]; maps [heads, queries, keys] */
    readonly tensors: ReadonlyMap<string, Tensor>,
    /** Everything that decided the numbers. */
    readonly request: Readonly<Record<string, unknown>>,
  ) {}

  /** The only tensor, [1, C, H, W]. @throws DiffsightError SEVERAL_FEATURES when more than one was asked for */
  get features(): Tensor {
    const [first, ...others] = this.tensors.values();
    if (!first || others.length > 0) {
      throw misuse(
        "SEVERAL_FEATURES",
        `There are ${this.tensors.size}: get(tap, { timestep, part }) takes one.`,
      );
    }
    return first.reshape([1, ...first.dims]);
  }

  /**
   * One tensor, [1, C, H, W]. What was asked for once only need not be named.
   * @throws DiffsightError UNKNOWN_FEATURE that lists what there is
   */
  get(tap: string, { timestep, part }: { timestep?: number; part?: Part } = {}): Tensor {
    const id = normalizeId(tap);
    const fits = [...this.tensors].filter(([key]) => {
      const [keyTap, keyTime, keyPart] = key.split("/");
      const rightTime = timestep === undefined || keyTime === `t${timestep}`;
      return keyTap === id && rightTime && (part === undefined || keyPart === part);
    });
    if (fits.length !== 1) {
      const names = [...this.tensors.keys()].join(", ");
      const what = fits.length === 0 ? "No feature is" : "More than one feature is";
      throw misuse(
        "UNKNOWN_FEATURE",
        `${what} "${tap}"${timestep === undefined ? "" : ` at t ${timestep}`}${part ? `, ${part}` : ""}. There are: ${names}.`,
      );
    }
    const tensor = fits[0]![1];
    return tensor.reshape([1, ...tensor.dims]);
  }
}

interface Plan {
  taps: readonly Tap[];
  timesteps: readonly number[];
  guidance: number;
  parts: readonly Part[];
  needs: { unconditional: boolean; conditional: boolean };
}

/** Checks a request before any work is done. */
function plan(
  taps: readonly Tap[],
  prompt: string | undefined,
  options: EncodeOptions,
  trained: number,
): Plan {
  const { timesteps = [50], parts: wanted = ["guided"], ensemble = 1, pool } = options;
  const guidance = options.guidance ?? (prompt === undefined ? 0 : 4);
  if (!Number.isFinite(guidance)) throw misuse("GUIDANCE", `guidance must be a number, not ${guidance}.`);
  for (const part of wanted) {
    if (!parts.includes(part))
      throw misuse("PART", `Unknown part "${part}": allowed are ${parts.join(", ")}.`);
  }
  for (const [name, value] of [
    ["ensemble", ensemble],
    ["pool", pool ?? 1],
  ] as const) {
    if (!Number.isInteger(value) || value < 1 || value > 4096) {
      throw misuse("RANGE", `${name} must be a whole number from 1 to 4096, not ${value}.`);
    }
  }
  const guided = wanted.includes("guided");
  const needs = {
    unconditional: wanted.includes("unconditional") || wanted.includes("delta") || (guided && guidance !== 1),
    conditional: wanted.includes("conditional") || wanted.includes("delta") || (guided && guidance !== 0),
  };
  if (needs.conditional && prompt === undefined) {
    const parts = wanted.filter((part) => part === "conditional" || part === "delta");
    const what = parts.length > 0 ? `The part ${parts.join(" and ")}` : `Guidance ${guidance}`;
    throw misuse("PROMPT", `${what} needs a prompt.`);
  }
  for (const tap of taps) {
    if (tap.kind === "map" && wanted.some((part) => part === "guided" || part === "delta")) {
      throw misuse("GUIDED_MAP", `${tap.id} is a map: it has the parts conditional and unconditional only.`);
    }
  }
  return { taps, timesteps: checkTimesteps(timesteps, trained), guidance, parts: wanted, needs };
}

/** Features of each image; texts first, then pictures, then passes, so that each part's weights are needed once. */
export async function encodeImages(
  eye: Eye,
  images: readonly ImageInput[],
  options: EncodeOptions,
  described: Readonly<Record<string, unknown>>,
): Promise<Features[]> {
  const {
    seed = 0,
    ensemble = 1,
    vae = "mean",
    signal,
    onProgress,
    truncate = "cut",
    onTruncate,
    pool,
    textLayers,
  } = options;
  const prompts = promptsOf(options.prompt, images.length);
  const call = { signal, truncate, ...(onTruncate && { onTruncate }) };
  const names = options.taps ?? [defaultTap];
  checkSeed(seed);
  if (vae !== "mean" && vae !== "sample") throw misuse("VAE", `vae must be mean or sample, not "${vae}".`);

  const results: Features[] = [];
  const subjects = [];
  for (const image of images) subjects.push(await eye.subject(image, options));

  const plans: Plan[] = [];
  for (const [i, subject] of subjects.entries()) {
    const taps = await eye.taps(subject.latent, textLayers);
    const found = names.map((name) => findTap(taps, name));
    plans.push(plan(found, prompts[i], options, eye.pipeline.schedule.alphasCumprod.length));
  }

  // 1. Texts
  const texts = new Set<string>();
  plans.forEach(({ taps, needs }, i) => {
    if (taps.every(({ textFree }) => textFree)) return;
    if (needs.conditional) texts.add(prompts[i]!);
    if (needs.unconditional) texts.add("");
  });
  let done = 0;
  for (const text of texts) {
    onProgress?.({ phase: "text", done: done++, total: texts.size });
    await eye.text(text, call);
  }
  await eye.leave(await eye.textEncoder());

  // 2. Pictures
  for (const [i, subject] of subjects.entries()) {
    onProgress?.({ phase: "image", done: i, total: subjects.length });
    await eye.posterior(subject, { signal });
  }
  await eye.leave(await eye.autoencoder());

  // 3. Passes
  const total = plans.reduce((sum, { timesteps, needs }) => {
    return sum + timesteps.length * ensemble * (Number(needs.unconditional) + Number(needs.conditional));
  }, 0);
  done = 0;
  for (const [i, subject] of subjects.entries()) {
    const { taps, timesteps, guidance, parts: wanted, needs } = plans[i]!;
    const passes = await eye.passes(
      subject.latent,
      taps.map(({ id }) => id).join(),
      (find) => Object.fromEntries(taps.map(({ id }) => [id, find(id).value])),
      textLayers,
    );
    const tensors = new Map<string, Tensor>();
    const byTime = new Map<number, Record<Part, Tensors | undefined>>();
    for (const t of timesteps) {
      const draws: { u: Tensors | undefined; c: Tensors | undefined }[] = [];
      for (let k = 0; k < ensemble; k++) {
        const look: Look = { subject, t, seed: seed + k, vae };
        const pass = async (text: string) => {
          onProgress?.({ phase: "unet", done: done++, total });
          return eye.see(passes, look, text, call);
        };
        const u = needs.unconditional ? await pass("") : undefined;
        const c = needs.conditional ? await pass(prompts[i]!) : undefined;
        draws.push({ u, c });
      }
      byTime.set(t, combine(taps, draws, guidance, wanted));
    }
    for (const { id, kind } of taps) {
      for (const t of timesteps) {
        for (const part of wanted) {
          const tensor = byTime.get(t)![part]![id]!;
          const single = tensor.reshape(tensor.dims.slice(1));
          tensors.set(
            `${id}/t${t}/${part}`,
            pool !== undefined && kind === "grid" ? poolGrid(single, pool) : single,
          );
        }
      }
    }
    const size = [subject.latent[3]! * eye.factor, subject.latent[2]! * eye.factor];
    const request = {
      ...described,
      prompt: prompts[i] ?? null,
      taps: taps.map(({ id }) => id),
      timesteps,
      guidance,
      parts: wanted,
      seed,
      ensemble,
      vae,
      size,
      fit: options.fit ?? "squash",
      pool: pool ?? null,
      ...(textLayers && { textLayers }),
    };
    results.push(new Features(tensors, request));
  }
  onProgress?.({ phase: "unet", done: total, total });
  return results;
}

/** One prompt an image. @throws DiffsightError PROMPT when there are as many neither as images nor one */
export function promptsOf(prompt: EncodeOptions["prompt"], images: number): (string | undefined)[] {
  if (prompt === undefined || typeof prompt === "string") return Array(images).fill(prompt);
  if (prompt.length !== images)
    throw misuse("PROMPT", `${prompt.length} prompts for ${images} images: give one, or one an image.`);
  return [...prompt];
}

function combine(
  taps: readonly Tap[],
  draws: readonly { u: Tensors | undefined; c: Tensors | undefined }[],
  guidance: number,
  wanted: readonly Part[],
): Record<Part, Tensors | undefined> {
  const result: Record<Part, Record<string, Tensor> | undefined> = {
    guided: undefined,
    conditional: undefined,
    unconditional: undefined,
    delta: undefined,
  };
  for (const { id } of taps) {
    const mean = (side: "u" | "c") =>
      draws[0]![side] ? average(draws.map((draw) => draw[side]![id]!)) : undefined;
    const u = mean("u");
    const c = mean("c");
    const made: Record<Part, () => Tensor> = {
      unconditional: () => u!,
      conditional: () => c!,
      delta: () => difference(c!, u!),
      guided: () => (guidance === 0 ? u! : guidance === 1 ? c! : guide(u!, c!, guidance)),
    };
    for (const part of wanted) (result[part] ??= {})[id] = made[part]();
  }
  return result;
}
