/** @file What can be seen in pictures at all, and what a diffusion model's drawings show: questions to a network of pixels. */

import { Store } from "../../data/index.js";
import {
  isTraining,
  planStages,
  type RunOptions,
  readWeights,
  runRecipe,
  type Settings,
  settingsSchema,
} from "../../training/index.js";
import { evaluationRegistry } from "../registry.js";
import type { DrawingsConfig } from "./drawings.js";
import { itemsOf } from "./items.js";
import { type PixelsConfig, PixelsReader, pixelsInputs, pixelsNetwork, pixelsSchema } from "./pixels.js";
import { type Judged, judged, type ProbeScenes, recipeOf, sceneStages } from "./plan.js";
import { type Answer, answersBy } from "./probe.js";
import { worldWords } from "./words.js";

/** Every scene that the embedded models learn from. */
export const pixelsScenes = 98_304;

const defaultSettings: Settings = settingsSchema.parse({
  steps: 20_000,
  batch: 64,
  parts: 2,
  optimizer: { lr: 2e-3, betas: [0.9, 0.99], weightDecay: 0.01, clip: 1 },
  schedule: { kind: "cosine", warmup: 200, to: 0.01 },
  ema: { decay: 0.998 },
  validation: { every: 1000 },
});

export interface PixelsPlan {
  scenes?: Partial<ProbeScenes>;
  /** Judges by validation scenes and twins in place of the frozen test. */
  tuning?: boolean;
  network?: Partial<Omit<PixelsConfig, "words">>;
  settings?: Partial<Settings>;
  /** Draws the test's captions, and asks about the drawings too. */
  drawings?: Partial<DrawingsConfig> & { model: string };
}

export interface PixelsOutcome {
  answers: Record<Judged, Answer[]>;
  /** The test's questions, asked about drawings of the captions; none unless asked for. */
  drawn?: Answer[];
  /** Folders of stores: the test's pictures, and their drawings row by row. */
  pictures: string;
  drawings?: string;
}

/**
 * Teaches a network of pixels and lets it answer; what an earlier call has done in the same folder is left as it is.
 * @throws DiffsightError what recipes and their stages throw
 */
export async function runPixels(plan: PixelsPlan, options: RunOptions): Promise<PixelsOutcome> {
  const config = pixelsSchema.parse({ ...plan.network, words: [...worldWords] });
  const scenes = { train: pixelsScenes, ...plan.scenes };
  const recipe = recipeOf([
    ...sceneStages({ ...plan, scenes, masks: config.facts > 0 }),
    ...(plan.drawings
      ? [
          {
            name: "drawings",
            kind: "data",
            producer: "drawings",
            config: plan.drawings,
            data: { pictures: "scenes-test" },
          },
        ]
      : []),
    {
      name: "pixels",
      kind: "train",
      task: "pixels",
      config,
      data: { train: "scenes-train", validation: "scenes-validation" },
      ...defaultSettings,
      ...plan.settings,
    },
  ]);
  const made = await runRecipe(recipe, { ...options, registry: evaluationRegistry });
  const folders = new Map(made.map(({ name, folder }) => [name, folder]));
  const planned = await planStages(recipe, options.out, evaluationRegistry);
  const weights = await readWeights(planned.filter(isTraining)[0]!);
  const reader = new PixelsReader(config);
  const ask = async (name: string): Promise<Answer[]> => {
    using asked = Store.open(folders.get(name)!);
    return answersBy(
      {
        inputs: (batch) => pixelsInputs(config, batch),
        logits: (w, inputs) => pixelsNetwork(w, config, inputs as ReturnType<typeof pixelsInputs>),
        read: (items, chosen) => reader.read(items, chosen),
      },
      weights,
      itemsOf(asked),
      { threads: options.threads },
    );
  };
  const answers: Partial<Record<Judged, Answer[]>> = {};
  for (const set of judged) answers[set] = await ask(`scenes-${set}`);
  const found = { answers: answers as Record<Judged, Answer[]>, pictures: folders.get("scenes-test")! };
  if (!plan.drawings) return found;
  return { ...found, drawn: await ask("drawings"), drawings: folders.get("drawings")! };
}
