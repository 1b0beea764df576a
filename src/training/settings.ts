/** @file How something is trained: the part of a recipe's stage that is the same for every task. */

import { z } from "zod";

const whole = z.number().int();
const share = z.number().min(0).max(1);

/** The fields, for schemas that have more. */
export const settingsShape = {
  /** Updates of the weights. */
  steps: whole.positive(),
  /** Examples in a step. */
  batch: whole.positive(),
  /**
   * Into how many equal parts a step's batch is cut. Threads compute them side by side, or one thread one after the
   * other (gradient accumulation): the bits are the same, and depend on this number.
   */
  parts: whole.positive().default(1),
  optimizer: z.strictObject({
    lr: z.number().positive(),
    betas: z.tuple([share, share]).default([0.9, 0.999]),
    eps: z.number().positive().default(1e-8),
    weightDecay: z.number().min(0).default(0.01),
    /** Largest global norm of the gradients. */
    clip: z.number().positive().optional(),
  }),
  schedule: z
    .strictObject({
      kind: z.enum(["constant", "cosine", "linear"]).default("constant"),
      warmup: z.number().min(0).default(0),
      hold: share.default(0),
      to: share.default(0),
    })
    .prefault({}),
  /** A moving average of the weights, which is then what is validated and exported. */
  ema: z.strictObject({ decay: share, warmup: z.boolean().default(true) }).optional(),
  /** What differs for some parameters: of several that fit, the last counts. `*` stands for anything. */
  parameters: z
    .array(
      z.strictObject({
        keys: z.string().min(1),
        decay: z.boolean().optional(),
        scale: z.number().min(0).optional(),
        frozen: z.boolean().optional(),
      }),
    )
    .default([]),
  validation: z
    .strictObject({
      /** Steps between two validations; the last step is always followed by one. */
      every: whole.positive(),
      /** Batches at most, each the size of a part. Default: as many as the examples fill. */
      batches: whole.positive().optional(),
      /** Stops when so many validations in a row have brought no better loss; the best weights are the result. */
      patience: whole.positive().optional(),
    })
    .optional(),
  /** Keeps only the states between layers for the backward part and computes the rest again: less memory, more time. */
  gradientCheckpointing: z.boolean().optional(),
  /** Steps between two checkpoints; there is one every two minutes at least. */
  checkpoint: whole.positive().default(500),
  seed: whole.min(0).default(0),
};

/** What the fields' own checks cannot see. */
export function checkSettings(
  { batch, parts, steps, schedule }: Pick<StageSettings, "batch" | "parts" | "steps" | "schedule">,
  context: z.core.$RefinementCtx,
): void {
  const wrong = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
  if (schedule.warmup >= 1 && !Number.isInteger(schedule.warmup))
    wrong(["schedule", "warmup"], `${schedule.warmup} is neither a number of steps nor a share below 1`);
  if (batch % parts !== 0) wrong(["parts"], `${parts} parts do not divide a batch of ${batch}`);
  if (typeof steps === "number" && steps > 0 && schedule.warmup >= steps) {
    wrong(["schedule", "warmup"], `${schedule.warmup} steps of warmup leave nothing of ${steps} steps`);
  }
}

export const settingsSchema = z.strictObject(settingsShape).superRefine(checkSettings);

export type Settings = z.infer<z.ZodObject<typeof settingsShape>>;

/** In recipes the steps may be told by how often each example is to be seen. */
export const stageSettingsShape = {
  ...settingsShape,
  steps: z.union([settingsShape.steps, z.strictObject({ epochs: z.number().positive() })]),
};

export type StageSettings = z.infer<z.ZodObject<typeof stageSettingsShape>>;

/** The steps of a stage whose data are there; an epoch's last one is filled up from the next epoch. */
export function resolveSteps({ steps, ...settings }: StageSettings, examples: number): Settings {
  if (typeof steps === "number") return { steps, ...settings };
  return { steps: Math.max(1, Math.ceil((steps.epochs * examples) / settings.batch)), ...settings };
}
