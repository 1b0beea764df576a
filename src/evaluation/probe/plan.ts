/** @file A whole comparison as a recipe: scenes, the features of each way of seeing, a head for each, and their answers. */

import type { z } from "zod";
import { Store } from "../../data/index.js";
import { type Pattern, twinPatterns } from "../../diorama/index.js";
import { checked, misuse } from "../../tensor/index.js";
import {
  asksEach,
  featureColumn,
  type featuresSchema,
  isTraining,
  type PlannedStage,
  parseRecipe,
  plannedRows,
  planStages,
  type Recipe,
  type RunOptions,
  readWeights,
  runRecipe,
  type Settings,
} from "../../training/index.js";
import { fusionSchema } from "../../vlm/index.js";
import { type BlindPair, twinsBlindTo } from "../blind.js";
import { evaluationRegistry } from "../registry.js";
import { type FusedConfig, fusedProgram } from "./fused.js";
import { headSchema } from "./head.js";
import { type Answer, answers, defaultSettings } from "./probe.js";
import {
  type Alikeness,
  alikeness,
  type FeatureStatistics,
  featureStatistics,
  statisticsRows,
} from "./statistics.js";
import { worldWords } from "./words.js";

/** How many pictures there are of each kind. */
export interface ProbeScenes {
  train: number;
  validation: number;
  test: number;
  /** Pairs of each pattern. */
  twins: number;
  /** Scenes of combinations that training never shows. */
  unseen: number;
}

export const defaultScenes: ProbeScenes = {
  train: 10_000,
  validation: 1000,
  test: 2000,
  twins: 500,
  unseen: 500,
};

export interface ProbePlan {
  /** Ways of seeing by name: lower-case words and hyphens. */
  features: Readonly<Record<string, z.input<typeof featuresSchema>>>;
  scenes?: Partial<ProbeScenes>;
  /** Judges by validation scenes and twins in place of the frozen test: for whoever still chooses. */
  tuning?: boolean;
  /** More twins that the plan's first CLIP is blind to, by pattern: those among the first alone may be few. */
  blind?: Partial<Record<Pattern, readonly number[]>>;
  settings?: Partial<Settings>;
  /** Fusions by name, each of ways of seeing that have one tap at one timestep: what joins them is trained with the head. */
  fused?: Readonly<Record<string, z.input<typeof fusionSchema>>>;
  /**
   * Fusions get features as encoders give them, which is what a language model's get. Default: every channel has mean 0
   * and deviation 1.
   */
  raw?: boolean;
  /** Heads of each way, of seeds 0, 1, ...: how much training by chance makes of it. */
  seeds?: number;
}

export const judged = ["test", "twins", "unseen"] as const;

export type Judged = (typeof judged)[number];

/** One head's answers. */
export interface ProbeOutcome {
  features: string;
  column: string;
  seed: number;
  answers: Record<Judged, Answer[]>;
}

/** What a comparison found. */
export interface ProbeFindings extends JudgedTwins {
  outcomes: ProbeOutcome[];
  /** Of every way that sees. */
  statistics: FeatureStatistics[];
  alike: Alikeness;
}

/** What teaches and what judges. */
export function sceneStages({
  scenes: given,
  tuning = false,
  blind: more,
  masks = false,
}: Pick<ProbePlan, "scenes" | "tuning" | "blind"> & {
  /** With those that teach: which object each pixel shows. */
  masks?: boolean;
}) {
  const scenes = { ...defaultScenes, ...given };
  const split = tuning ? "validation" : "test";
  const drawn = masks ? { masks } : {};
  const data = (name: string, producer: string, config: object) => ({
    name: `scenes-${name}`,
    kind: "data",
    producer,
    config,
  });
  return [
    data("train", "scenes", { count: scenes.train, split: "train", ...drawn }),
    // A world of its own: what stops the training is none of what judges.
    data("validation", "scenes", { count: scenes.validation, split: "validation", seed: 1, ...drawn }),
    data("test", "scenes", { count: scenes.test, split }),
    data("twins", "twins", { pairs: scenes.twins, ...(more && { more }), split }),
    data("unseen", "scenes", { count: scenes.unseen, split: "unseen", seed: tuning ? 1 : 0 }),
  ];
}

const sets = ["train", "validation", ...judged] as const;

function featureStages({ features }: ProbePlan) {
  return Object.entries(features).flatMap(([name, config]) =>
    sets.map((set) => ({
      name: `${name}-${set}`,
      kind: "data",
      producer: "features",
      config,
      data: { pictures: `scenes-${set}` },
    })),
  );
}

