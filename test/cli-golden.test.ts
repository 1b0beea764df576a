/** @file Whole pipelines against diffusers, through the command line as a user types it. */

import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { decodeImage } from "../src/image/index.js";
import { decodeSafetensors, type Tensor } from "../src/tensor/index.js";
import { run, temporaryFolder } from "./cli.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";

const folder = temporaryFolder();

/** Golden suffixes of the parts. */
const suffixes = { unconditional: "u", conditional: "c", delta: "delta", guided: "s" };

async function succeed(args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run(args);
  expect(stderr, args.join(" ")).not.toMatch(/error|at .*\.ts:/i);
  expect(status, stderr).toBe(0);
  return stdout;
}

function readTensors(file: string): Map<string, Tensor> {
  return decodeSafetensors(readFileSync(file)).tensors;
}

describe.each(["pipeline-sd21", "pipeline-sd15"])("%s", (name) => {
  const golden = new Golden(name);
  const model = ["--model", goldenPath(name), "--device", "cpu"];
  const named = (start: string) => golden.cases.filter((one) => one.name.startsWith(start));
  const image = ({ args }: GoldenCase) => goldenPath(name, "images", args.image);
  const size = ({ args }: GoldenCase) => `${args.width}x${args.height}`;
  const out = (one: GoldenCase, ending: string) => path.join(folder, `${name}-${one.name}${ending}`);

  it.each(named("features"))("extract $name", async (one) => {
    const { prompt, timestep, seed, guidance, vae, ensemble } = one.args;
    const file = out(one, ".safetensors");
    await succeed([
      ...["extract", image(one), ...model, "--memory", "mmap", "-o", file, "--prompt", prompt],
      ...["--timestep", timestep, "--seed", seed, "--guidance", guidance, "--ensemble", ensemble].map(String),
      ...["--vae", vae === "sample" ? "sample" : "mean", "--size", size(one)],
      ...["--tap", golden.json.taps.join(), "--part", Object.keys(suffixes).join()],
    ]);
    const tensors = readTensors(file);
    for (const tap of golden.json.taps as string[]) {
      for (const [part, suffix] of Object.entries(suffixes)) {
        const entry = one.outputs[`${tap}.${suffix}`]!;
        const found = tensors.get(`${tap}/t${timestep}/${part}`)!;
        expectClose(found.reshape([1, ...found.dims]), golden.tensor(entry), entry.atol!, `${tap} ${part}`);
      }
    }
  });

  it.each(named("lse"))("score $name", async (one) => {
    const { prompts, timesteps, seed } = one.args;
    const texts = (prompts as string[]).flatMap((text) => ["--text", text]);
    const stdout = await succeed([
      ...["score", image(one), ...model, "--memory", "mmap", "--json", ...texts],
      ...["--timestep", timesteps.join(), "--seed", String(seed), "--size", size(one)],
    ]);
    const [result, ...others] = JSON.parse(stdout) as {
      image: string;
      scores: { text: string; score: number }[];
    }[];
    expect(others).toEqual([]);
    expect(result!.image).toBe(image(one));
    expect(result!.scores.map(({ text }) => text)).toEqual(prompts);
    const { atol } = one.outputs.score!;
    const expected = golden.output(one, "score").toFloat32();
    result!.scores.forEach(({ score }, i) => {
      expect(Math.abs(score - expected[i]!), `text ${i}`).toBeLessThanOrEqual(atol!);
    });
  });

  it.each(named("text2image"))("generate $name", async (one) => {
    const { prompt, negative_prompt, steps, guidance_scale, seed, scheduler } = one.args;
    const file = out(one, ".png");
    await succeed([
      ...["generate", prompt, ...model, "--memory", "mmap", "-o", file, "--size", size(one)],
      ...["--steps", steps, "--cfg", guidance_scale, "--seed", seed].map(String),
      ...["--scheduler", scheduler.replace("Scheduler", "").toLowerCase()],
      ...(negative_prompt === null ? [] : ["--negative", negative_prompt]),
    ]);
    const made = await decodeImage(file);
    const expected = golden.output(one, "image");
    expect([made.height, made.width, 3]).toEqual(expected.dims);
    const worst = made.data.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - Number(expected.data[i]))),
      0,
    );
    expect(worst, "steps of 255").toBeLessThanOrEqual(1);
  });
});

describe("attend maps0", () => {
  const golden = new Golden("pipeline-sd21");
  const one = golden.case("maps0");
  const words = new Golden("pipeline-sd21", "wordmaps");
  const { prompt, timestep, seed, width, height, image } = one.args;
  const args = (out: string) => [
    ...["attend", goldenPath("pipeline-sd21", "images", image), "--model", goldenPath("pipeline-sd21")],
    ...["--device", "cpu", "--memory", "mmap", "--prompt", prompt, "--timestep", String(timestep)],
    ...["--seed", String(seed), "--size", `${width}x${height}`, "--tokens", "-q", "-o", out],
  ];
  const layers = Object.keys(one.outputs).map((id) => id.replace(/-map$/, ""));

  it.each([
    { set: "all", flags: ["--layers-out"] },
    { set: "up", flags: layers.filter((id) => id.startsWith("up-")).flatMap((id) => ["--layer", id]) },
  ])("averages $set layers", async ({ set, flags }) => {
    const target = path.join(folder, `maps-${set}`);
    await succeed([...args(target), ...flags]);
    const tensors = readTensors(path.join(target, "maps.safetensors"));
    const index = JSON.parse(readFileSync(path.join(target, "index.json"), "utf8"));
    for (const [word, positions] of Object.entries(one.args.word_token_positions)) {
      const entry = index.words.find((candidate: { word: string }) => candidate.word === word);
      expect(entry.tokens, word).toEqual(positions);
      const expected = words.json.outputs[`${set}/${word}`];
      expectClose(tensors.get(entry.tensor)!, words.tensor(expected), expected.atol, word);
    }
    const start = words.json.outputs[`${set}/start`];
    expectClose(tensors.get("tokens/start")!, words.tensor(start), start.atol, "start");
    if (set !== "all") return;
    for (const layer of layers) {
      const entry = one.outputs[`${layer}-map`]!;
      expectClose(tensors.get(`layers/${layer}/t${timestep}`)!, golden.tensor(entry), entry.atol!, layer);
    }
  });
});
