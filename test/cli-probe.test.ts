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

describe("diffsight probe pixels and drawn", () => {
  const few = ["--scenes", "60", "--updates", "6", "--tuning", "--threads", "1", "-q"];

  it("teach a network on pictures, and let it look at drawings", async () => {
    const out = path.join(folder, "pixels");
    const judged = ["--test", "20", "--pairs", "1"];
    const pixels = await run(["probe", "pixels", "-o", out, "--json", ...few, ...judged]);
    expect(pixels.status).toBe(0);
    const told = JSON.parse(pixels.stdout);
    expect(told.questions.macro.count).toBeGreaterThanOrEqual(20);
    expect(told.twins.macro.count).toBe(11);

    const drawings = ["--drawings", "3", "--steps", "2"];
    const drawn = await run(["probe", "drawn", "-o", out, ...few, ...drawings]);
    expect(drawn.status).toBe(0);
    expect(drawn.stdout).toBe(`${path.join(out, "drawn.html")}\n`);
    const numbers = JSON.parse(await readFile(path.join(out, "drawn.json"), "utf8"));
    expect(numbers.drawn.macro.count).toBe(numbers.rendered.macro.count);
    expect((await readFile(path.join(out, "drawn.png"))).subarray(1, 4).toString()).toBe("PNG");
    expect(await readFile(path.join(out, "drawn.html"), "utf8")).toContain("<h2>Drawings</h2>");
  }, 600_000);

  it.each([
    [["probe", "pixels", "--updates", "0"], "--updates must be at least 1, not 0."],
    [["probe", "drawn", "--drawings", "0"], "--drawings must be at least 1, not 0."],
  ])("refuse %j", async (args, message) => {
    const { stderr, status } = await run(args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe("diffsight probe fusion", () => {
  const few = ["--scenes", "20", "--pairs", "1", "--steps", "2", "--threads", "1", "--tuning"];

  it("writes a page of CLIP, diffusion and what joins them", async () => {
    const out = path.join(folder, "fusion");
    const args = ["--fusion", "pyramid,transformer", "--seeds", "1", "--guidance", "2.5", ...few];
    const { stdout, status, stderr } = await run(["probe", "fusion", "-o", out, "--json", "-q", ...args]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const report = JSON.parse(stdout);
    const names = report.ways.map(({ name }: { name: string }) => name);
    const alone = ["clip", "control", "sd", "sd-s1"];
    const joined = [
      "sd-told",
      "two-clips",
      "pyramid-s0",
      "pyramid",
      "transformer-s0",
      "transformer",
      "ensemble",
    ];
    expect(names).toEqual([...alone, ...joined]);
    expect(report.contrasts).toHaveLength(17);
    expect(JSON.parse(await readFile(path.join(out, "fusion.json"), "utf8"))).toEqual(report);
    const html = await readFile(path.join(out, "fusion.html"), "utf8");
    for (const text of ["CLIP and diffusion, joined", "no result", "transformer<small>against two-clips"])
      expect(html).toContain(text);
    expect(html).toContain("sd-told with s = 2.5");
    expect(html).not.toMatch(/NaN|undefined/);
  }, 600_000);

  it("holds normalisations of what encoders give against each other", async () => {
    const out = path.join(folder, "fusion");
    const args = ["--fusion", "channel-concat", "--normalisation", "none,whitening", "--seeds", "1", ...few];
    const { stdout, status, stderr } = await run(["probe", "fusion", "-o", out, "--json", "-q", ...args]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const report = JSON.parse(stdout);
    const names = report.ways.map(({ name }: { name: string }) => name);
    expect(names).toEqual(["clip", "sd", "channel-concat-none", "channel-concat-whitening"]);
    expect(await readFile(path.join(out, "normalisation.html"), "utf8")).toContain("as encoders give them");
  }, 600_000);

  it.each([
    [["--fusion", "sum"], "Allowed are channel-concat, cross-attention,"],
    [["--guidance", "1"], "--guidance 1 is among the others already: choose another."],
    [["--seeds", "0"], "--seeds must be at least 1, not 0."],
  ])("refuses %j", async (args, message) => {
    const { stderr, status } = await run(["probe", "fusion", ...args]);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});

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
      "--timestep",
      "50,100",
    ];
    const { stdout, status } = await run(["probe", "linear", "-o", out, "--json", "-q", ...few]);
    expect(status).toBe(0);
    const report = JSON.parse(stdout);
    const sd = "sd U-L1-R1-B0-Cross-Q";
    const names = report.ways.map(({ name }: { name: string }) => name);
    expect(names).toEqual(
      expect.arrayContaining(["words", "latent", "untrained", `${sd} t50`, `${sd} t100`]),
    );
    expect(report.ways[0].test.macro.count).toBeGreaterThanOrEqual(6);
    expect(JSON.parse(await readFile(path.join(out, "linear.json"), "utf8"))).toEqual(report);
    const csv = await readFile(path.join(out, "linear.csv"), "utf8");
    expect(csv).toMatch(/^features,set,pattern,accuracy,low,high,n\nwords,twins,mean,/);
    const html = await readFile(path.join(out, "linear.html"), "utf8");
    expect(html).toContain("<h2>Held against each other</h2>");
    expect(html).toContain(`${sd} t100<small>against latent</small>`);
    expect(html).toContain(
      "The untrained U-Net is read at the first place alone: U-L1-R1-B0-Cross-Q, t = 50.",
    );
    expect(html).toContain("<h2>Where it looks</h2>");
    expect(report.looks.words.hits.count).toBeGreaterThan(3);
    expect(report.alike.names).toEqual(names.filter((name: string) => name !== "words"));
    expect(html).not.toMatch(/NaN|undefined|https?:\/\/(?!www\.w3)/);
  }, 600_000);

  it.each([
    [["probe", "linear", "--scenes", "0"], "--scenes must be at least 1, not 0."],
    [["probe", "sideways"], "sideways"],
    [["probe", "linear", "--prompt", "loud"], "Allowed are none, question, full, loose."],
    [["probe", "linear", "--clip", "nothing"], 'A CLIP is "name=folder"'],
  ])("refuses %j", async (args, message) => {
    const { stderr, status } = await run(args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});
