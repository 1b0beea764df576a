/** @file A tiny sweep from its first stage to its page: two variants, two seeds. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type OpenPlan,
  openPlan,
  runSweep,
  type SweepEvent,
  type SweepOutcome,
  sweepReport,
} from "../src/evaluation/index.js";
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
    const run = (onEvent: (event: SweepEvent) => void, signal?: AbortSignal) =>
      runSweep(more, { out, threads: 1, tuning: true, only: ["clip"], onEvent, signal });
    const stopped = run((event) => {
      if (event.kind === "step" && event.step === 3) stop.abort();
    }, stop.signal);
    await expect(stopped).rejects.toThrow("cancelled");
    const steps: number[] = [];
    const [whole] = await run((event) => {
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
    expect(told.contrasts[0].compared.twins.seeds.map(({ seed }: { seed: number }) => seed)).toEqual([1, 2]);
    for (const text of ["no result", "CLIP &amp; SD", "Against CLIP", "A paper", "24.7", "says neither"])
      expect(html).toContain(text);
    expect(csv.split("\n")[0]).toBe("variant,seed,set,pattern,accuracy,low,high,n");
    expect(csv).toMatch(/^both,2,twins,mean,/m);
  });
});
