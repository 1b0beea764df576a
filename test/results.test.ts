/** @file What docs/results keeps of sweeps was made as it would be made now: pages are written from it without a model. */

import { readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { expandPlan, openPlan } from "../src/evaluation/index.js";
import { findOutcome } from "../src/evaluation/sweep/outcomes.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const results = path.join(root, "docs", "results");

describe.each(readdirSync(results))("%s", (sweep) => {
  const out = path.join(results, sweep);
  const files = readdirSync(path.join(out, "outcomes")).filter((file) => !file.startsWith("questions-"));

  it("has outcomes of its plan, none of other settings", async () => {
    const opened = await openPlan(path.join(root, "recipes", `${sweep}.json`));
    const runs = new Map(expandPlan(opened).map((run) => [`${run.variant}-${run.seed}.json`, run]));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      expect(runs.has(file), file).toBe(true);
      const found = await findOutcome(runs.get(file)!, opened, { out, tuning: false });
      expect(found.other, `${file} tells of other settings`).toBeUndefined();
      expect(found.outcome, file).toBeDefined();
    }
  }, 300_000);
});
