/** @file `diffsight.json`: what is read of it, what it says when it is wrong, and that what is written is read again. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { DiffsightError } from "../src/tensor/index.js";
import {
  descriptionJsonSchema,
  parseDescription,
  readDescription,
  resolveModel,
  writeDescription,
} from "../src/vlm/index.js";
import { openModel } from "../src/weights/index.js";
import "./properties.js";

const small = {
  encoders: { clip: { kind: "vision", model: "../clip" } },
  language: { model: "./llm" },
};
const full = {
  version: 1,
  encoders: {
    clip: {
      kind: "vision",
      model: { id: "openai/clip-vit-large-patch14-336", revision: "abc" },
      layer: [-2, "last"],
    },
    "sd-u": { kind: "diffusion", model: "../sd", part: "unconditional" },
    "sd-c": {
      kind: "diffusion",
      model: "../sd",
      tap: "U-L2-R1-B0-Cross-Q",
      timestep: [10, 50],
      part: "conditional",
      conditioning: { stage1: { text: "noisy-caption", deleted: 0.5 } },
      textLayers: ["up-*"],
    },
    asked: { kind: "text", model: "../sd" },
  },
  fusion: [
    {
      type: "guidance-ensemble",
      as: "guided",
      unconditional: "sd-u",
      conditional: "sd-c",
      question: "asked",
    },
    { type: "cross-attention", queries: "clip", context: "guided", normalisation: { guided: "l2" } },
  ],
  projector: "linear",
  language: { model: "lmsys/vicuna-7b-v1.5" },
  template: "vicuna_v1",
};

describe("a description", () => {
  it("needs an encoder and a language model, and has a default for the rest", () => {
    expect(parseDescription(small)).toEqual({
      version: 1,
      encoders: {
        clip: { kind: "vision", model: "../clip", layer: -2, tokens: "patches", fit: "pad" },
      },
      fusion: [{ type: "none", encoder: "clip", normalisation: "none" }],
      projector: "mlp2x_gelu",
      language: { model: "./llm" },
      template: "vicuna_v1",
    });
  });

  it("asks diffusion as the paper does by default", () => {
    const encoders = { sd: { kind: "diffusion", model: "../sd" } };
    expect(parseDescription({ ...small, encoders }).encoders.sd).toEqual({
      kind: "diffusion",
      model: "../sd",
      tap: "up-level1-repeat1-vit-block0-cross-q",
      timestep: 50,
      part: "guided",
      conditioning: {
        stage1: { text: "none" },
        stage2: { text: "random-question", dropout: 0.3, guidance: 4 },
        inference: { text: "question", dropout: 0, guidance: 4 },
      },
      fit: "pad",
      seed: 0,
      ensemble: 1,
      vae: "mean",
      fold: 1,
    });
  });

  it("is read as it is written, with every default spelt out", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "diffsight-description-"));
    folders.push(folder);
    for (const json of [small, full]) {
      const description = parseDescription(json);
      await writeDescription(folder, description);
      expect(await readDescription(await openModel(folder))).toEqual(description);
      expect(JSON.parse(readFileSync(path.join(folder, "diffsight.json"), "utf8"))).toEqual(description);
    }
    writeFileSync(path.join(folder, "diffsight.json"), "{");
    await expect(readDescription(await openModel(folder))).rejects.toMatchObject({ code: "FILE_CORRUPT" });
  });

  it("names models by folder or by id", () => {
    expect(resolveModel("../clip", "/models/vlm")).toEqual({
      source: "/models/vlm/../clip",
      revision: undefined,
    });
    expect(resolveModel("a/b", "/models/vlm")).toEqual({ source: "a/b", revision: undefined });
    expect(resolveModel({ id: "a/b", revision: "c" }, "/x")).toEqual({ source: "a/b", revision: "c" });
  });
});

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** The full one with one thing changed. */
function changed(at: (string | number)[], value: unknown): unknown {
  const copy = structuredClone(full) as unknown as Record<string | number, unknown>;
  const last = at.at(-1)!;
  const place = at.slice(0, -1).reduce((o, key) => o[key] as Record<string | number, unknown>, copy);
  place[last] = value;
  return copy;
}

