/** @file Recipes: what is refused and how, what runs again after a change and what does not, and what is left at the end. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Store } from "../src/data/index.js";
import { type DiffsightError, decodeSafetensors } from "../src/tensor/index.js";
import {
  estimateStage,
  parseRecipe,
  planStages,
  type Recipe,
  type RecipeEvent,
  type Registry,
  runRecipe,
} from "../src/training/index.js";

const root = mkdtempSync(path.join(tmpdir(), "diffsight-recipe-"));
afterAll(() => rmSync(root, { recursive: true }));

let folders = 0;
const folder = () => path.join(root, String(folders++));

const module = (name: string) => new URL(`training/${name}.ts`, import.meta.url).href;
const registry: Registry = {
  tasks: { tiny: module("tiny-task") },
  producers: { points: module("tiny-producer") },
};

const training = { steps: 12, batch: 8, parts: 2, optimizer: { lr: 0.01 }, checkpoint: 5 };

const plain = {
  name: "test",
  stages: [
    { name: "points", kind: "data", producer: "points", config: { count: 60 }, shard: 16 },
    {
      name: "net",
      kind: "train",
      task: "tiny",
      config: { hidden: 8 },
      data: { points: "points" },
      ...training,
    },
    { name: "shifted", kind: "data", producer: "points", data: { points: "points" }, models: { net: "net" } },
    {
      name: "second",
      kind: "train",
      task: "tiny",
      config: { hidden: 8 },
      data: { points: "shifted" },
      init: [{ from: "net", keys: "in.*" }],
      ...training,
    },
    { name: "whole", kind: "export", from: ["second"], layout: "model", title: "A test's net", dtype: "f32" },
  ],
};

/** The recipe with a change somewhere. */
function changed(change: (stages: Record<string, Record<string, unknown>>) => void): Recipe {
  const copy = structuredClone(plain);
  change(Object.fromEntries(copy.stages.map((stage) => [stage.name, stage])));
  return parseRecipe(JSON.stringify(copy));
}

function refusal(json: unknown): string {
  try {
    parseRecipe(typeof json === "string" ? json : JSON.stringify(json));
  } catch (error) {
    expect((error as DiffsightError).code).toBe("RECIPE");
    expect((error as DiffsightError).misuse).toBe(true);
    return (error as DiffsightError).message;
  }
  throw new Error("It was taken.");
}

/** Runs it; tells which stages did something. */
async function run(recipe: Recipe, out: string, onEvent: (event: RecipeEvent) => void = () => {}) {
  const worked: string[] = [];
  const summaries = await runRecipe(recipe, {
    out,
    threads: 2,
    registry,
    onEvent(event) {
      if (event.kind === "stage" && !event.done) worked.push(event.name);
      onEvent(event);
    },
  });
  return { worked, summaries };
}

