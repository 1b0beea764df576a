/** @file What comes back of captions that diffusion is told: variants over their seeds, and pairs of them. */

import { crossedDifference, crossedValue, type Runs } from "../crossed.js";
import { gainsOf } from "../leakage/findings.js";
import type { Condition } from "../leakage/measure.js";
import type { Estimate } from "../statistics.js";

/** What is needed of one model's findings. */
export interface KeptLeakage {
  outcomes: readonly Condition[];
  /** A number a picture, by condition: told nothing first, then the outcomes. */
  each: readonly Readonly<Record<"cider" | "otherCider", readonly number[]>>[];
}

/** Means over seeds and pictures, or differences of two variants'; CIDEr-D, whose 1.0 is printed as 100. */
export interface ToldFindings {
  /** What is said without a prompt, against the picture's own caption. */
  unprompted: Estimate;
  told: {
    /** s of the guided features. */
    guidance: number;
    /** How much nearer to its own caption what is said comes when that caption is told. */
    gap: Estimate;
    /** How much nearer to another picture's caption when that one is told: what leaks. */
    mismatch: Estimate;
  }[];
}

/** Of each number a run for each seed, picture by picture. */
interface Numbers {
  unprompted: Runs;
  told: { guidance: number; gap: Runs; mismatch: Runs }[];
}

/** @param seeds of one variant; none where something was not measured */
export function toldFindings(seeds: readonly (KeptLeakage | undefined)[]): ToldFindings | undefined {
  const own = numbersOf(seeds);
  if (!own) return undefined;
  return {
    unprompted: crossedValue(own.unprompted),
    told: own.told.map(({ guidance, gap, mismatch }) => ({
      guidance,
      gap: crossedValue(gap),
      mismatch: crossedValue(mismatch),
    })),
  };
}

/** How much more of everything the first variant has than the second. */
export function comparedTold(
  first: readonly (KeptLeakage | undefined)[],
  second: readonly (KeptLeakage | undefined)[],
): ToldFindings | undefined {
  const [a, b] = [numbersOf(first), numbersOf(second)];
  if (!a || !b) return undefined;
  const pictures = Array<string>(a.unprompted[0]!.length).fill("");
  const less = (one: Runs, other: Runs) => crossedDifference(one, other, pictures);
  return {
    unprompted: less(a.unprompted, b.unprompted),
    told: a.told.map(({ guidance, gap, mismatch }, i) => ({
      guidance,
      gap: less(gap, b.told[i]!.gap),
      mismatch: less(mismatch, b.told[i]!.mismatch),
    })),
  };
}

function numbersOf(seeds: readonly (KeptLeakage | undefined)[]): Numbers | undefined {
  const there = seeds.filter((one) => one !== undefined);
  if (there.length < seeds.length || there.length === 0) return undefined;
  const { outcomes } = there[0]!;
  const gains = (told: "truth" | "mismatched", guidance: number, score: "cider" | "otherCider") => {
    const at = 1 + outcomes.findIndex((one) => one.told === told && one.guidance === guidance);
    return there.map((one) => gainsOf(one, at, score)!);
  };
  return {
    unprompted: there.map(({ each }) => each[0]!.cider),
    told: [...new Set(outcomes.map(({ guidance }) => guidance))].map((guidance) => ({
      guidance,
      gap: gains("truth", guidance, "cider"),
      mismatch: gains("mismatched", guidance, "otherCider"),
    })),
  };
}
