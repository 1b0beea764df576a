/** @file Plans of sweeps: what they become, and what is said of those that are wrong. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expandPlan, openPlan } from "../src/evaluation/index.js";
import { run } from "./cli.js";
import { tinyPlan } from "./sweep/tiny.js";

const assets = fileURLToPath(new URL("../assets", import.meta.url));
const recipes = fileURLToPath(new URL("../recipes", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-sweep-plan-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The runs of the tiny plan with changes. */
async function runsOf(changes: Record<string, unknown> = {}, plan: object = tinyPlan(assets)) {
  const file = path.join(folder, "plan.json");
  writeFileSync(file, JSON.stringify({ ...plan, ...changes }));
  return expandPlan(await openPlan(file));
}

const names = (run: Awaited<ReturnType<typeof runsOf>>[number]) => run.recipe.stages.map(({ name }) => name);

describe("a plan", () => {
  it("is a recipe for each variant and seed, seed by seed", async () => {
    const runs = await runsOf();
    expect(runs.map(({ variant, seed }) => `${variant}-${seed}`)).toEqual([
      "clip-1",
      "both-1",
      "clip-2",
      "both-2",
    ]);
    for (const run of runs) {
      const speaker = run.recipe.stages.find(({ name }) => name === "speaker")!;
      const texts = run.recipe.stages.find(({ name }) => name === "texts")!;
      expect([speaker, texts]).toMatchObject([{ seed: run.seed }, { seed: 0 }]);
      expect(names(run).at(-1)).toBe(`${run.variant}-${run.seed}`);
    }
  });

  it("leaves out the stages that a variant does not need", async () => {
    const [clip, both] = await runsOf();
    expect(names(clip!)).not.toContain("features-sd");
    expect(names(both!)).toEqual(
      expect.arrayContaining(["features-clip", "features-sd", "features-sd-question-validation"]),
    );
    expect(Object.keys(both!.description.encoders)).toEqual(["clip", "sd"]);
  });

  it("takes a recipe's path as its base, and models by their place beside the plan", async () => {
    const { base, ...rest } = tinyPlan("../assets");
    mkdirSync(path.join(folder, "plans"), { recursive: true });
    writeFileSync(path.join(folder, "plans", "base.json"), JSON.stringify({ name: "base", stages: base }));
    const file = path.join(folder, "plans", "plan.json");
    writeFileSync(file, JSON.stringify({ ...rest, base: "base.json" }));
    const [, both] = expandPlan(await openPlan(file));
    const clip = path.join(folder, "assets/micro/clip");
    const features = both!.recipe.stages.find(({ name }) => name === "features-clip");
    expect(features).toMatchObject({ config: { as: { model: clip } } });
    expect(both!.description.encoders).toMatchObject({ clip: { model: clip } });
  });

  it("puts additional stages where they are needed", async () => {
    const own = { kind: "data", producer: "features", data: { pictures: "scenes" } };
    const [first] = await runsOf({
      variants: {
        clip: {
          stages: [{ ...own, name: "own-clip", config: { encoder: "clip", model: `${assets}/micro/clip` } }],
          set: { "speaker.data.clip": "own-clip" },
        },
      },
    });
    const all = names(first!);
    expect(all.indexOf("own-clip")).toBeGreaterThan(all.indexOf("scenes"));
    expect(all.indexOf("own-clip")).toBeLessThan(all.indexOf("speaker"));
    expect(all).not.toContain("features-clip");
  });

  it("makes features once for encoders that differ in what they are told alone", async () => {
    const sd = (conditioning: object) => ({
      set: {
        "speaker.config.sight.encoders": {
          sd: { kind: "diffusion", model: `${assets}/micro/sd`, conditioning },
        },
      },
    });
    const told = (guidance: number, dropout: number) => ({ text: "question", guidance, dropout });
    const [one, other, none] = await runsOf({
      baseline: "one",
      variants: {
        one: sd({ stage2: told(1, 0) }),
        other: sd({ stage2: told(4, 0.3) }),
        none: sd({ stage2: { text: "none" }, inference: { text: "none" } }),
      },
    });
    const features = (run: typeof one) => run!.recipe.stages.filter(({ name }) => /^features-/.test(name));
    expect(features(one)).toHaveLength(4);
    expect(features(other)).toEqual(features(one));
    expect(features(none)).toHaveLength(2);
  });
});