describe("a recipe that is wrong", () => {
  const net = plain.stages[1]!;
  it.each([
    [{ ...net, optimizer: { lr: "fast" } }, "stages[0].optimizer.lr: expected a number"],
    [{ ...net, optimizer: {} }, "stages[0].optimizer.lr: expected a number"],
    [{ ...net, steps: 0 }, "stages[0].steps: must be more than 0"],
    [{ ...net, steps: 1.5 }, "stages[0].steps: expected a whole number or expected an object"],
    [{ ...net, step: 3 }, 'stages[0]: "step" is not known here'],
    [{ ...net, parts: 3 }, "stages[0].parts: 3 parts do not divide a batch of 8"],
    [{ ...net, kind: "learn" }, "stages[0].kind: expected one of data, train, export"],
    [
      { ...net, schedule: { kind: "sine" } },
      "stages[0].schedule.kind: expected one of constant, cosine, linear",
    ],
    [
      { ...net, schedule: { warmup: 12 } },
      "stages[0].schedule.warmup: 12 steps of warmup leave nothing of 12 steps",
    ],
    [{ ...net, name: "My Net" }, "stages[0].name: a name is lower-case words and numbers joined by hyphens"],
  ])("is refused with the path: %#", (stage, message) => {
    const { data: _, ...alone } = stage as typeof net & { data?: unknown };
    expect(refusal({ name: "test", stages: [alone] })).toBe(message);
  });

  it("is refused when it is no JSON, or names stages that are not there", () => {
    expect(refusal("{")).toMatch(/^The recipe is no JSON/);
    expect(refusal({ ...plain, stages: plain.stages.slice(1) })).toBe(
      'stages[0].data.points: no earlier stage of kind data is called "points" (there is none); ' +
        'stages[1].data.points: no earlier stage of kind data is called "points" (there is none)',
    );
    expect(refusal({ ...plain, stages: [plain.stages[0], plain.stages[0]] })).toBe(
      'stages[1].name: "points" is taken',
    );
  });

  it("is refused by the task whose config it is", async () => {
    const wrong = changed(({ net }) => (net!.config = { hidden: -1 }));
    await expect(planStages(wrong, root, registry)).rejects.toThrow(
      "stages[1].config.hidden: must be more than 0",
    );
    const unknown = changed(({ net }) => (net!.task = "huge"));
    await expect(planStages(unknown, root, registry)).rejects.toThrow(
      'stages[1].task: no task is called "huge": there are tiny',
    );
  });

  it("is refused where its task knows of no states to keep", async () => {
    const wrong = changed((stages) => {
      stages.net!.gradientCheckpointing = true;
    });
    await expect(run(wrong, path.join(root, "stateless"))).rejects.toThrow(
      "gradientCheckpointing: this task knows of no states to keep; the task speaker does.",
    );
  });
});

describe("addresses", () => {
  it("change with what a stage depends on, and with nothing else", async () => {
    const keys = async (recipe: Recipe) =>
      Object.fromEntries(
        (await planStages(recipe, root, registry)).map(({ stage, key }) => [stage.name, key]),
      );
    const before = await keys(changed(() => {}));
    const moved = async (change: Parameters<typeof changed>[0]) => {
      const after = await keys(changed(change));
      return Object.keys(before).filter((name) => before[name] !== after[name]);
    };
    expect(await moved(({ points }) => (points!.config = { count: 61 }))).toEqual([
      "points",
      "net",
      "shifted",
      "second",
      "whole",
    ]);
    expect(await moved(({ net }) => (net!.seed = 1))).toEqual(["net", "shifted", "second", "whole"]);
    expect(await moved(({ second }) => (second!.steps = 13))).toEqual(["second", "whole"]);
    expect(await moved(({ whole }) => (whole!.dtype = "f16"))).toEqual(["whole"]);
    expect(await moved(({ net }) => (net!.checkpoint = 6))).toEqual([]);
    // Fields in another order, and defaults spelt out, are the same recipe.
    expect(await moved(({ net }) => (net!.optimizer = { eps: 1e-8, betas: [0.9, 0.999], lr: 0.01 }))).toEqual(
      [],
    );
  });
});

