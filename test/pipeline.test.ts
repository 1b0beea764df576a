/** @file Whole pipelines against diffusers: image and text to features, maps and scores; text to image. */

import { afterAll, describe, expect, it } from "vitest";
import { DiffusionEncoder, type Part } from "../src/diffusion/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";
import { algorithms } from "./kernels.js";

/** Golden suffixes of the parts. */
const suffixes: Record<Part, string> = { unconditional: "u", conditional: "c", delta: "delta", guided: "s" };
const parts = Object.keys(suffixes) as Part[];

/** The direct kernels in place, and what `fast` does by default. */
const variants = [
  algorithms.find(({ name }) => name.includes("mmap"))!,
  { name: "fast by its table", options: { memory: "fast" as const }, times: 4 },
];

describe.each(["pipeline-sd21", "pipeline-sd15"])("%s", (folder) => {
  const golden = new Golden(folder);
  const named = (start: string) => golden.cases.filter(({ name }) => name.startsWith(start));
  const image = (one: GoldenCase) => goldenPath(folder, "images", one.args.image);
  const size = (one: GoldenCase) => [one.args.width, one.args.height] as const;

  describe.each(variants)("$name", ({ options, times }) => {
    const opened = DiffusionEncoder.fromPretrained(goldenPath(folder), { device: "cpu", ...options });
    afterAll(async () => (await opened).release());

    it.each(named("features"))("$name: features and their parts", async (one) => {
      const { prompt, timestep, seed, guidance, vae, ensemble } = one.args;
      const taps = [
        ...new Set(
          Object.keys(one.outputs)
            .filter((key) => /\.[usc]$/.test(key))
            .map((key) => key.replace(/\.\w+$/, "")),
        ),
      ];
      const eye = await opened;
      const seen = await eye.encode(image(one), {
        prompt,
        taps,
        parts,
        timesteps: [timestep],
        seed,
        guidance,
        ensemble,
        vae: vae === "sample" ? "sample" : "mean",
        size: size(one),
      });
      for (const tap of taps) {
        for (const part of parts) {
          const key = `${tap}.${suffixes[part]}`;
          const entry = one.outputs[key];
          if (entry) expectClose(seen.get(tap, { part }), golden.tensor(entry), entry.atol!, key, times);
        }
      }
    });

    it.each(named("maps"))("$name: attention of every layer", async (one) => {
      const { prompt, timestep, seed } = one.args;
      const maps = await (await opened).attend(image(one), {
        prompt,
        timesteps: [timestep],
        seed,
        size: size(one),
        perLayer: true,
      });
      for (const [key, entry] of Object.entries(one.outputs)) {
        const layer = maps.layers.get(`layers/${key.replace(/-map$/, "")}/t${timestep}`);
        expectClose(layer!, golden.tensor(entry), entry.atol!, key, times);
      }
    });

    it.each(named("lse"))("$name: alignment scores", async (one) => {
      const { prompts, timesteps, seed } = one.args;
      const scores = await (await opened).score(image(one), prompts, { timesteps, seed, size: size(one) });
      const expected = golden.output(one, "score").toFloat32();
      const layers = golden.output(one, "per_prompt_timestep_layer").toFloat32();
      const found = scores.flatMap(({ byLayer }) => byLayer.flat());
      expect(found.length).toBe(layers.length);
      for (const [i, value] of found.entries()) {
        expect(Math.abs(value - layers[i]!)).toBeLessThanOrEqual(
          one.outputs.per_prompt_timestep_layer!.atol! * times,
        );
      }
      for (const [i, { score }] of scores.entries()) {
        expect(Math.abs(score - expected[i]!)).toBeLessThanOrEqual(one.outputs.score!.atol! * times);
      }
    });

    it.each(named("text2image"))("$name: text to image", async (one) => {
      const { prompt, negative_prompt, steps, guidance_scale, seed, scheduler } = one.args;
      const made = await (await opened).generateDetailed(prompt, {
        negative: negative_prompt ?? "",
        steps,
        cfg: guidance_scale,
        seed,
        scheduler: scheduler === "DDIMScheduler" ? "ddim" : "pndm",
        size: size(one),
      });
      expectClose(made.latent, golden.output(one, "latent"), one.outputs.latent!.atol!, "latent", times);
      expectClose(made.decoded, golden.output(one, "decoded"), one.outputs.decoded!.atol!, "decoded", times);
      const pixels = golden.output(one, "image").data;
      const worst = made.image.data.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - Number(pixels[i]))),
        0,
      );
      expect(worst).toBeLessThanOrEqual(1);
    });
  });
});

describe("word maps", () => {
  it("are the mean over layers of the upsampled maps of a word's tokens", async () => {
    const golden = new Golden("pipeline-sd21", "wordmaps");
    const { args, outputs } = golden.json;
    await using eye = await DiffusionEncoder.fromPretrained(goldenPath("pipeline-sd21"), {
      device: "cpu",
      memory: "mmap",
    });
    const options = {
      prompt: args.prompt,
      timesteps: [args.timestep],
      seed: args.seed,
      size: [args.width, args.height] as const,
    };
    for (const [key, entry] of Object.entries<{
      tensor: string;
      atol: number;
      shape: number[];
      dtype: string;
    }>(outputs)) {
      const [choice, word] = key.split("/") as [string, string];
      const layers = choice === "all" ? {} : { layers: [choice] };
      const maps = await eye.attend(goldenPath("pipeline-sd21", "images", args.image), {
        ...options,
        ...layers,
      });
      expectClose(word === "start" ? maps.start : maps.word(word), golden.tensor(entry), entry.atol, key);
    }
  });
});
