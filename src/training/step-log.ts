/** @file The log of a training stage: a line a step, in its folder. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { LoggedStep } from "./curve.js";

export const stepLog = (folder: string): string => join(folder, "metrics.jsonl");

/** Whole lines only: the last one may be in the making, or cut off. None where nothing was logged. */
export async function loggedSteps(folder: string): Promise<LoggedStep[]> {
  const text = await readFile(stepLog(folder), "utf8").catch(() => "");
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as LoggedStep);
}

/** Seconds that half of the steps took at most: what else ran meanwhile, and pauses, hardly show. */
export function medianSeconds(steps: readonly LoggedStep[]): number | undefined {
  const taken = steps.slice(1).map(({ seconds }, i) => seconds - steps[i]!.seconds);
  return taken.sort((a, b) => a - b)[Math.floor(taken.length / 2)];
}
