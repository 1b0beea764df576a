/** @file A model's folder in the hub's layout: configs, texts, and the weights of its components. */

import { openSource } from "#host/weights";
import { type DiffsightError, failure, misuse } from "../tensor/index.js";
import { type Checkpoint, checkpointOf, readWeightFile, type WeightPart } from "./checkpoint.js";
import type { FileTree, SourceOptions } from "./source.js";

export interface OpenOptions extends SourceOptions {
  /** Prefer files such as `model.fp16.safetensors`; components that lack them use the plain ones. */
  variant?: string | undefined;
}

/** Texts that are read whole: tokenizers are the largest, at some 30 MB. */
const maxTextBytes = 256_000_000;

/** A pipeline (`model_index.json` and a folder a component), or one component. Nothing is read before it is asked for. */
export class ModelFolder {
  readonly #tree: FileTree;
  readonly #options: OpenOptions;

  constructor(tree: FileTree, options: OpenOptions = {}) {
    this.#tree = tree;
    this.#options = options;
  }

  /** The id or path that it was opened with. */
  get source(): string {
    return this.#tree.source;
  }

  /** Whether there is a file of this path, "unet/config.json". */
  has(path: string): Promise<boolean> {
    return this.#tree.has(path);
  }

  /** @throws FILE_MISSING, and what the hub may raise */
  async bytes(path: string): Promise<Uint8Array> {
    const file = await this.#tree.open(path);
    if (file.size > maxTextBytes) {
      throw failure(
        "FILE_CORRUPT",
        `${file.location} has ${file.size} bytes; ${maxTextBytes} are the most that is read.`,
      );
    }
    return file.read(0, file.size);
  }

  /** @throws FILE_MISSING; FILE_CORRUPT when it is not UTF-8 */
  async text(path: string): Promise<string> {
    const bytes = await this.bytes(path);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch (cause) {
      throw failure("FILE_CORRUPT", `${this.source}: ${path} is not UTF-8.`, cause);
    }
  }

