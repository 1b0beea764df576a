/** @file A whole comparison on the embedded world: scenes, features, heads, answers; a second call finds all done. */

import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { accuracy, type ProbePlan, pairAccuracy, runProbes } from "../src/evaluation/index.js";
import { clipLayout, initialise } from "../src/models/index.js";
import { encodeSafetensors, Tensor, TorchGenerator } from "../src/tensor/index.js";
import { tokensOf } from "../src/training/index.js";
import { gridTokens } from "../src/vlm/index.js";

const model = fileURLToPath(new URL("../assets/micro/sd", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-probes-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A CLIPModel that has learned nothing. */
async function writeClip(at: string): Promise<string> {
  const tower = { hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 2 };
  const config = {
    model_type: "clip",
    projection_dim: 8,
    text_config: { ...tower, vocab_size: 20, max_position_embeddings: 8 },
    vision_config: { ...tower, image_size: 64, patch_size: 8 },
  };
  await mkdir(at, { recursive: true });
  await writeFile(path.join(at, "config.json"), JSON.stringify(config));
  const preprocessor = { size: { shortest_edge: 64 }, crop_size: { height: 64, width: 64 } };
  await writeFile(path.join(at, "preprocessor_config.json"), JSON.stringify(preprocessor));
  const weights = initialise(clipLayout(config), new TorchGenerator(0));
  await writeFile(path.join(at, "model.safetensors"), encodeSafetensors(weights));
  return at;
}

describe("probes of the embedded world", () => {
  it("compare ways of seeing, and find what is done", async () => {
    const plan: ProbePlan = {
      scenes: { train: 40, validation: 12, test: 20, twins: 1, unseen: 8 },
      tuning: true,
      blind: { count: [3], state: [0, 5] },
      settings: {
        steps: 12,
        batch: 16,
        schedule: { kind: "cosine", warmup: 2, hold: 0, to: 0 },
        checkpoint: 100,
      },
      features: {
        words: { encoder: "words" },
        latent: { encoder: "latent", model },
        clip: { encoder: "clip", model: await writeClip(path.join(folder, "clip")), layer: -1 },
        sd: diffusion({ taps: ["U-L1-R1-B0-Cross-Q", "U-L2-R1-Res-Out"], timesteps: [50, 250] }),
        asked: diffusion({ prompt: "question", guidance: 4 }),
        untrained: diffusion({ untrained: 3 }),
      },
      fused: {
        "asked-alone": { type: "none", encoder: "asked" },
        both: { type: "channel-concat", encoders: ["clip", "asked"] },
        weighed: [
          { type: "guidance-ensemble", as: "guided", unconditional: "untrained", conditional: "asked" },
          { type: "cross-attention", queries: "clip", context: "guided", heads: 2 },
        ],
      },
    };
    const events: string[] = [];
    const options = {
      out: path.join(folder, "run"),
      threads: 1,
      onEvent: (event: { kind: string; name: string; done?: boolean | number }) => {
        if (event.kind === "stage" && !event.done) events.push(event.name);
      },
    };
    const found = await runProbes(plan, options);
    const { outcomes: all, blind, statistics, alike } = found;
    const [outcomes, joined] = [all.slice(0, -3), all.slice(-3)];
    expect(joined.map(({ features }) => features)).toEqual(["asked-alone", "both", "weighed"]);
    expect(outcomes.map(({ features, column }) => [features, column])).toEqual([
      ["words", "features"],
      ["latent", "features"],
      ["clip", "features"],
      ["sd", "up-level1-repeat1-vit-block0-cross-q/t50"],
      ["sd", "up-level1-repeat1-vit-block0-cross-q/t250"],
      ["sd", "up-level2-repeat1-res-out/t50"],
      ["sd", "up-level2-repeat1-res-out/t250"],
      ["asked", "features"],
      ["untrained", "features"],
    ]);
    const [words, , , ...seeing] = outcomes;
    for (const { answers } of outcomes) {
      // Every way is asked the same.
      expect(answers.test.map(({ pattern }) => pattern)).toEqual(
        words!.answers.test.map(({ pattern }) => pattern),
      );
      expect(accuracy(answers.test).macro.value).toBeGreaterThan(0.2);
      expect(pairAccuracy(answers.twins).macro.count).toBe(13);
    }
    expect(pairAccuracy(words!.answers.twins).macro.value).toBe(0);
    // A CLIP that has learned nothing takes all for the same.
    expect(found.firstTwins).toBe(11);
    expect(blind).toHaveLength(13);
    expect(new Set(blind.slice(0, 11).map(({ pattern }) => pattern)).size).toBe(11);
    expect(blind.slice(11).map(({ pattern }) => pattern)).toEqual(["state", "count"]);
    for (const { similarity, changed, blind: is } of blind)
      expect(is).toBe(similarity > 0.95 && changed >= 0.01);
    expect(statistics.map(({ features }) => features)).toEqual(
      outcomes.slice(1).map(({ features }) => features),
    );
    for (const { twins } of statistics) {
      expect(twins.all!.count).toBe(11);
      expect(twins.all!.value).toBeGreaterThan(0.2);
      expect(twins.all!.value).toBeLessThan(1);
    }
    for (const [i, row] of alike.cka.entries()) expect(row[i]).toBeCloseTo(1, 6);
    expect(alike.ways).toHaveLength(outcomes.length - 1);

    const probabilities = seeing.map(({ answers }) =>
      answers.test.map(({ probability }) => probability).join(),
    );
    expect(new Set(probabilities).size).toBe(seeing.length);

    // One way of seeing through the door of fusions is that way, though pictures have a row for each question.
    const askedAlone = outcomes.find(({ features }) => features === "asked")!;
    expect(joined[0]!.answers).toEqual(
      Object.fromEntries(
        Object.entries(askedAlone.answers).map(([set, answers]) => [
          set,
          answers.map((one) => ({ ...one, row: expect.any(Number) })),
        ]),
      ),
    );
    for (const { answers } of joined.slice(1)) {
      expect(answers.test.map(({ pattern }) => pattern)).toEqual(
        askedAlone.answers.test.map(({ pattern }) => pattern),
      );
      expect(answers.test).not.toEqual(askedAlone.answers.test);
    }

    events.length = 0;
    expect(await runProbes(plan, options)).toEqual(found);
    expect(events).toEqual([]);

    const refused = (fused: ProbePlan["fused"]) => runProbes({ ...plan, fused: fused! }, options);
    await expect(refused({ both: { type: "none", encoder: "sd" } })).rejects.toThrow(
      'none: there is no "sd"; there are latent, clip, asked, untrained.',
    );
    await expect(refused({ clip: { type: "none", encoder: "asked" } })).rejects.toThrow(
      'Two ways of seeing are called "clip".',
    );
    await expect(refused({ both: { type: "sum" } as never })).rejects.toThrow("both");
  }, 600_000);
});

function diffusion(more: object) {
  return { encoder: "diffusion" as const, model, taps: ["U-L1-R1-B0-Cross-Q"], ...more };
}

describe("tokens of a grid", () => {
  const grid = Tensor.f32([2, 2, 4], [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17]);

  it("are its places, row by row", () => {
    const square = Tensor.f32([2, 2, 2], [0, 1, 2, 3, 10, 11, 12, 13]);
    expect(tokensOf(square, 2)).toMatchObject({ dims: [4, 2] });
    expect([...tokensOf(square, 2).toFloat32()]).toEqual([0, 10, 1, 11, 2, 12, 3, 13]);
    expect(tokensOf(square, 8).dims).toEqual([4, 2]);
  });

  it("hold folded neighbours side by side", () => {
    const square = Tensor.f32([1, 2, 2], [0, 1, 2, 3]);
    expect(tokensOf(square, 1)).toMatchObject({ dims: [1, 4] });
    expect([...tokensOf(square, 1).toFloat32()]).toEqual([0, 1, 2, 3]);
  });

  it("fold in both directions, whatever the grid's form", () => {
    expect(gridTokens(grid, 2).dims).toEqual([2, 8]);
    expect([...gridTokens(grid, 2).toFloat32()]).toEqual([
      ...[0, 1, 4, 5, 10, 11, 14, 15],
      ...[2, 3, 6, 7, 12, 13, 16, 17],
    ]);
    expect(() => gridTokens(grid, 3)).toThrow("[2, 2, 4] do not fold by 3");
  });

  it("refuse grids that do not fold", () => {
    expect(() => tokensOf(grid, 1)).toThrow("do not fold into a grid of 1 x 1");
  });
});