/** The embeddings by which a CLIP tells twins apart, or does not. */
const embeddings = "embeddings-twins";

/** @param clip a CLIP's folder; without one there is no stage */
export function blindStages(clip: string | undefined): object[] {
  if (clip === undefined) return [];
  const config = { encoder: "clip", model: clip, layer: "embedding" };
  return [
    { name: embeddings, kind: "data", producer: "features", config, data: { pictures: "scenes-twins" } },
  ];
}

function firstClip({ features }: ProbePlan): string | undefined {
  const clip = Object.values(features).find(({ encoder }) => encoder === "clip");
  return clip?.encoder === "clip" ? clip.model : undefined;
}

interface Head {
  /** A way of seeing, or a fusion. */
  features: string;
  column: string;
  seed: number;
  stage: string;
  fused?: FusedConfig;
}

type Columns = Store["columns"];

/** A head for each way, column and seed, and for each fusion and seed, once the columns are known. */
function heads(
  { features, fused = {}, raw = false, seeds = 1 }: ProbePlan,
  columns: (features: string) => Columns,
): Head[] {
  const seeded = (head: Omit<Head, "seed" | "stage">, i: number) =>
    Array.from({ length: seeds }, (_, seed) => ({
      ...head,
      seed,
      stage: `head-${head.features}-${i}-${seed}`,
    }));
  const single = Object.keys(features).flatMap((name) =>
    Object.keys(columns(name)).flatMap((column, i) => seeded({ features: name, column }, i)),
  );
  const joined = Object.entries(fused).flatMap(([name, fusion]) => {
    if (name in features) throw misuse("PROBE", `Two ways of seeing are called "${name}".`);
    const config = { ...fusedConfig(name, fusion, features, columns), ...(raw && { raw }) };
    return seeded({ features: name, column: featureColumn, fused: config }, 0);
  });
  return [...single, ...joined];
}

/** A fusion with what it takes. @throws misuse PROBE, FUSION */
function fusedConfig(
  name: string,
  fusion: z.input<typeof fusionSchema>,
  features: ProbePlan["features"],
  columns: (features: string) => Columns,
): FusedConfig {
  const program = checked("PROBE", fusionSchema, fusion, [name]);
  const shapes = Object.keys(features).flatMap((way) => {
    const dims = columns(way)[featureColumn]?.dims;
    return dims && features[way]!.encoder !== "words"
      ? [[way, { tokens: dims[0]!, channels: dims[1]! }] as const]
      : [];
  });
  const { encoders } = fusedProgram({ streams: Object.fromEntries(shapes), fusion: program });
  const streams = Object.fromEntries(shapes.filter(([way]) => encoders.includes(way)));
  return { streams, fusion: program };
}

function headStage({ features, column, seed, stage, fused }: Head, plan: ProbePlan, columns: Columns) {
  const [tokens, channels] = fused ? outputOf(fused) : (columns[column]!.dims as readonly [number, number]);
  const reads = plan.features[features]?.encoder === "words" ? 0 : channels;
  const sets = ["train", "validation"] as const;
  return {
    name: stage,
    kind: "train",
    task: "probe",
    config: headSchema.parse({ words: worldWords, column, tokens, channels: reads, ...(fused && { fused }) }),
    data: Object.fromEntries(
      sets.flatMap((set) =>
        fused
          ? Object.keys(fused.streams).map((way) => [`${set}-${way}`, `${way}-${set}`])
          : [[set, `${features}-${set}`]],
      ),
    ),
    ...defaultSettings,
    ...plan.settings,
    seed,
  };
}

function outputOf(fused: FusedConfig): [tokens: number, channels: number] {
  const { tokens, width } = fusedProgram(fused).output;
  return [tokens, width];
}

/** Stages of a probe as a recipe. */
export const recipeOf = (stages: readonly object[]): Recipe =>
  parseRecipe(
    JSON.stringify({ name: "probe", description: "What is seen, and what is told of it.", stages }),
  );

/**
 * Makes features, teaches heads and lets them answer; what an earlier call has done in the same folder is left as it is.
 * @throws DiffsightError what recipes and their stages throw
 */
