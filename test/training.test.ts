/** @file Training runs: their bits, their ends, and going on after every kind of accident. */

import { spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { hashBytes } from "../src/data/index.js";
import type { DiffsightError } from "../src/tensor/index.js";
import {
  bytesOf,
  type LoggedStep,
  settingsSchema,
  type TrainingEvent,
  type TrainingResult,
  train,
  type Weights,
} from "../src/training/index.js";
import { tiny } from "./training/tiny.js";

const root = mkdtempSync(path.join(tmpdir(), "diffsight-training-"));
afterAll(() => rmSync(root, { recursive: true }));

let folders = 0;
const folder = () => path.join(root, String(folders++));

const settings = {
  steps: 40,
  batch: 12,
  parts: 4,
  optimizer: { lr: 0.01, clip: 1 },
  schedule: { kind: "cosine", warmup: 4 },
  ema: { decay: 0.9 },
  validation: { every: 10 },
  checkpoint: 7,
  seed: 3,
};

const parse = (more: object = {}) => settingsSchema.parse({ ...settings, ...more });

const bits = (weights: Weights) =>
  hashBytes(...[...weights].flatMap(([key, tensor]) => [key, bytesOf(tensor)]));

const bitsOf = ({ weights }: TrainingResult) => bits(weights);

const refusal = (run: Promise<unknown>): Promise<DiffsightError> =>
  run.then(
    () => Promise.reject(new Error("It went through.")),
    (error: DiffsightError) => error,
  );

const logOf = (folder: string): LoggedStep[] =>
  readFileSync(path.join(folder, "metrics.jsonl"), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

/** The run that nothing happens to. */
const undisturbed = (() => {
  let made: Promise<{ folder: string; result: TrainingResult; events: TrainingEvent[] }> | undefined;
  return () =>
    (made ??= (async () => {
      const place = folder();
      const events: TrainingEvent[] = [];
      const result = await train({ ...tiny(place, parse()), onStep: (event) => events.push(event) });
      return { folder: place, result, events };
    })());
})();

describe("a run", () => {
  it("learns, and tells how far it is", async () => {
    const { result, events, folder } = await undisturbed();
    expect(result.steps).toBe(40);
    const losses = events.map(({ loss }) => loss);
    expect(losses).toHaveLength(40);
    expect(losses.at(-1)! / losses[0]!).toBeLessThan(0.7);
    expect(events.filter(({ validation }) => validation).map(({ step }) => step)).toEqual([10, 20, 30, 40]);
    expect(result.validation!.loss).toBeLessThan(events[9]!.validation!.loss);
    expect(events.at(-1)!.secondsLeft).toBe(0);
    expect(events[3]!.rate).toBeCloseTo(0.0075, 12);
    expect(logOf(folder).map(({ step }) => step)).toEqual(losses.map((_, i) => i + 1));
    expect(readFileSync(path.join(folder, "curve.svg"), "utf8")).toMatch(
      /^<svg[\s\S]*polyline[\s\S]*<\/svg>\n$/,
    );
    expect(readFileSync(path.join(folder, "loss.csv"), "utf8").split("\n")).toHaveLength(42);
  });

  it("has the same bits with one thread and with many", async () => {
    const { result } = await undisturbed();
    for (const threads of [1, 3]) {
      expect(bitsOf(await train({ ...tiny(folder(), parse()), threads }))).toBe(bitsOf(result));
    }
  });

  it("leaves frozen weights and those that nothing needs alone", async () => {
    const request = tiny(
      folder(),
      parse({ steps: 3, schedule: {}, parameters: [{ keys: "in.*", frozen: true }] }),
    );
    const { weights } = await train(request);
    for (const key of ["in.weight", "in.bias", "unused"]) {
      expect(weights.get(key)!.data).toEqual(request.initial.get(key)!.data);
    }
    expect(weights.get("out.weight")!.data).not.toEqual(request.initial.get("out.weight")!.data);
  });

  it("stops when patience is spent, with the best weights", async () => {
    const changes = { schedule: {}, optimizer: { lr: 0.3 }, ema: undefined };
    const place = folder();
    const patient = { steps: 400, validation: { every: 5, patience: 2 } };
    const result = await train(tiny(place, parse({ ...changes, ...patient })));
    const judged = logOf(place).filter(({ validation }) => validation);
    const best = judged.reduce((a, b) => (b.validation!.loss < a.validation!.loss ? b : a));
    expect(result.steps).toBe(best.step + 10);
    const until = parse({ ...changes, steps: best.step });
    expect(bitsOf(result)).toBe(bitsOf(await train(tiny(folder(), until))));
  });

  it("says which rule fits nothing, and when all is frozen", async () => {
    const unknown = parse({ parameters: [{ keys: "unet.*", frozen: true }] });
    expect((await refusal(train(tiny(folder(), unknown)))).message).toContain('"unet.*"');
    const frozen = parse({ parameters: [{ keys: "*", frozen: true }] });
    expect((await refusal(train(tiny(folder(), frozen)))).code).toBe("TRAINED_NOTHING");
  });
});

describe("going on", () => {
  it("after Ctrl-C ends with the bits of a run without", async () => {
    const place = folder();
    for (const stop of [5, 6, 23]) {
      const control = new AbortController();
      const request = { ...tiny(place, parse()), signal: control.signal };
      const onStep = ({ step }: TrainingEvent) => step === stop && control.abort();
      expect((await refusal(train({ ...request, onStep }))).code).toBe("ABORTED");
    }
    const result = await train(tiny(place, parse()));
    expect(bitsOf(result)).toBe(bitsOf((await undisturbed()).result));
    expect(logOf(place).map(({ step, loss }) => [step, loss])).toEqual(
      logOf((await undisturbed()).folder).map(({ step, loss }) => [step, loss]),
    );
    expect(readdirSync(path.join(place, "checkpoints"))).toHaveLength(4);
  });

  it("from a damaged checkpoint takes the one before, and says so", async () => {
    const place = folder();
    const control = new AbortController();
    const stop = {
      signal: control.signal,
      onStep: ({ step }: TrainingEvent) => step === 16 && control.abort(),
    };
    await refusal(train({ ...tiny(place, parse()), ...stop }));
    const checkpoints = path.join(place, "checkpoints");
    const files = readdirSync(checkpoints)
      .filter((name) => name.endsWith(".safetensors"))
      .sort();
    expect(files).toEqual(["step-00000014.safetensors", "step-00000016.safetensors"]);
    truncateSync(path.join(checkpoints, files[1]!), 1000);
    const notices: string[] = [];
    const result = await train({
      ...tiny(place, parse()),
      onNotice: (notice) => notices.push(notice),
      onWarning: (warning) => notices.push(warning),
    });
    expect(notices[0]).toMatch(/step-00000016.safetensors is damaged.*the one before/);
    expect(notices[1]).toMatch(/after step 14/);
    expect(bitsOf(result)).toBe(bitsOf((await undisturbed()).result));
  });

  it("is refused when every checkpoint is damaged, and in the folder of another run", async () => {
    const place = folder();
    await train(tiny(place, parse({ steps: 10 })));
    expect((await refusal(train(tiny(place, parse({ steps: 12 }))))).code).toBe("CHECKPOINT_OTHER");
    const checkpoints = path.join(place, "checkpoints");
    for (const name of readdirSync(checkpoints)) writeFileSync(path.join(checkpoints, name), "{}");
    expect((await refusal(train(tiny(place, parse({ steps: 10 }))))).code).toBe("CHECKPOINT_BROKEN");
  });

  it("after a checkpoint that could not be written takes the one before", async () => {
    const place = folder();
    const obstacle = path.join(place, "checkpoints", "step-00000014.safetensors");
    const onStep = ({ step }: TrainingEvent) =>
      step === 10 && mkdirSync(path.join(obstacle, "full"), { recursive: true });
    const error = await refusal(train({ ...tiny(place, parse()), onStep }));
    expect(error.message).toMatch(/^Step 14 could not be saved: .* The checkpoint of step 7 is kept\.$/);
    rmSync(obstacle, { recursive: true });
    expect(bitsOf(await train(tiny(place, parse())))).toBe(bitsOf((await undisturbed()).result));
  });

  it("stops at a loss that is no number, names the step, and keeps what was before", async () => {
    const place = folder();
    const error = await refusal(train(tiny(place, parse(), { hidden: 16, spoiled: 24 })));
    expect(error.code).toBe("LOSS_NOT_FINITE");
    expect(error.message).toMatch(/tiny, step 25: the loss is NaN.*after step 24 are kept/);
    expect(bitsOf(await train(tiny(place, parse())))).toBe(bitsOf((await undisturbed()).result));
  });
});

const runner = fileURLToPath(new URL("training/run-tiny.ts", import.meta.url));

/** Starts the run in a process of its own and kills it some time after its first step. @returns its last step, if it ended */
function killed(place: string, recipe: string, threads: number, milliseconds: number): Promise<string> {
  const child = spawn(
    process.execPath,
    ["--conditions=source", "--import", "tsx", runner, place, recipe, `${threads}`],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let said = "";
  child.stdout.once("data", () => setTimeout(() => child.kill("SIGKILL"), milliseconds));
  child.stdout.on("data", (text) => (said += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (_, signal) => resolve(signal ?? said));
  });
}

it("killed ten times at random moments, ends with the weights of a run never killed", async () => {
  const place = folder();
  const recipe = path.join(root, "kill.json");
  // Checkpoints follow each other so closely that many a kill falls into the writing of one.
  const changes = { ...settings, steps: 200, checkpoint: 2 };
  writeFileSync(recipe, JSON.stringify({ settings: changes, config: { hidden: 16, slow: 4 } }));
  const reached: number[] = [];
  for (let kill = 0; kill < 10; kill++) {
    expect(await killed(place, recipe, 1 + (kill % 2), 200 * Math.random())).toBe("SIGKILL");
    reached.push(logOf(place).length);
  }
  expect(reached.at(-1)).toBeGreaterThan(reached[0]!);
  const result = await train(tiny(place, settingsSchema.parse(changes)));
  const whole = await train(tiny(folder(), settingsSchema.parse(changes)));
  expect(bitsOf(result)).toBe(bitsOf(whole));
});
