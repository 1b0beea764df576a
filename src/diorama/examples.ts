/** @file Scenes as they are used: drawn, rendered, looked at, and drawn again where the picture would not be fair. */

import { failure, misuse } from "../tensor/index.js";
import { type Captions, captions } from "./captions.js";
import { type DrawOptions, drawScene, unseenShares } from "./draw.js";
import { type Pattern, patterns } from "./lexicon.js";
import { type Assets, stageOf } from "./placing.js";
import { mainQuestion, type Question, questions } from "./questions.js";
import { Random } from "./random.js";
import { type Scene, type Split, shown, splits } from "./scene.js";
import type { Rendering, Stage } from "./stage.js";
import { type TwinScenes, twins } from "./twins.js";

/** What draws a stage; `World` is one. */
export interface Renderer extends Assets {
  render(stage: Stage, options: { size: number }): Rendering;
}

export interface ExampleOptions extends DrawOptions {
  /** Names a world of scenes; 0 unless told. */
  seed?: number;
  /** Pixels a side of the picture; 64 unless told. Facts and questions do not depend on it. */
  size?: number;
}

export type TwinOptions = ExampleOptions & { pattern: Pattern };

export interface Example {
  scene: Scene;
  /** Draws before it that were turned down. */
  attempt: number;
  rendering: Rendering;
  captions: Captions;
  /** Those whose things are well in sight; the first is what the scene was made for. */
  questions: Question[];
}

export interface TwinExample extends TwinScenes {
  /** Draws before them that were turned down. */
  attempt: number;
  renderings: readonly [Rendering, Rendering];
  captions: readonly [Captions, Captions];
}

/** Pictures are judged at this size, whatever size is asked for. */
const judged = 64;
const attempts = 200;

/**
 * The scene of this number, a pure function of (seed, split, index, pattern).
 * @param index from 0
 */
export function example(renderer: Renderer, index: number, options: ExampleOptions = {}): Example {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const scene = sceneOf(index, options, attempt);
    const rendering = renderer.render(stageOf(scene, renderer), { size: judged });
    if (!isFair(mainQuestion(scene), scene, rendering)) continue;
    // What is measured is exactly even: a scene counts only where its twin would.
    if (scene.split !== "train" && !isFairAlone(renderer, twins(scene).scenes[1])) continue;
    return {
      scene,
      attempt,
      rendering: atSize(renderer, scene, rendering, options.size),
      captions: captions(scene),
      questions: questions(scene).filter((question) => isFair(question, scene, rendering)),
    };
  }
  throw exhausted(index, options);
}

/** The twins of this number for a pattern, a pure function of (seed, split, index, pattern). */
export function twinExample(renderer: Renderer, index: number, options: TwinOptions): TwinExample {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const pair = twinsOf(index, options, attempt);
    const [one, other] = pair.scenes;
    const first = renderer.render(stageOf(one, renderer), { size: judged });
    if (!isFair(pair.question, one, first)) continue;
    const second = renderer.render(stageOf(other, renderer), { size: judged });
    if (!isFair(mainQuestion(other), other, second)) continue;
    return {
      ...pair,
      attempt,
      renderings: [atSize(renderer, one, first, options.size), atSize(renderer, other, second, options.size)],
      captions: [captions(one), captions(other)],
    };
  }
  throw exhausted(index, options);
}

/** Draw number `attempt` of a scene: `example` takes the first whose picture is fair. */
export function sceneOf(index: number, options: ExampleOptions, attempt: number): Scene {
  return drawScene(stream(index, options, 0, attempt), options);
}

/** Draw number `attempt` of twins: `twinExample` takes the first whose pictures are fair. */
export function twinsOf(index: number, options: TwinOptions, attempt: number): TwinScenes {
  return twins(drawScene(stream(index, options, 1, attempt), options));
}

/** The patterns of which a split has twins. */
export function twinPatterns(split: Split): readonly Pattern[] {
  return split === "unseen" ? patterns.filter((pattern) => pattern in unseenShares) : patterns;
}

function isFairAlone(renderer: Renderer, scene: Scene): boolean {
  return isFair(mainQuestion(scene), scene, renderer.render(stageOf(scene, renderer), { size: judged }));
}

/** Every draw has random numbers of its own. */
function stream(
  index: number,
  { seed = 0, split = "train", pattern }: ExampleOptions,
  use: 0 | 1,
  attempt: number,
): Random {
  if (!Number.isSafeInteger(index) || index < 0)
    throw misuse("RANGE", `A scene's number is a whole number from 0 on, not ${index}.`);
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw misuse("SEED", `A world's seed is a whole number from 0 to 2^53 - 1, not ${seed}.`);
  const purpose = pattern === undefined ? 0 : 1 + patterns.indexOf(pattern);
  return new Random(seed, splits.indexOf(split), use, purpose, index, attempt);
}

function atSize(renderer: Renderer, scene: Scene, rendering: Rendering, size = judged): Rendering {
  return size === judged ? rendering : renderer.render(stageOf(scene, renderer), { size });
}

function exhausted(index: number, { split, pattern }: { split?: Split; pattern?: Pattern }): Error {
  const what = pattern ? ` for ${pattern}` : "";
  return failure("SCENE", `No fair scene ${index}${what} in ${split ?? "train"} after ${attempts} attempts.`);
}

/** Least pixels of a 64 x 64 picture in which a thing that is asked about is seen. */
const leastPixels = 45;
const leastPixelsOfHat = 22;
/** Least share of it that others leave in sight. */
const leastShare = 0.5;
/** A front shows on things this wide or high, almost wholly in sight. */
const leastSideOfFront = 24;
const leastShareOfFront = 0.8;

/** Whether the picture shows what the question asks about. */
export function isFair({ pattern, about }: Question, scene: Scene, { visible }: Rendering): boolean {
  const inSight = about.every((index) => {
    const { box, pixels, unoccluded } = visible[index]!;
    const [left, top, right, bottom] = box;
    const side = Math.max(right - left, bottom - top);
    if (pattern === "orientation" && (side < leastSideOfFront || pixels < leastShareOfFront * unoccluded))
      return false;
    return pixels >= leastPixels && pixels >= leastShare * unoccluded;
  });
  const hats = visible.slice(shown(scene).length);
  return inSight && hats.every(({ pixels }) => pixels >= leastPixelsOfHat);
}