describe("a run of a recipe", () => {
  const out = folder();
  const first = run(
    changed(() => {}),
    out,
  );

  it("makes every stage, and a model with its card", async () => {
    const { worked, summaries } = await first;
    expect(worked).toEqual(["points", "net", "shifted", "second", "whole"]);
    const store = Store.open(summaries[0]!.folder);
    expect(store.rows).toBe(60);
    expect(store.line(59)).toEqual({ row: 59, name: "punkt 59 ✓" });
    await store.verify();
    const model = summaries[4]!.folder;
    expect(readdirSync(model).sort()).toEqual(["README.md", "config.json", "model.safetensors", "training"]);
    const { tensors } = decodeSafetensors(readFileSync(path.join(model, "model.safetensors")));
    expect([...tensors.keys()]).toEqual(["in.bias", "in.weight", "out.weight", "unused"]);
    const card = readFileSync(path.join(model, "README.md"), "utf8");
    expect(card).toMatch(/\| time \| \d+ s with \d+ threads \(.+\); \S+ s a step in the median \|/);
    expect(card).toMatch(/^---\nlicense: apache-2.0\n/);
    expect(card).toContain("# A test's net");
    expect(card).toContain("| seed | 0 |");
    expect(card).toContain("## Data\n\nThe points are nobody's.\n\n## Recipe");
    expect(card).toContain('"producer": "points"');
    expect(existsSync(path.join(model, "training", "second.svg"))).toBe(true);
  });

  it("does nothing when called again, and only what a change touches", async () => {
    await first;
    const weights = (name: string) =>
      readdirSync(path.join(out, name)).map(
        (key) => statSync(path.join(out, name, key, "weights.safetensors")).mtimeMs,
      );
    const before = weights("net");
    expect(
      (
        await run(
          changed(() => {}),
          out,
        )
      ).worked,
    ).toEqual([]);
    expect(
      (
        await run(
          changed(({ second }) => (second!.seed = 4)),
          out,
        )
      ).worked,
    ).toEqual(["second", "whole"]);
    expect(weights("net")).toEqual(before);
    expect(
      (
        await run(
          changed(() => {}),
          out,
        )
      ).worked,
    ).toEqual([]);
  });

  it("goes on after Ctrl-C, with the same weights", async () => {
    await first;
    const place = folder();
    for (const stage of ["points", "net", "second"]) {
      const control = new AbortController();
      const stop = runRecipe(
        changed(() => {}),
        {
          out: place,
          threads: 1,
          registry,
          signal: control.signal,
          onEvent: (event) => {
            if ((event.kind === "rows" || event.kind === "step") && event.name === stage) control.abort();
          },
        },
      );
      await expect(stop).rejects.toMatchObject({ code: "ABORTED" });
    }
    const { summaries } = await run(
      changed(() => {}),
      place,
    );
    const whole = (await first).summaries;
    expect(summaries.map(({ result }) => result?.weights)).toEqual(
      whole.map(({ result }) => result?.weights),
    );
  });

  it("keeps finished rows when one cannot be made, and says why", async () => {
    const place = folder();
    const spoiled = changed(({ points }) => (points!.config = { count: 60, spoiled: 50 }));
    await expect(run(spoiled, place)).rejects.toThrow("row 50 is spoiled");
    const [key] = readdirSync(path.join(place, "points"));
    const made = readdirSync(path.join(place, "points", key!));
    expect(made.filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThanOrEqual(1);
    expect(made).toContain("ledger.jsonl");
  });

  it("notices data and weights that were damaged", async () => {
    const { summaries } = await first;
    const place = folder();
    spawnSync("cp", ["-r", out, place]);
    const at = (index: number, file: string) =>
      path.join(place, path.relative(out, summaries[index]!.folder), file);
    const flip = (file: string) => {
      const bytes = readFileSync(file);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(file, bytes);
    };
    flip(at(0, "shard-00003.safetensors"));
    await expect(
      run(
        changed(({ net }) => (net!.seed = 9)),
        place,
      ),
    ).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    flip(at(1, "weights.safetensors"));
    await expect(
      run(
        changed(({ second }) => (second!.seed = 9)),
        place,
      ),
    ).rejects.toMatchObject({ code: "RESULT_CORRUPT" });
  });

  it("is refused while another process works in the folder", async () => {
    const place = folder();
    await run(parseRecipe(JSON.stringify({ ...plain, stages: plain.stages.slice(0, 1) })), place);
    writeFileSync(path.join(place, "run.lock"), `${process.ppid}`);
    await expect(
      run(
        changed(() => {}),
        place,
      ),
    ).rejects.toMatchObject({ code: "RUN_LOCKED" });
  });

  it("can be estimated before and after", async () => {
    const { summaries } = await first;
    const plan = async (place: string) =>
      Promise.all(
        (
          await planStages(
            changed(() => {}),
            place,
            registry,
          )
        ).map((one) => estimateStage(one, 2)),
      );
    const before = await plan(folder());
    expect(before.map(({ status }) => status)).toEqual(Array(5).fill("to do"));
    expect(before[0]!.seconds).toBeGreaterThan(0);
    expect(before[1]!.seconds).toBeGreaterThan(0);
    expect(before[1]!.flops!.total).toBe(12 * 2 * 4 * (2 * (3 * 8 + 8 * 2) + 2 * (3 * 8 + 2 * 8 + 2 * 8)));
    expect(before[2]!.seconds).toBeUndefined();
    expect(summaries).toHaveLength(5);
    expect((await plan(out)).map(({ status }) => status)).toEqual(Array(5).fill("done"));
  });
});
