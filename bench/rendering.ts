/** @file Pictures of the diorama a second on one core, with panorama and shadows. */

import { drawScene, Random, type Stage, stageOf, World } from "../src/diorama/index.js";
import { duration, type Summary, seconds, summarize, table, verdict } from "./measure.js";

export interface RenderingTimes {
  /** Pixels a side. */
  size: number;
  pictures: number;
  /** Seconds a picture. */
  time: Summary;
}

const batches = [
  { size: 64, pictures: 200 },
  { size: 128, pictures: 80 },
  { size: 256, pictures: 40 },
];

/** Draws the same scenes at each size; the drawing of scenes and the unpacking of models are left out. */
export async function measureRendering(rounds: number): Promise<RenderingTimes[]> {
  const world = await World.open();
  const stages = Array.from({ length: 200 }, (_, i) => stageOf(drawScene(new Random(1, i)), world));
  const draw = (stage: Stage, size: number) => world.render(stage, { size });
  for (const stage of stages) draw(stage, 64);
  const results: RenderingTimes[] = [];
  for (const { size, pictures } of batches) {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const batch = async () => {
        for (const stage of stages.slice(0, pictures)) draw(stage, size);
      };
      times.push((await seconds(batch)) / pictures);
    }
    results.push({ size, pictures, time: summarize(times) });
  }
  return results;
}

export function writeRendering(results: readonly RenderingTimes[]): string {
  const rows = results.map(({ size, time: { median, minimum } }) => [
    `${size} x ${size}`,
    `${duration(median)} (${duration(minimum)})`,
    (1 / median).toFixed(0),
    size === 64 ? verdict(1 / median, { atLeast: 60, aim: 150 }) : "",
  ]);
  return table(["picture", "median (minimum)", "a second, one core", "target"], rows);
}
