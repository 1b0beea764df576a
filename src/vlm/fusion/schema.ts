/** @file What every fusion's config may say. */

import { z } from "zod";
import { normalisationSchema } from "./normalisation.js";

/** The name of an encoder, or of an earlier step: it becomes part of tensors' names. */
export const nameSchema = z
  .string()
  .regex(
    /^[a-z][a-z0-9_-]{0,39}$/,
    "a name is a small letter, then small letters, digits, - and _ (at most 40)",
  );

export const severalNames = z.array(nameSchema).min(2).max(16);

export const widthSchema = z.number().int().min(1).max(65_536);

/** Before anything is joined: one for all, or one for each named encoder (the others stay as they are). */
const normalisation = z.union([normalisationSchema, z.record(nameSchema, normalisationSchema)]);

/** What fusions have that join encoders as they come. The default is measured: docs/probes.md. */
export const shared = {
  /** The name under which later steps take what comes out. The last step has none. */
  as: nameSchema.optional(),
  normalisation: normalisation.default("layer-norm"),
};

/** The same of those that join none, or features of one scale, or that normalise what they take by themselves. */
export const sharedAsIs = { ...shared, normalisation: normalisation.default("none") };