describe("a plan that is wrong", () => {
  const clip = (set: Record<string, unknown>) => ({ variants: { clip: { set } } });
  const cases: [what: string, changes: Record<string, unknown>, message: string][] = [
    [
      "a field that is not known",
      { variants: { clip: { sets: {} } } },
      'variants.clip: "sets" is not known here',
    ],
    ["no variant", { variants: {} }, "variants: there is none"],
    [
      "a baseline that is no variant",
      { baseline: "none" },
      'baseline: no variant is called "none" (clip, both)',
    ],
    ["a contrast of nothing", { contrasts: [["clip", "x"]] }, 'contrasts[0][1]: no variant is called "x"'],
    [
      "a seed twice",
      { seeds: { stages: ["speaker"], values: [1, 1] } },
      "seeds.values: a seed is there twice",
    ],
    [
      "a seeded stage that is not there",
      { seeds: { stages: ["x"], values: [1] } },
      'seeds.stages[0]: no stage is called "x"',
    ],
    ["a model that is not there", { model: "x" }, 'variants.clip: model: no stage is called "x"'],
    ["a model that is no export", { model: "texts" }, "variants.clip: model: clip-1 is no stage of export"],
    [
      "a change of no stage",
      clip({ "spoken.config.length": 3 }),
      'variants.clip.set["spoken.config.length"]: no stage is called "spoken"',
    ],
    ["a change of a whole stage", clip({ speaker: 3 }), 'variants.clip.set["speaker"]: a path is'],
    ["a change of a name", clip({ "speaker.name": "x" }), "a stage keeps its name"],
    ["a change of no list", clip({ "speaker.config[0]": 3 }), 'speaker has no "0" there'],
    ["a change beyond a list", clip({ "speaker.init[3].keys": "*" }), 'speaker has no "3" there'],
    [
      "a change within a number",
      clip({ "speaker.steps.more": 1 }),
      '"steps" of speaker is 6 and has no fields',
    ],
    ["what a recipe does not know", clip({ "speaker.stepps": 3 }), "variants.clip: stages["],
    [
      "a model that sees nothing",
      clip({ "speaker.config.sight": null }),
      "variants.clip: speaker: config.sight is missing",
    ],
    [
      "a description by its path",
      clip({ "speaker.config.sight": "x.json" }),
      "variants.clip: speaker: config.sight is written out in a sweep",
    ],
    [
      "what a description does not know",
      clip({ "speaker.config.sight.encoders.clip.tokens": "some" }),
      "variants.clip: encoders.clip.tokens: expected one of patches, all, class",
    ],
    [
      "a stage that nothing needs",
      { variants: { clip: { stages: [{ name: "idle" }] } } },
      'variants.clip: stages[0]: the model does not need "idle"',
    ],
  ];
  it.each(cases)("with %s", async (_, changes, message) => {
    await expect(runsOf(changes)).rejects.toThrow(message);
  });

  it("that is no JSON", async () => {
    const file = path.join(folder, "plan.json");
    writeFileSync(file, "{");
    await expect(openPlan(file)).rejects.toThrow("The plan is no JSON");
    await expect(openPlan(path.join(folder, "none.json"))).rejects.toThrow("cannot be read");
  });

  it("asked for what it does not have", async () => {
    const file = path.join(folder, "plan.json");
    writeFileSync(file, JSON.stringify(tinyPlan(assets)));
    const opened = await openPlan(file);
    expect(() => expandPlan(opened, { only: ["x"] })).toThrow(
      'No variant is called "x": there are clip, both.',
    );
    expect(() => expandPlan(opened, { seeds: 3 })).toThrow("The plan has 2 seeds, not 3.");
  });
});

it("is explained by an example that is whole", async () => {
  const guide = readFileSync(new URL("../docs/experiments.md", import.meta.url), "utf8");
  const file = path.join(folder, "guide.json");
  writeFileSync(file, /```json\n([\s\S]*?)```/.exec(guide)![1]!);
  const runs = expandPlan(await openPlan(file));
  expect(runs.map(({ variant }) => variant)).toEqual(["near", "far", "near", "far", "near", "far"]);
  expect(runs[1]!.description.encoders.sd).toMatchObject({ timestep: 500 });
});

describe("a plan of the package", () => {
  const plans = readdirSync(recipes).filter((file) => /^sweep-(?!base)/.test(file));

  it.each(plans)("%s is whole", async (file) => {
    const opened = await openPlan(path.join(recipes, file));
    const runs = expandPlan(opened);
    expect(new Set(runs.map(({ seed }) => seed)).size).toBeGreaterThanOrEqual(3);
    expect(file).toBe(`${opened.plan.name}.json`);
  });

  it("is found by its name beside a folder of that name", async () => {
    mkdirSync(path.join(folder, "sweep-fusion"));
    const { status, stderr } = await run(["sweep", "sweep-fusion", "--only", "x"], { cwd: folder });
    expect([status, stderr]).toEqual([2, expect.stringContaining('No variant is called "x"')]);
  });
});