  /** The parsed file; with `optional`, undefined when there is none. @throws FILE_MISSING, FILE_CORRUPT */
  async json<T = Record<string, unknown>>(path: string): Promise<T>;
  async json<T = Record<string, unknown>>(path: string, optional: boolean): Promise<T | undefined>;
  async json<T>(path: string, optional = false): Promise<T | undefined> {
    if (optional && !(await this.has(path))) return undefined;
    const text = await this.text(path);
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw failure(
        "FILE_CORRUPT",
        `${this.source}: ${path} is not JSON (${(cause as Error).message}).`,
        cause,
      );
    }
  }

  /**
   * The weights of a component ("unet", "vae"; "" when the folder is the component): safetensors first, one file or
   * shards, else torch's pickles. Downloads these files and no others.
   * @throws WEIGHTS_MISSING; FILE_CORRUPT, PICKLE_REFUSED
   */
  async checkpoint(component: string, options: { variant?: string | undefined } = {}): Promise<Checkpoint> {
    const variant = options.variant ?? this.#options.variant;
    const found = await findWeights(this.#tree, component, variant);
    if (found.variant !== variant) {
      this.#options.onProgress?.({
        status: "notice",
        name: this.source,
        message: variantNotice(found, variant),
      });
    }
    return checkpointOf(found.name, await readWeights(found, this.#tree.open), found.variant);
  }

  /**
   * One weight file by its path in the folder, such as LLaVA's `mm_projector.bin`.
   * @throws FILE_MISSING, FILE_CORRUPT, PICKLE_REFUSED
   */
  async weightFile(path: string): Promise<Checkpoint> {
    return checkpointOf(`${this.source}/${path}`, [await readWeightFile(await this.#tree.open(path))]);
  }
}

/**
 * Opens a folder, or an id of the Hugging Face hub (looked up in its cache, downloaded as files are asked for).
 * In the browser: an id, or a URL.
 * @throws MODEL_MISSING, HUB_*, OFFLINE
 */
export async function openModel(idOrPath: string, options: OpenOptions = {}): Promise<ModelFolder> {
  const source = await openSource(idOrPath, options);
  if (source.kind === "file") {
    throw misuse(
      "MODEL_MISSING",
      `${idOrPath} is a file; a model is a folder with model_index.json or config.json.`,
    );
  }
  return new ModelFolder(source.tree, options);
}

/**
 * Opens one weight file by its path (or URL, in the browser), such as LLaVA's `mm_projector.bin`.
 * @throws FILE_MISSING, FILE_CORRUPT, PICKLE_REFUSED
 */
export async function openCheckpoint(path: string, options: SourceOptions = {}): Promise<Checkpoint> {
  const source = await openSource(path, options);
  if (source.kind === "folder") throw misuse("FILE_MISSING", `${path} is a folder; a weight file is wanted.`);
  return checkpointOf(path, [await readWeightFile(source.file)]);
}

/** Where a component's weights are. */
export interface FoundWeights {
  /** "sd/unet", for messages. */
  name: string;
  /** The weight file, or the index of its shards. */
  path: string;
  sharded: boolean;
  variant: string | undefined;
}

/** diffusers' name, transformers', and that of both's pickles. */
const stems = {
  safetensors: ["diffusion_pytorch_model", "model"],
  bin: ["diffusion_pytorch_model", "pytorch_model"],
};

/**
 * Looks for a component's weights: of the wanted variant, else plain, else (when none was wanted) fp16.
 * @throws WEIGHTS_MISSING
 */
export async function findWeights(tree: FileTree, component: string, wanted?: string): Promise<FoundWeights> {
  const folder = component === "" ? "" : `${component}/`;
  const name = component === "" ? tree.source : `${tree.source}/${component}`;
  const order = wanted === undefined ? [undefined, "fp16"] : [wanted, undefined];
  for (const variant of order) {
    const dotted = variant === undefined ? "" : `.${variant}`;
    for (const type of ["safetensors", "bin"] as const) {
      for (const stem of stems[type]) {
        const whole = `${folder}${stem}${dotted}.${type}`;
        if (await tree.has(whole)) return { name, path: whole, sharded: false, variant };
        const index = `${folder}${stem}.${type}.index${dotted}.json`;
        if (await tree.has(index)) return { name, path: index, sharded: true, variant };
      }
    }
  }
  const looked = stems.safetensors.map((stem) => `${folder}${stem}.safetensors`).join(" or ");
  const offline = tree.complete ? "" : " Only files that were downloaded before are looked at.";
  throw failure(
    "WEIGHTS_MISSING",
    `${tree.source} has no weights such as ${looked} (nor shards, pickles${wanted ? `, variant ${wanted}` : " or an fp16 variant"}).${offline}`,
  );
}

/** Reads the headers of found weights. @param open opens a file of the model: `tree.open`, or `tree.peek` */
export async function readWeights(found: FoundWeights, open: FileTree["open"]): Promise<WeightPart[]> {
  if (!found.sharded) return [await readWeightFile(await open(found.path))];

  const index = await open(found.path);
  const shards = shardsOf(index.location, await index.read(0, index.size));
  const folder = found.path.slice(0, found.path.lastIndexOf("/") + 1);
  const parts: WeightPart[] = [];
  for (const [shard, keys] of shards) {
    const part = await readWeightFile(await open(`${folder}${shard}`));
    const missing = keys.find((key) => !part.entries.has(key));
    if (missing !== undefined)
      throw corruptIndex(index.location, `${shard} has no tensor ${JSON.stringify(missing)}`);
    parts.push({ ...part, entries: new Map(keys.map((key) => [key, part.entries.get(key)!])) });
  }
  return parts;
}

/** The index of sharded weights: shard -> its keys. */
function shardsOf(location: string, bytes: Uint8Array): Map<string, string[]> {
  let map: unknown;
  try {
    map = (JSON.parse(new TextDecoder().decode(bytes)) as { weight_map?: unknown } | null)?.weight_map;
  } catch (cause) {
    throw corruptIndex(location, "it is not JSON", cause);
  }
  if (typeof map !== "object" || map === null) throw corruptIndex(location, "it has no weight_map");
  const shards = new Map<string, string[]>();
  for (const [key, shard] of Object.entries(map)) {
    // A shard lies beside its index: nothing may lead out of the folder.
    if (typeof shard !== "string" || !/^[\w.-]+$/.test(shard) || shard.startsWith(".")) {
      throw corruptIndex(location, `${JSON.stringify(shard)} is no file name`);
    }
    const keys = shards.get(shard);
    if (keys) keys.push(key);
    else shards.set(shard, [key]);
  }
  return shards;
}

function variantNotice({ name, variant }: FoundWeights, wanted: string | undefined): string {
  return wanted === undefined
    ? `${name} has only ${variant} weights: using those.`
    : `${name} has no ${wanted} variant: using ${variant ?? "the plain weights"}.`;
}

function corruptIndex(location: string, what: string, cause?: unknown): DiffsightError {
  return failure("FILE_CORRUPT", `${location}: not a valid index of shards: ${what}.`, cause);
}
