/** @file Speed of training beside torch: the recipes' networks, and where a step's time goes. */

import { readFile } from "node:fs/promises";
import { TorchGenerator } from "../src/tensor/index.js";
import {
  builtIn,
  parseRecipe,
  planTraining,
  type Settings,
  settingsSchema,
  type TrainStage,
} from "../src/training/index.js";
import type { SpeakerTraining } from "../src/training/speaker/config.js";
import { languageJson } from "../src/training/speaker/language.js";
import { sharedArrays, Team } from "../src/training/team.js";
import { flatten } from "../src/training/weights.js";
import { alternate, duration, type Summary, summarize, table, verdict } from "./measure.js";
import type { Peer } from "./peer.js";
import { type BenchedTask, prepare, task } from "./training-task.js";

/** Stages of recipes, what differs from them, and how many times as fast as the peer they must be. */
const works: readonly {
  name: string;
  recipe: string;
  stage: string;
  set?: object;
  target: { atLeast: number; aim: number };
}[] = [
  { name: "sd", recipe: "standard", stage: "sd", target: { atLeast: 1, aim: 1.3 } },
  { name: "clip", recipe: "standard", stage: "clip", target: { atLeast: 1, aim: 1.3 } },
  { name: "vae-crops", recipe: "standard", stage: "vae-crops", target: { atLeast: 0.6, aim: 1 } },
  {
    name: "speaker, stage 1",
    recipe: "speaker",
    stage: "speaker",
    set: { phase: "stage1" },
    target: { atLeast: 1, aim: 1.3 },
  },
  { name: "speaker, stage 2", recipe: "speaker", stage: "speaker", target: { atLeast: 1, aim: 1.3 } },
];

const parts = ["data", "forward and backward", "copies", "optimizer"] as const;

export interface TrainingSpeed {
  stage: string;
  batch: number;
  flops: number;
  /** Seconds a step. */
  ours: Summary;
  /** Seconds of each part of a step, the median. */
  split: Record<(typeof parts)[number], number>;
  peer?: Summary;
  way?: string;
  target: (typeof works)[number]["target"];
}

interface Options {
  rounds: number;
  threads: number;
  peer: Peer | undefined;
  note(message: string): void;
}

/** Steps in a round. */
const steps = 4;

export async function compareTraining({ rounds, threads, peer, note }: Options): Promise<TrainingSpeed[]> {
  const results: TrainingSpeed[] = [];
  for (const { name, recipe, stage: of, set, target } of works) {
    const stage = await stageOf(recipe, of);
    note(`training: ${name}`);
    const inner = builtIn.tasks[stage.task]!;
    const { batch, optimizer, ema } = stage;
    const settings = settingsSchema.parse({
      steps: 1,
      batch,
      parts: threads,
      optimizer,
      ...(ema && { ema }),
    });
    const prepared = await prepare(inner, { ...stage.config, ...set });
    const config = { module: inner, config: prepared, batch: batch / threads };
    const { team, flops } = await openTeam(config, settings, threads);
    const times: Record<(typeof parts)[number], number[]> = {
      data: [],
      "forward and backward": [],
      copies: [],
      optimizer: [],
    };
    const own = async () => {
      const begin = performance.now();
      for (let step = 0; step < steps; step++) {
        const one = await team.gradients(step);
        const computed = performance.now();
        await team.update(step, { rate: 1e-5, clip: 1 });
        times.data.push(one.times.data / 1000);
        times["forward and backward"].push(one.times.run / 1000);
        times.copies.push(one.times.copy / 1000);
        times.optimizer.push((performance.now() - computed) / 1000);
      }
      return (performance.now() - begin) / 1000 / steps;
    };
    const told = stage.task === "speaker" ? withVocabulary(prepared as SpeakerTraining) : stage.config;
    const work = { work: `train-${stage.task}`, stage: { ...stage, config: told } } as const;
    const way = await peer?.prepare(work);
    const sides: Record<string, () => Promise<number>> = { ours: own };
    if (peer) sides.peer = () => peer.run({ ...work, steps });
    const measured = await alternate(rounds, sides);
    await team.close();
    await peer?.close();
    const split = Object.fromEntries(parts.map((part) => [part, summarize(times[part]).median]));
    results.push({
      stage: name,
      batch,
      flops,
      ours: measured.ours!,
      split: split as TrainingSpeed["split"],
      ...(measured.peer && { peer: measured.peer, way: way! }),
      target,
    });
  }
  return results;
}

/** The peer is told how many tokens its language model has: ours knows them from its tokenizer. */
const withVocabulary = (config: SpeakerTraining) => ({
  ...config,
  network: languageJson(config),
});

async function stageOf(recipe: string, name: string): Promise<TrainStage> {
  const text = await readFile(new URL(`../recipes/${recipe}.json`, import.meta.url), "utf8");
  return parseRecipe(text).stages.find((one) => one.name === name) as TrainStage;
}

/** Threads that train on numbers in place of data. */
async function openTeam(config: BenchedTask, settings: Settings, threads: number) {
  const weights = task.initial(config, new TorchGenerator(0));
  const { layout, flops } = planTraining(task, config, settings, weights);
  const arrays = sharedArrays(layout.length, settings.parts, settings.ema !== undefined);
  flatten(layout, weights, arrays.weights);
  const module = new URL("./training-task.ts", import.meta.url).href;
  const team = await Team.open({
    module,
    config,
    data: {},
    settings,
    layout,
    initial: weights,
    arrays,
    threads,
  });
  return { team, flops: flops * settings.parts };
}

export function writeTraining(speeds: readonly TrainingSpeed[]): string {
  const rows = speeds.map(({ stage, batch, flops, ours, split, peer, way, target }) => {
    const times = peer && peer.median / ours.median;
    return [
      stage,
      `${batch}`,
      (flops / 1e9).toFixed(1),
      `${duration(ours.median)} (${duration(ours.minimum)})`,
      `${(batch / ours.median).toFixed(0)}`,
      ...parts.map((part) => duration(split[part])),
      ...(peer && times
        ? [
            `${duration(peer.median)} (${duration(peer.minimum)})`,
            way!,
            `${times.toFixed(2)} (${(peer.minimum / ours.minimum).toFixed(2)})`,
            verdict(times, target),
          ]
        : []),
    ];
  });
  const head = ["network", "batch", "GFLOP", "diffsight: a step", "examples a second", ...parts];
  const more = ["torch: a step", "its fastest way", "times as fast", "target"];
  return table(speeds.some(({ peer }) => peer) ? [...head, ...more] : head, rows);
}
