/** @file `diffsight.json`: what a folder's vision-language model is made of. */

import { z } from "zod";
import { defaultTap, parts } from "../diffusion/index.js";
import { fits } from "../image/index.js";
import { checked, misuse } from "../tensor/index.js";
import { type ModelFolder, writeFileAtomic } from "../weights/index.js";
import { conditioningPolicySchema } from "./conditioning.js";
import { fusionSchema, fusions } from "./fusion/index.js";
import { type ProjectorConfig, projectorTypeSchema } from "./projector.js";

/** The file's name in its folder. */
export const descriptionFile = "diffsight.json";

/**
 * A folder (relative to this one when it begins with `./` or `../`), one of the package's own models such as
 * `embedded:sd`, or an id of the hub, whose revision may be named.
 */
const modelSchema = z.union([
  z.string().min(1),
  z.strictObject({ id: z.string().min(1), revision: z.string().min(1).optional() }),
]);
export type ModelReference = z.output<typeof modelSchema>;

const layer = z.union([z.number().int(), z.literal("last")]);
const side = z.number().int().min(1).max(16_384);
const timestep = z.number().int().min(0).max(999);

const shared = {
  model: modelSchema,
  /** How a picture is brought to size. All encoders of one picture should see the same part of it. */
  fit: z.enum(fits as readonly ["squash", "crop", "pad"]).default("pad"),
  /** Pixels a side. Default: what the checkpoint was trained on. */
  size: side.optional(),
  /** A projector of its own, for fusions that take tokens of one width. */
  projector: z
    .strictObject({
      type: projectorTypeSchema.default("linear"),
      /** Default: the language model's. */
      width: z.number().int().min(1).max(65_536).optional(),
    })
    .optional(),
};

const visionSchema = z.strictObject({
  kind: z.literal("vision"),
  ...shared,
  /** As in `visionTokens`: an index of the hidden states, `last`, or several, whose channels are joined. */
  layer: z.union([layer, z.array(layer).min(1).max(64)]).default(-2),
  tokens: z.enum(["patches", "all", "class"]).default("patches"),
});

const diffusionSchema = z.strictObject({
  kind: z.literal("diffusion"),
  ...shared,
  tap: z.string().min(1).default(defaultTap),
  /** Literal indices into ᾱ; features of several are averaged. */
  timestep: z.union([timestep, z.array(timestep).min(1).max(64)]).default(50),
  part: z.enum(parts).default("guided"),
  /** Which text it is given, with its guidance, in each phase. */
  conditioning: conditioningPolicySchema,
  /** The cross-attentions that hear the text. Default: all. */
  textLayers: z.array(z.string().min(1)).optional(),
  seed: z.number().int().default(0),
  /** Draws of noise that the features are averaged over. */
  ensemble: z.number().int().min(1).max(4096).default(1),
  vae: z.enum(["mean", "sample"]).default("mean"),
  /** Cells of the grid each way. Default: the tap's own. */
  pool: z.number().int().min(1).max(256).optional(),
  /** Cells that become one token, each way, their channels side by side: fewer tokens for the language model to read. */
  fold: z.number().int().min(1).max(16).default(1),
});

/** The question as one vector: the pooled output of a model's text encoder. For fusions that ask for it. */
const textSchema = z.strictObject({ kind: z.literal("text"), model: modelSchema });

export const encoderSchema = z.discriminatedUnion("kind", [visionSchema, diffusionSchema, textSchema]);
export type EncoderDescription = z.output<typeof encoderSchema>;

const encoderName = z.string().regex(/^[a-z][a-z0-9_-]{0,39}$/);

const descriptionSchema = z.strictObject({
  version: z.literal(1).default(1),
  /** By the names under which the fusion takes them. */
  encoders: z.record(encoderName, encoderSchema),
  /** One step or several. Default: the only encoder as it is. */
  fusion: fusionSchema.optional(),
  /** From the fused tokens to the language model. */
  projector: projectorTypeSchema.default("mlp2x_gelu"),
  language: z.strictObject({ model: modelSchema }),
  /** How conversations are written: a name such as `vicuna_v1`, or `chat` for the language model's own template. */
  template: z.string().min(1).default("vicuna_v1"),
});

