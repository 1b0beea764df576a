/** @file What the demo computes: every number and picture of its page. */

import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { DiffusionEncoder, type TextScore } from "../../diffusion/index.js";
import {
  decodeImage,
  encodePng,
  normMap,
  overlay,
  pcaTiles,
  type RgbImage,
  resize,
} from "../../image/index.js";
import type { Tensor } from "../../tensor/index.js";
import type { SceneLine } from "../../training/index.js";
import { inspect } from "../../weights/index.js";
import { scenesFolder } from "../embedded.js";
import type { Shell } from "../shell.js";
import { answersOf, type Told } from "./answers.js";

/** A picture of the embedded world, with its captions. */
export interface Scene extends SceneLine {
  image: string;
}

/** A PNG. */
export type Png = Uint8Array;

export interface Change {
  text: string;
  map: Png;
  /** Mean size of the change, as a share of the mean size of the features. */
  share: number;
}

export interface ScoreSetting {
  name: string;
  flags: string;
  /** [captions][pictures]: score less the mean of the caption's row. */
  centred: number[][];
  /** Pairs of pictures whose right captions together beat the swapped ones. */
  right: number;
  pairs: number;
}

export interface Tour {
  scenesFolder: string;
  parameters: number;
  size: readonly [number, number];
  threads: number;
  seconds: number;
  scenes: readonly Scene[];
  /** The scenes' pictures, as they are. */
  pictures: readonly Png[];
  changes: readonly { scene: number; texts: readonly Change[] }[];
  answers: readonly Told[];
  words: readonly { scene: number; words: readonly { text: string; map: Png }[] }[];
  features: {
    draws: number;
    taps: readonly { short: string; dims: readonly number[]; pictures: readonly Png[] }[];
  };
  scores: { settings: readonly ScoreSetting[] };
  generated: { steps: number; pictures: readonly { prompt: string; seed: number; picture: Png }[] };
  /** Milliseconds. */
  timings: {
    first: number;
    nextQuestion: number;
    newPicture: number;
    attention: number;
    caption: number;
    picture: number;
  };
}

/** Pictures by name, with the questions that are asked about them. */
const questions: readonly (readonly [image: string, texts: readonly string[]])[] = [
  ["ball-rabbit.png", ["where is the ball?", "which way is the rabbit facing?", "is there a cactus?"]],
  ["stools.png", ["how many stools are there?", "what color is the stool?", "where is this?"]],
  ["dog.png", ["does the dog have a hat?", "which way is the dog facing?", "is the box open or closed?"]],
];

const captioned = ["ball-rabbit.png", "teddy-table.png", "chair.png"];
/** Where questions change the features: finer than the usual tap. */
export const changeTap = "U-L2-R1-B0-Cross-Q";
const shownTaps = ["U-L0-R1-B0-Cross-Q", "U-L1-R1-B0-Cross-Q", "U-L2-R1-Res-Out"];
const prompts = [
  "three red kettles in the desert",
  "a dog with a hat in the park",
  "a horse facing left in the street",
  "a yellow van in the forest",
];

/** One draw of noise hides what a small change is: features are averaged over several. */
const draws = 4;
const steps = 30;
export const mapSide = 224;