describe("what is wrong is named by its path", () => {
  it.each<[(string | number)[], unknown, RegExp]>([
    [["version"], 2, /^version: expected 1$/],
    [
      ["encoders", "clip", "kind"],
      "audio",
      /^encoders\.clip\.kind: expected one of vision, diffusion, text$/,
    ],
    [["encoders", "clip", "layer"], "first", /^encoders\.clip\.layer: expected .*last/],
    [["encoders", "clip", "timestep"], 50, /^encoders\.clip: "timestep" is not known here$/],
    [["encoders", "sd-c", "timestep"], 1000, /^encoders\.sd-c\.timestep: .*at most 999/],
    [["encoders", "sd-c", "part"], "mean", /^encoders\.sd-c\.part: expected one of guided, /],
    [["encoders", "sd-c", "conditioning", "stage1", "deleted"], 2, /stage1\.deleted: must be at most 1$/],
    [
      ["encoders", "sd-c", "conditioning", "stage2"],
      { text: "poem" },
      /stage2\.text: expected one of none, caption/,
    ],
    [["encoders", "SD"], full.encoders["sd-u"], /^encoders\.SD: /],
    [["fusion", 1, "heads"], 0, /^fusion\[1\]\.heads: must be at least 1$/],
    [["fusion", 1, "type"], "magic", /^fusion\[1\]\.type: expected one of none, channel-concat/],
    [
      ["fusion", 1, "normalisation"],
      "batch",
      /^fusion\[1\]\.normalisation: expected one of none, .* or expected/,
    ],
    [
      ["fusion", 1, "context"],
      "sd",
      /^fusion\[1\]: nothing is called "sd" \(clip, sd-u, sd-c, asked, guided\)/,
    ],
    [["fusion"], { type: "none", encoder: "clip" }, /encoders\.sd-u: no fusion takes it; encoders\.sd-c/],
    [["fusion"], undefined, /^fusion: is needed to join clip, sd-u, sd-c$/],
    [["projector"], "mlp0x_gelu", /^projector: linear, identity and mlp<n>x_gelu/],
    [["language"], undefined, /^language: expected an object$/],
    [["language", "model"], {}, /^language\.model/],
    [["encoders"], { asked: full.encoders.asked }, /^encoders: there is none of a picture$/],
  ])("%j: %j", (at, value, message) => {
    const parse = () => parseDescription(changed(at, value));
    expect(parse).toThrow(message);
    expect(parse).toThrow(expect.objectContaining({ code: "DESCRIPTION", misuse: true }));
  });

  it("whatever is read: a description, or an error that names something", () => {
    const paths = pathsOf(full);
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.jsonValue(), (at, value) => {
        try {
          const description = parseDescription(at.length === 0 ? value : changed(at, value));
          expect(parseDescription(description)).toEqual(description);
        } catch (error) {
          expect(error).toBeInstanceOf(DiffsightError);
          expect((error as DiffsightError).message).not.toBe("");
        }
      }),
      { numRuns: 10_000 },
    );
  });
});

/** Every place in a JSON value. */
function pathsOf(value: unknown): (string | number)[][] {
  if (value === null || typeof value !== "object") return [[]];
  const inner = Array.isArray(value) ? value.map((one, i) => [i, one] as const) : Object.entries(value);
  return [[], ...inner.flatMap(([key, one]) => pathsOf(one).map((rest) => [key, ...rest]))];
}

it("its published form is the one that is checked (node --conditions=source --import tsx scripts/write-schema.ts writes it)", () => {
  const file = new URL("../docs/diffsight.schema.json", import.meta.url);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(JSON.parse(JSON.stringify(descriptionJsonSchema())));
});