export async function runProbes(plan: ProbePlan, options: RunOptions): Promise<ProbeFindings> {
  if (Object.keys(plan.features).length === 0) throw misuse("PROBE", "No features are named.");
  const registry = evaluationRegistry;
  const data = [...sceneStages(plan), ...featureStages(plan), ...blindStages(firstClip(plan))];
  const made = await runRecipe(recipeOf(data), { ...options, registry });

  // The columns are known now, and so are the heads.
  const folders = new Map(made.map(({ name, folder }) => [name, folder]));
  const open = (name: string) => Store.open(folders.get(name)!);
  const columns = (name: string) => {
    using store = open(`${name}-train`);
    return store.columns;
  };
  const all = heads(plan, columns);
  const stages = all.map((one) => headStage(one, plan, one.fused ? {} : columns(one.features)));
  const recipe = recipeOf([...data, ...stages]);
  await runRecipe(recipe, { ...options, registry });
  const trained = new Map(
    (await planStages(recipe, options.out, registry)).map((one) => [one.stage.name, one]),
  );
  const outcomes: ProbeOutcome[] = [];
  for (const one of all) outcomes.push(await judge(one, trained.get(one.stage)!, open, options.threads));
  const twins = judgedTwins(plan.scenes?.twins ?? defaultScenes.twins, plan.tuning ?? false, folders);
  return { outcomes, ...twins, ...statisticsOf(plan, all, twins.firstTwins, open) };
}

type Open = (name: string) => Store;

/** Which pairs are the first of each pattern, and which a CLIP is blind to. */
export interface JudgedTwins {
  /** Pairs below this number are the first ones of each pattern, others were chosen for being blind. */
  firstTwins: number;
  /** Every pair of twins held against the CLIP; none without one. */
  blind: BlindPair[];
}

/**
 * @param pairs of each pattern
 * @param folders of stages that are done, by name
 */
export function judgedTwins(
  pairs: number,
  tuning: boolean,
  folders: ReadonlyMap<string, string>,
): JudgedTwins {
  const firstTwins = pairs * twinPatterns(tuning ? "validation" : "test").length;
  const embedded = folders.get(embeddings);
  if (embedded === undefined) return { firstTwins, blind: [] };
  using pictures = Store.open(folders.get("scenes-twins")!);
  using features = Store.open(embedded);
  return { firstTwins, blind: twinsBlindTo(pictures, features) };
}

/** Of every way that sees, over the first pictures of the test and the first pairs of twins. */
function statisticsOf(
  { features: ways }: ProbePlan,
  heads: readonly Head[],
  firstTwins: number,
  open: Open,
): Pick<ProbeFindings, "statistics" | "alike"> {
  using pictures = open("scenes-test");
  const seeing = heads.filter(
    ({ features, seed, fused }) => seed === 0 && !fused && ways[features]!.encoder !== "words",
  );
  const opened = seeing.map(({ features, column }) => {
    const planned = plannedRows(pictures, asksEach(ways[features]!));
    const rows = [...planned.keys()].filter((i) => (planned[i]!.question ?? 0) === 0);
    return { features, column, store: open(`${features}-test`), rows: rows.slice(0, statisticsRows) };
  });
  try {
    const statistics = opened.map(({ store, rows, ...way }) => {
      using twins = open(`${way.features}-twins`);
      return featureStatistics(way, { twins, pairs: firstTwins, pictures: store, rows });
    });
    return { statistics, alike: alikeness(opened) };
  } finally {
    for (const { store } of opened) store.close();
  }
}

async function judge(
  { features, column, seed, fused }: Head,
  planned: PlannedStage,
  open: Open,
  threads: number,
): Promise<ProbeOutcome> {
  if (!isTraining(planned)) throw new Error(`${planned.stage.name} is no stage of training.`);
  const weights = await readWeights(planned);
  const config = headSchema.parse(planned.config);
  const opened: Store[] = [];
  const storesOf = (set: string) => {
    const ways = fused ? Object.keys(fused.streams).map((way) => [way, way]) : [["features", features]];
    const stores = ways.map(([stream, way]) => [stream!, open(`${way}-${set}`)] as const);
    opened.push(...stores.map(([, store]) => store));
    return Object.fromEntries(stores);
  };
  try {
    const reference = storesOf("train");
    const found: Partial<Record<Judged, Answer[]>> = {};
    for (const set of judged)
      found[set] = await answers(weights, config, { reference, asked: storesOf(set) }, { threads });
    return { features, column, seed, answers: found as Record<Judged, Answer[]> };
  } finally {
    for (const store of opened) store.close();
  }
}
