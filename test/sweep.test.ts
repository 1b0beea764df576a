/** @file A tiny sweep from its first stage to its page: two variants, two seeds. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  findLeakage,
  judge,
  measureLeakage,
  mismatch,
  type OpenPlan,
  openPlan,
  runSweep,
  type SweepEvent,
  type SweepOutcome,
  scenePictures,
  sweepReport,
} from "../src/evaluation/index.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { run } from "./cli.js";
import { tinyPlan } from "./sweep/tiny.js";

const assets = fileURLToPath(new URL("../assets", import.meta.url));

let folder: string;
let out: string;
let opened: OpenPlan;
let outcomes: SweepOutcome[];
const events: SweepEvent[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-sweep-"));
  out = path.join(folder, "run");
  const file = path.join(folder, "plan.json");
  writeFileSync(file, JSON.stringify(tinyPlan(assets)));
  opened = await openPlan(file);
  outcomes = await runSweep(opened, {
    out,
    threads: 1,
    tuning: true,
    onEvent: (event) => events.push(event),
  });
}, 900_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const begun = (list: readonly SweepEvent[]) =>
  list.flatMap((event) => (event.kind === "stage" && !event.done ? [event.name] : []));

describe("a sweep", () => {
  it("makes what variants and seeds share once", () => {
    const names = begun(events);
    for (const name of [
      "texts",
      "scenes",
      "features-clip",
      "scenes-test",
      "clip-twins",
      "sd-question-unseen",
    ])
      expect(names.filter((one) => one === name)).toHaveLength(1);
    for (const name of ["speaker", "answers-test", "answers-twins"])
      expect(names.filter((one) => one === name)).toHaveLength(4);
    // Nothing is told to CLIP.
    expect(names.filter((one) => one === "told-captions")).toHaveLength(2);
  });

  it("trains each seed anew", () => {
    const losses = outcomes.map(({ training }) => training.loss);
    expect(new Set(losses).size).toBe(4);
    expect(outcomes.map(({ variant, seed }) => `${variant}-${seed}`)).toEqual([
      "clip-1",
      "both-1",
      "clip-2",
      "both-2",
    ]);
  });

  it("tells diffusion captions, as probe leakage does", async () => {
    const [clip, both] = outcomes.map(({ judgement }) => judgement.leakage);
    expect(clip).toBeUndefined();
    const pictures = mismatch(await scenePictures({ count: 5, split: "validation" }));
    await using model = await VisionLanguageModel.fromPretrained(`${out}/models/both-1`, {
      device: "cpu",
      threads: 1,
      template: "plain",
    });
    const records = await measureLeakage(model, {
      pictures,
      guidances: [0, 4],
      layers: { all: undefined },
      maxTokens: 6,
    });
    const { name: _, ...found } = findLeakage("alone", records, pictures, { world: true });
    expect(both).toMatchObject(found);
  }, 120_000);

  it("leaves what is done alone", async () => {
    const again: SweepEvent[] = [];
    const same = await runSweep(opened, {
      out,
      threads: 2,
      tuning: true,
      only: ["both"],
      seeds: 1,
      onEvent: (event) => again.push(event),
    });
    expect(begun(again)).toEqual([]);
    expect(same).toEqual([outcomes[1]]);
  }, 120_000);

  it("goes on after it was stopped", async () => {
    const stop = new AbortController();
    const more = { ...opened, plan: { ...opened.plan, seeds: { stages: ["speaker"], values: [3] } } };
    const go = (onEvent: (event: SweepEvent) => void, signal?: AbortSignal) =>
      runSweep(more, { out, threads: 1, tuning: true, only: ["clip"], onEvent, signal });
    const stopped = go((event) => {
      if (event.kind === "step" && event.step === 3) stop.abort();
    }, stop.signal);
    await expect(stopped).rejects.toThrow("cancelled");
    const steps: number[] = [];
    const [whole] = await go((event) => {
      if (event.kind === "step") steps.push(event.step);
    });
    expect(steps[0]).toBeGreaterThan(1);
    expect(whole!.judgement.answers.test).toHaveLength(outcomes[0]!.judgement.answers.test.length);
  }, 300_000);

  it("tells of it on a page with its numbers beside it", () => {
    const { html, json, csv } = sweepReport(opened.plan, outcomes, { tuning: true });
    const told = JSON.parse(json);
    expect(told.variants.map(({ title }: { title: string }) => title)).toEqual(["CLIP", "CLIP & SD"]);
    expect(told.contrasts).toHaveLength(1);
    expect(told.variants.map(({ leakage }: { leakage?: object }) => leakage !== undefined)).toEqual([
      false,
      true,
    ]);
    expect(told.variants[1].leakage.told.map(({ guidance }: { guidance: number }) => guidance)).toEqual([
      0, 4,
    ]);
    expect(told.contrasts[0].compared.twins.seeds.map(({ seed }: { seed: number }) => seed)).toEqual([1, 2]);
    for (const text of [
      "no result",
      "CLIP &amp; SD",
      "Against CLIP",
      "A paper",
      "24.7",
      "says neither",
      "mismatch, s = 4",
    ])
      expect(html).toContain(text);
    expect(csv.split("\n")[0]).toBe("variant,seed,set,pattern,accuracy,low,high,n");
    expect(csv).toMatch(/^both,2,twins,mean,/m);
  });
});

describe("diffsight eval", () => {
  const flags = ["--scenes", "8", "--pairs", "2", "--unseen", "4", "--threads", "1"];

  it("judges models as a sweep does, and holds the others against the first", async () => {
    const models = ["both", "clip"].flatMap((name) => ["-m", `${name}=${out}/models/${name}-1`]);
    const judged = path.join(folder, "eval");
    const { status, stdout, stderr } = await run([
      "eval",
      "diorama",
      ...models,
      "-o",
      judged,
      ...flags,
      "--json",
    ]);
    expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
    const told = JSON.parse(stdout);
    expect(told.tuning).toBe(true);
    expect(told.variants.map(({ title }: { title: string }) => title)).toEqual(["both", "clip"]);
    expect(
      told.contrasts.map(({ first, second }: { first: string; second: string }) => [first, second]),
    ).toEqual([["clip", "both"]]);
    // The sweep's own judgement, of the same model on the same pictures.
    const { judgement } = await judgedAlone(`${out}/models/both-1`, judged);
    const right = judgement.answers.unseen.filter((one) => one.right).length;
    const { value, count } = told.variants[0].accuracy.unseen.macro;
    expect([right > 0, count]).toEqual([true, judgement.answers.unseen.length]);
    expect(value).toBeGreaterThan(0);
    const html = readFileSync(path.join(judged, "diorama.html"), "utf8");
    for (const text of ["no result", "Against both", "says neither"]) expect(html).toContain(text);
  }, 300_000);

  it.each([
    [["eval", "mmvp"], 'There is no benchmark "mmvp": there are diorama.'],
    [["eval", "diorama", "--pairs", "0"], "--pairs must be at least 1, not 0."],
    [["eval", "diorama", "-m", "a/x", "-m", "b/x"], "Two models are called alike (x, x)"],
    [["eval", "diorama", "-m", "embedded:none"], 'no model "embedded:none"'],
  ])("refuses %j", async (args, message) => {
    const { status, stderr } = await run([...args, "-o", path.join(folder, "refused")]);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});

/** What `eval` has judged already, read again. */
async function judgedAlone(model: string, folder: string) {
  const scenes = { test: 8, twins: 2, unseen: 4 };
  const options = { scenes, tuning: true, clip: "embedded:clip", options: true };
  return { judgement: await judge(model, options, { out: folder, threads: 1 }) };
}
