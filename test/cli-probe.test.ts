/** @file `diffsight probe` as a user runs it, on a handful of scenes. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "./cli.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "diffsight-cli-probe-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("diffsight probe linear", () => {
  it("writes a page, and the numbers beside it", async () => {
    const out = path.join(folder, "run");
    const few = [
      "--scenes",
      "30",
      "--pairs",
      "1",
      "--steps",
      "4",
      "--prompt",
      "none",
      "--threads",
      "1",
      "--looks",
      "4",
    ];
    const { stdout, status } = await run(["probe", "linear", "-o", out, "--json", "-q", ...few]);
    expect(status).toBe(0);
    const report = JSON.parse(stdout);
    const names = report.ways.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(["words", "latent", "untrained", "sd"]));
    expect(report.ways[0].test.macro.count).toBeGreaterThanOrEqual(6);
    expect(JSON.parse(await readFile(path.join(out, "report.json"), "utf8"))).toEqual(report);
    const csv = await readFile(path.join(out, "report.csv"), "utf8");
    expect(csv).toMatch(/^features,set,pattern,accuracy,low,high,n\nwords,twins,mean,/);
    const html = await readFile(path.join(out, "report.html"), "utf8");
    expect(html).toContain("<h2>sd against latent</h2>");
    expect(html).toContain("<h2>Where it looks</h2>");
    expect(report.looks.words.hits.count).toBeGreaterThan(3);
    expect(report.alike.names).toEqual(names.filter((name: string) => name !== "words"));
    expect(html).not.toMatch(/NaN|undefined|https?:\/\/(?!www\.w3)/);
  }, 600_000);

  it.each([
    [["probe", "linear", "--scenes", "0"], "--scenes must be at least 1, not 0."],
    [["probe", "sideways"], "Allowed choices are linear"],
    [["probe", "linear", "--prompt", "loud"], "Allowed are none, question, full, loose."],
    [["probe", "linear", "--clip", "nothing"], 'A CLIP is "name=folder"'],
  ])("refuses %j", async (args, message) => {
    const { stderr, status } = await run(args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});
