/** @file How many scenes and steps a probe has, from its flags. */

import type { ProbePlan } from "../../evaluation/index.js";
import { misuse } from "../../tensor/index.js";

/** Settings of a head with other steps than usual. */
export function shortened(steps: number): NonNullable<ProbePlan["settings"]> {
  if (steps < 1) throw misuse("RANGE", `--steps must be at least 1, not ${steps}.`);
  const warmup = Math.min(50, Math.floor(steps / 10));
  return { steps, schedule: { kind: "cosine", warmup, hold: 0, to: 0 } };
}

/** Pictures that heads learn from, and a share of as many that stop and judge them. */
export function scenesOf({ scenes, pairs }: { scenes: number; pairs: number }): Pick<ProbePlan, "scenes"> {
  return {
    scenes: {
      train: scenes,
      validation: Math.ceil(scenes / 10),
      test: Math.ceil(scenes / 5),
      unseen: Math.ceil(scenes / 20),
      twins: pairs,
    },
  };
}
