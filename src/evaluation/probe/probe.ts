/** @file Teaches a head on one store of features and lets it answer another's questions. */

import { Store } from "../../data/index.js";
import { Engine } from "../../engine/index.js";
import { softmax, type Value } from "../../graph/index.js";
import type { Tensor } from "../../tensor/index.js";
import {
  randomAt,
  type Settings,
  scopeOf,
  settingsSchema,
  train,
  type Weights,
} from "../../training/index.js";
import type { Scope } from "../../weights/index.js";
import type { Accuracy, Outcome } from "../graded.js";
import { evaluationRegistry } from "../registry.js";
import { compare, type Estimate, macroMean, type PairedComparison, share } from "../statistics.js";
import type { HeadConfig } from "./head.js";
import { head, headInputs } from "./head.js";
import { type Items, Sources } from "./items.js";
import { Reader, task } from "./task.js";

/** Questions answered at once. */
const batch = 256;

/** One question's outcome. */
export interface Answer {
  pattern: string;
  /** Probability that the head gives to the right option. */
  probability: number;
  right: boolean;
  row: number;
  pair?: number;
  unseen?: readonly string[];
}

/** A network that answers questions, and what makes its inputs. */
export interface Answering {
  /** For so many questions. */
  inputs: (batch: number) => Record<string, Value<"input">>;
  /** Logits [B, 2] */
  logits: (w: Scope, inputs: Record<string, Value>) => Value;
  read: (items: Items, chosen: readonly number[]) => Record<string, Tensor>;
}

/** Lets a trained network answer questions. */
export async function answersBy(
  { inputs, logits, read }: Answering,
  weights: Weights,
  items: Items,
  { threads = 1 }: { threads?: number } = {},
): Promise<Answer[]> {
  await using engine = await Engine.open({ device: "cpu", host: "here", threads, memory: "fast" });
  const given = inputs(batch);
  const program = engine.compile({ probabilities: softmax(logits(scopeOf(weights), given)) });
  const found: Answer[] = [];
  for (let from = 0; from < items.questions.length; from += batch) {
    // The last batch is filled up with its first question.
    const chosen = Array.from({ length: batch }, (_, i) =>
      from + i < items.questions.length ? from + i : from,
    );
    const { answers: _, ...feeds } = read(items, chosen);
    const { probabilities } = await program.run(feeds);
    const values = probabilities!.toFloat32();
    for (let i = 0; i < Math.min(batch, items.questions.length - from); i++) {
      found.push(answerOf(items, from + i, values[2 * i + items.questions[from + i]!.question.answer]!));
    }
  }
  return found;
}

/**
 * Lets a trained head answer every question of a store.
 * @param reference what it was trained on, by stream: "features", or what its fusion takes
 */
export async function answers(
  weights: Weights,
  config: HeadConfig,
  { reference, asked }: Record<"reference" | "asked", Readonly<Record<string, Store>>>,
  options: { threads?: number } = {},
): Promise<Answer[]> {
  const reader = new Reader(config, reference);
  const sources = new Sources(asked);
  const by: Answering = {
    inputs: (batch) => headInputs(config, batch),
    logits: (w, inputs) => head(w, config, inputs),
    read: (_, chosen) => reader.read(sources, chosen),
  };
  return answersBy(by, weights, sources.items, options);
}

function answerOf({ questions }: Items, i: number, probability: number): Answer {
  const { row, question, line } = questions[i]!;
  const { pair, unseen } = line;
  return {
    pattern: question.pattern,
    probability,
    right: probability > 0.5,
    row,
    ...(pair !== undefined && { pair }),
    ...(unseen && { unseen }),
  };
}

export interface ProbeRequest {
  /** Folders of features: what the head learns from, what stops it, what it is judged by. */
  train: string;
  validation: string;
  /** By name: the frozen test, twins ... */
  tests: Readonly<Record<string, string>>;
  config: HeadConfig;
  /** What differs from `defaultSettings`. */
  settings?: Partial<Settings>;
  /** Curves and checkpoints go there. */
  folder: string;
  /** Identifies features and head, so that nothing goes on with another's checkpoint. */
  key: string;
  threads: number;
  signal?: AbortSignal | undefined;
}

/** Found on the validation questions of the embedded world: see docs/probes.md. */
export const defaultSettings: Settings = settingsSchema.parse({
  steps: 1200,
  batch: 256,
  parts: 2,
  optimizer: { lr: 2e-3, weightDecay: 0.02, clip: 1 },
  schedule: { kind: "cosine", warmup: 50 },
  validation: { every: 200 },
  checkpoint: 600,
});

/** Teaches a head and lets it answer the tests. Pure of the features, the config and the settings' seed. */
export async function probe(request: ProbeRequest): Promise<Record<string, Answer[]>> {
  const { config, folder, key, threads, signal } = request;
  const settings = { ...defaultSettings, ...request.settings };
  const { weights } = await train({
    name: "probe",
    module: evaluationRegistry.tasks.probe!,
    task,
    config,
    data: { train: request.train, validation: request.validation },
    settings,
    initial: task.initial(config, randomAt("initial", settings.seed)),
    key,
    folder,
    threads,
    signal,
  });
  using reference = Store.open(request.train);
  const found: Record<string, Answer[]> = {};
  for (const [name, path] of Object.entries(request.tests)) {
    using asked = Store.open(path);
    const stores = { reference: { features: reference }, asked: { features: asked } };
    found[name] = await answers(weights, config, stores, { threads });
  }
  return found;
}

/** Each item counts. */
export function accuracy(outcomes: readonly Outcome[]): Accuracy {
  const patterns: Record<string, Estimate> = {};
  for (const pattern of new Set(outcomes.map((one) => one.pattern))) {
    const those = outcomes.filter((one) => one.pattern === pattern);
    patterns[pattern] = share(those.filter(({ right }) => right).length, those.length);
  }
  return { patterns, macro: macroMean(Object.values(patterns)) };
}

/** Twins count when both are right: 25 % by guessing, 0 by always saying the same. */
export function pairAccuracy(found: readonly Answer[]): Accuracy {
  return accuracy(pairsOf(found));
}

/** Each pair of twins once, by its number. */
export function pairsOf(
  found: readonly Pick<Answer, "pattern" | "pair" | "right">[],
): { pattern: string; pair: number; right: boolean }[] {
  const pairs = new Map<number, { pattern: string; pair: number; right: boolean }>();
  for (const { pattern, pair, right } of found) {
    if (pair === undefined) continue;
    pairs.set(pair, { pattern, pair, right: right && (pairs.get(pair)?.right ?? true) });
  }
  return [...pairs.values()];
}

/** Whether one kind of features answers more than another, on the same questions. By pattern and over `all`. */
export function comparePatterns(
  first: readonly Outcome[],
  second: readonly Outcome[],
): Record<string, PairedComparison> {
  const compared: Record<string, PairedComparison> = {};
  for (const pattern of ["all", ...new Set(first.map((one) => one.pattern))]) {
    const chosen = [...first.keys()].filter((i) => pattern === "all" || first[i]!.pattern === pattern);
    compared[pattern] = compare(
      chosen.map((i) => first[i]!.right),
      chosen.map((i) => second[i]!.right),
    );
  }
  return compared;
}
