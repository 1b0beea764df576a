/** @file Where a diffusion model looks: its words' maps and what a question changes, held against the things' masks. */

import type { DiffusionEncoder } from "../../diffusion/index.js";
import { example, plural, type Split, shown, World } from "../../diorama/index.js";
import { normMap } from "../../image/index.js";
import { aborted, type DiffsightError, type Tensor } from "../../tensor/index.js";
import { type Pointing, pointing } from "../pointing.js";
import { type Estimate, meanOf, share } from "../statistics.js";

export interface LooksOptions {
  /** Scenes; default 200. */
  scenes?: number;
  split?: Split;
  /** For the change that a question makes. Default `U-L1-R1-B0-Cross-Q`. */
  tap?: string;
  timestep?: number;
  /** Averages what a question changes over this many draws of noise; default 4. */
  ensemble?: number;
  signal?: AbortSignal | undefined;
  onScene?: (done: number, scenes: number) => void;
}

/** How often, and how well, maps of one kind lie on the thing. */
export interface LooksAt {
  /** The largest place is on the thing. */
  hits: Estimate;
  /** The things' mean share of the picture: hits of a random place. */
  chance: number;
  iou: Estimate;
  /** The thing's share of the map. */
  mass: Estimate;
}

export interface Looks {
  /** Maps of nouns, the prompt being the full caption. */
  words: LooksAt;
  /** |Δcond|: how much the question changes the features at each place, against what it asks about. */
  questions: LooksAt;
  /** The same with the question of another scene, against what this scene's question asks about: not looking would do as well. */
  others: LooksAt;
}

function summary(found: readonly Pointing[]): LooksAt {
  return {
    hits: share(found.filter(({ hit }) => hit).length, found.length),
    chance: found.reduce((sum, one) => sum + one.chance, 0) / found.length,
    iou: meanOf(found.map(({ iou }) => iou)),
    mass: meanOf(found.map(({ mass }) => mass)),
  };
}

/** Looks at scenes of the diorama through a model. Deterministic. */
export async function looks(eye: DiffusionEncoder, options: LooksOptions = {}): Promise<Looks> {
  const {
    scenes = 200,
    split = "validation",
    tap = "U-L1-R1-B0-Cross-Q",
    timestep = 50,
    ensemble = 4,
  } = options;
  const { signal, onScene = () => {} } = options;
  const world = await World.open();
  const [words, questions, others]: Pointing[][] = [[], [], []];
  let before: string | undefined;
  for (let index = 0; index < scenes; index++) {
    if (signal?.aborted) throw aborted();
    const { scene, rendering, captions, questions: asked } = example(world, index, { split });
    const { size } = rendering;
    const image = { data: rendering.rgb, width: size, height: size, channels: 3 as const };
    const maskOf = (things: readonly number[]) => ({
      data: rendering.mask.map((item) => Number(item > 0 && things.includes(item - 1))),
      width: size,
      height: size,
    });
    const point = (map: Tensor, things: readonly number[], into: Pointing[]) => {
      const mask = maskOf(things);
      if (mask.data.some((on) => on)) into.push(pointing(map, mask));
    };

    // 1. The nouns of the caption
    const maps = await eye.attend(image, { prompt: captions.full, timesteps: [timestep], signal });
    const things = shown(scene);
    for (const noun of new Set(things.map((thing) => thing.noun))) {
      const those = [...things.keys()].filter((i) => things[i]!.noun === noun);
      try {
        point(maps.word(those.length > 1 ? plural(noun) : noun), those, words!);
      } catch (error) {
        if ((error as DiffsightError).code !== "UNKNOWN_WORD") throw error;
      }
    }

    // 2. What the question asks about
    const [main] = asked;
    if (main?.about.length !== 1) continue;
    const change = async (prompt: string) => {
      const request = {
        taps: [tap],
        timesteps: [timestep],
        parts: ["delta" as const],
        ensemble,
        prompt,
        signal,
      };
      return normMap((await eye.encode(image, request)).features);
    };
    point(await change(main.question), main.about, questions!);
    if (before !== undefined && before !== main.question) point(await change(before), main.about, others!);
    before = main.question;
    onScene(index + 1, scenes);
  }
  return { words: summary(words!), questions: summary(questions!), others: summary(others!) };
}