/** Takes about 400 passes of the small U-Net. */
export async function takeTour(shell: Shell, threads = availableParallelism()): Promise<Tour> {
  const begin = performance.now();
  const { signal } = shell;
  const scenes = JSON.parse(await readFile(join(scenesFolder, "scenes.json"), "utf8")) as Scene[];
  const pictures = await Promise.all(scenes.map(({ image }) => readFile(join(scenesFolder, image))));
  const decoded = await Promise.all(pictures.map((picture) => decodeImage(picture)));
  const at = (image: string) => scenes.findIndex((scene) => scene.image === image);
  const stages = 6;
  const stage = (label: string, done: number) => shell.progress.show(label, done, stages);

  stage("what a question changes", 0);
  const opening = performance.now();
  await using eye = await DiffusionEncoder.fromPretrained("embedded:sd", { device: "cpu", threads, signal });
  const [first, ...others] = questions[0]![1];
  const subject = pictures[at(questions[0]![0])]!;
  const timed = async (work: () => Promise<unknown>) => {
    const start = performance.now();
    await work();
    return performance.now() - start;
  };
  await eye.encode(subject, { prompt: first!, signal });
  const firstTime = performance.now() - opening;
  const nextQuestion = await timed(() => eye.encode(subject, { prompt: others[0]!, signal }));
  const newPicture = await timed(() => eye.encode(pictures[at("chair.png")]!, { prompt: first!, signal }));
  const changes = [];
  for (const [image, texts] of questions) {
    const scene = at(image);
    changes.push({ scene, texts: await changesOf(eye, pictures[scene]!, decoded[scene]!, texts, signal) });
  }

  stage("what a language model answers", 1);
  const answers = await answersOf(scenes, pictures, { threads, signal });

  stage("where words look", 2);
  const words = [];
  let attention = 0;
  for (const image of captioned) {
    const scene = at(image);
    const start = performance.now();
    const maps = await eye.attend(pictures[scene]!, { prompt: scenes[scene]!.captions.full, signal });
    attention = performance.now() - start;
    words.push({
      scene,
      words: maps.words.map((word) => ({ text: word.text, map: overlaid(decoded[scene]!, maps.of(word)) })),
    });
  }

  stage("what features look like", 3);
  const seen = await eye.encode(pictures, { taps: shownTaps, ensemble: draws, signal });
  const taps = shownTaps.map((tap) => {
    const grids = seen.map((features) => features.get(tap));
    const dims = grids[0]!.dims.slice(1);
    const tiles = pcaTiles(grids, { side: Math.max(...dims.slice(1)), smooth: false });
    return { short: tap, dims, pictures: tiles.map(({ image }) => encodePng(image)) };
  });

  stage("which caption fits", 4);
  const captions = scenes.map(({ captions }) => captions.full);
  const plainStart = performance.now();
  const plain = await eye.score(pictures, captions, { signal });
  const caption = (performance.now() - plainStart) / captions.length ** 2;
  const layers = ["U-L1-R1-B0-Cross"];
  const chosen = await eye.score(pictures, captions, { layers, padding: false, signal });
  const settings = [
    judge("As in the paper: all layers", "", plain),
    judge("The last layer, without padding", "--layer U-L1-R1-B0-Cross --no-padding", chosen),
  ];

  stage("pictures from texts", 5);
  const generated = [];
  let picture = 0;
  for (const prompt of prompts) {
    const start = performance.now();
    const image = await eye.generate(prompt, { steps, signal });
    picture = performance.now() - start;
    generated.push({ prompt, seed: 0, picture: encodePng(image) });
  }

  const { parameters } = await inspect("embedded:sd");
  return {
    scenesFolder,
    parameters,
    size: eye.size,
    threads,
    seconds: (performance.now() - begin) / 1000,
    scenes,
    pictures,
    changes,
    answers,
    words,
    features: { draws, taps },
    scores: { settings },
    generated: { steps, pictures: generated },
    timings: { first: firstTime, nextQuestion, newPicture, attention, caption, picture },
  };
}

/** What each text changes in the features of a picture, all on one scale. */
export async function changesOf(
  eye: DiffusionEncoder,
  picture: Png,
  image: RgbImage,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<Change[]> {
  const found = [];
  for (const prompt of texts) {
    const features = await eye.encode(picture, {
      prompt,
      taps: [changeTap],
      parts: ["unconditional", "delta"],
      ensemble: draws,
      signal,
    });
    const [whole, change] = (["unconditional", "delta"] as const).map((part) =>
      normMap(features.get(changeTap, { part })),
    );
    found.push({ text: prompt, change: change!, share: mean(change!) / mean(whole!) });
  }
  // The strongest cells may saturate, so that weaker changes can be seen beside them.
  const sorted = Float32Array.from(found.flatMap(({ change }) => [...change.toFloat32()])).sort();
  const strong = sorted[Math.floor(0.99 * sorted.length)]!;
  return found.map(({ text, change, share }) => ({ text, share, map: overlaid(image, change, [0, strong]) }));
}

function overlaid(image: RgbImage, map: Tensor, normalise: "minmax" | [number, number] = "minmax"): Png {
  return encodePng(overlay(resize(image, mapSide, mapSide, "bicubic"), map, { normalise }));
}

function mean(map: Tensor): number {
  return map.toFloat32().reduce((sum, value) => sum + value, 0) / map.size;
}

/** @param scores [pictures][captions] */
function judge(name: string, flags: string, scores: readonly (readonly TextScore[])[]): ScoreSetting {
  const count = scores.length;
  const of = (picture: number, caption: number) => scores[picture]![caption]!.score;
  const centred = scores.map((_, caption) => {
    const own = scores.map((_, picture) => of(picture, caption));
    const middle = own.reduce((sum, value) => sum + value, 0) / count;
    return own.map((value) => value - middle);
  });
  let right = 0;
  let pairs = 0;
  for (let a = 0; a < count; a++) {
    for (let b = 0; b < a; b++) {
      pairs++;
      if (of(a, a) + of(b, b) > of(a, b) + of(b, a)) right++;
    }
  }
  return { name, flags, centred, right, pairs };
}
