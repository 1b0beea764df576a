/** @file A tiny sweep from its first stage to its page: two variants, two seeds. */

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  estimateSweep,
  expandPlan,
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
import { findOutcome } from "../src/evaluation/sweep/outcomes.js";
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
    const { outcomes: told, each } = findLeakage("alone", records, pictures, { world: true });
    expect(both).toEqual({
      outcomes: told.map(({ told, guidance, layers }) => ({ told, guidance, layers })),
      each: each.map(({ cider, otherCider }) => ({ cider, otherCider })),
    });
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

  it("says what its intervals do not cover", () => {
    const page = (seeds: number[]) => {
      const chosen = outcomes.filter(({ seed }) => seeds.includes(seed));
      return sweepReport(opened.plan, chosen, { tuning: true }).html;
    };
    expect(page([1, 2])).toContain("(over seeds and items)");
    expect(page([1])).not.toContain("over seeds and items");
    expect(page([1])).toContain("(over items alone, not over trainings)");
  });
});

describe("outcomes", () => {
  const kept = () => path.join(out, "outcomes-tuning");

  /** A run's folder that has nothing but the outcomes. */
  function copied(): string {
    const place = mkdtempSync(path.join(folder, "copy-"));
    cpSync(kept(), path.join(place, "outcomes-tuning"), { recursive: true });
    return place;
  }

  it("are a small file a run, beside what all of them were asked", () => {
    const files = readdirSync(kept()).filter((name) => !name.startsWith("clip-3"));
    expect(files.filter((name) => name.startsWith("questions-"))).toHaveLength(1);
    expect(files).toHaveLength(5);
    const { answers, leakage } = JSON.parse(readFileSync(path.join(kept(), "both-2.json"), "utf8"));
    expect(Object.keys(answers)).toEqual(["test", "twins", "unseen"]);
    expect(leakage.each).toHaveLength(5);
  });

  it("are what judging has found", async () => {
    const plan = { scenes: { test: 2, twins: 1, unseen: 1 }, options: false, clip: `${assets}/micro/clip` };
    const judged = await judge(outcomes[1]!.model, { ...plan, tuning: true }, { out, threads: 1 });
    for (const set of ["test", "twins", "unseen"] as const)
      expect(outcomes[1]!.judgement.answers[set]).toEqual(
        judged.answers[set].map(({ probability: _, ...answer }) => answer),
      );
    expect(outcomes[1]!.judgement.blind.map(({ pair }) => pair)).toEqual(
      judged.blind.filter(({ blind }) => blind).map(({ pair }) => pair),
    );
    expect(outcomes[1]!.judgement.firstTwins).toBe(judged.firstTwins);
  }, 120_000);

  it("from elsewhere count as if they had been made here", async () => {
    const place = copied();
    const seen: SweepEvent[] = [];
    const same = await runSweep(opened, {
      out: place,
      threads: 1,
      tuning: true,
      onEvent: (event) => seen.push(event),
    });
    expect(begun(seen)).toEqual([]);
    const without = (list: readonly SweepOutcome[]) => list.map(({ model: _, ...outcome }) => outcome);
    expect(without(same)).toEqual(without(outcomes));
    expect(await estimateSweep(opened, { out: place, threads: 1, tuning: true })).toEqual([]);
    const { status, stdout } = await run(["sweep", path.join(folder, "plan.json"), "-o", place]);
    expect([status, stdout]).toEqual([0, expect.stringContaining("sweep-tuning.html")]);
    expect(readFileSync(path.join(place, "sweep-tuning.html"), "utf8")).toContain("Against CLIP");
    expect(readdirSync(place)).not.toContain("models");
  }, 120_000);

  it("of other settings are not taken for these", async () => {
    const place = { out: copied(), tuning: true };
    const [one] = expandPlan(opened);
    const other = { ...opened, plan: { ...opened.plan, judge: { ...opened.plan.judge, options: true } } };
    const fewer = {
      ...opened,
      plan: { ...opened.plan, judge: { ...opened.plan.judge, scenes: 1, leakage: undefined } },
    };
    const longer = structuredClone(opened);
    Object.assign(longer.base.find(({ name }) => name === "speaker")!, { steps: 7 });
    for (const changed of [other, fewer, longer]) {
      const found = await findOutcome(expandPlan(changed)[0]!, changed, place);
      expect([found.outcome, found.other]).toEqual([undefined, expect.stringContaining("clip-1.json")]);
    }
    expect((await findOutcome(one!, opened, place)).outcome).toBeDefined();
    expect(await findOutcome(one!, opened, { ...place, tuning: false })).toEqual({
      key: expect.any(String),
    });
  });

  it.each([
    ["cut off", (file: string) => truncateSync(file, 200), "is damaged. Remove it to make it again."],
    [
      "without the last answers",
      (file: string) => writeFileSync(file, readFileSync(file, "utf8").replace(/("unseen":"\w*)\w"/, '$1"')),
      'answers of "unseen" where',
    ],
    [
      "alone",
      (file: string) => {
        const beside = path.dirname(file);
        for (const name of readdirSync(beside).filter((one) => one.startsWith("questions-")))
          rmSync(path.join(beside, name));
      },
      "is missing: what",
    ],
  ])("that are %s are named", async (_, spoil, message) => {
    const place = copied();
    spoil(path.join(place, "outcomes-tuning", "both-1.json"));
    await expect(runSweep(opened, { out: place, threads: 1, tuning: true })).rejects.toThrow(message);
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