export interface VlmDescription extends Omit<z.output<typeof descriptionSchema>, "fusion" | "projector"> {
  fusion: z.output<typeof fusionSchema>;
  projector: ProjectorConfig["type"];
}

/**
 * Checks a description and fills in what it leaves out.
 * @throws misuse DESCRIPTION that names the path of each thing that is wrong: `encoders.clip.layer: ...`
 */
export function parseDescription(json: unknown): VlmDescription {
  const { fusion: given, ...description } = checked("DESCRIPTION", descriptionSchema, json);
  const { encoders } = description;
  const names = Object.keys(encoders);
  const pictures = names.filter((name) => encoders[name]!.kind !== "text");
  const [only] = pictures;
  if (only === undefined) throw misuse("DESCRIPTION", "encoders: there is none of a picture");
  if (!given && pictures.length > 1) {
    throw misuse("DESCRIPTION", `fusion: is needed to join ${pictures.join(", ")}`);
  }
  const fusion = given ?? fusionSchema.parse({ type: "none", encoder: only });
  const wrong = misnamed(fusion, names);
  if (wrong.length > 0) throw misuse("DESCRIPTION", wrong.join("; "));
  return { ...description, fusion, projector: description.projector as ProjectorConfig["type"] };
}

/** Names that stand for nothing, and encoders that nothing takes. */
function misnamed(fusion: VlmDescription["fusion"], encoders: readonly string[]): string[] {
  const wrong: string[] = [];
  const known = new Set(encoders);
  const taken = new Set<string>();
  for (const [i, step] of fusion.entries()) {
    const at = fusion.length > 1 ? `fusion[${i}]` : "fusion";
    for (const name of fusions.get(step.type)!.make(step).encoders) {
      taken.add(name);
      if (!known.has(name)) wrong.push(`${at}: nothing is called "${name}" (${[...known].join(", ")})`);
    }
    if (step.as !== undefined) known.add(step.as);
  }
  for (const name of encoders) if (!taken.has(name)) wrong.push(`encoders.${name}: no fusion takes it`);
  return wrong;
}

/**
 * Reads a folder's description.
 * @throws FILE_MISSING, FILE_CORRUPT; misuse DESCRIPTION
 */
export async function readDescription(folder: ModelFolder): Promise<VlmDescription> {
  return parseDescription(await folder.json(descriptionFile));
}

/**
 * Writes a folder's description, with every default spelt out: what another version takes by default changes nothing.
 * @throws misuse DESCRIPTION for one that could not be read again; DISK_FULL, FILE_ACCESS, FILE_WRITE
 */
export async function writeDescription(folder: string, description: VlmDescription): Promise<void> {
  const text = JSON.stringify(parseDescription(description), null, 2);
  await writeFileAtomic(`${folder}/${descriptionFile}`, `${text}\n`);
}

/** Whether a model is named by a path that begins at the folder of whatever names it. */
export const isRelative = (reference: ModelReference): reference is string =>
  typeof reference === "string" && /^\.\.?(\/|$)/.test(reference);

/** Where a model that a description names is to be opened: what `openModel` takes, the package's own by their names. */
export function resolveModel(
  reference: ModelReference,
  folder: string,
): { source: string; revision: string | undefined } {
  if (typeof reference !== "string") return { source: reference.id, revision: reference.revision };
  return {
    source: isRelative(reference) ? `${folder}/${reference.replace(/^\.\//, "")}` : reference,
    revision: undefined,
  };
}

/** The form of `diffsight.json` as JSON Schema (2020-12), for editors and for other programs. */
export function descriptionJsonSchema(): object {
  const schema = z.toJSONSchema(descriptionSchema, { io: "input", reused: "ref" });
  return { title: "diffsight.json", description: "A vision-language model of diffsight.", ...schema };
}
