/** @file Batches of conversations: what is left out of them, what stops, and what the user is told. */

import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Store } from "../src/data/index.js";
import { parseRecipe, type RecipeEvent, randomAt, runRecipe } from "../src/training/index.js";
import { openExamples } from "../src/training/speaker/batches.js";
import { readModels, type SpeakerTraining, speakerConfig } from "../src/training/speaker/config.js";
import { clip, writeConversations, writeLanguageModel } from "./training/small-vlm.js";
import { talkStore } from "./training/talk-store.js";

let folder = "";
const inside = (...parts: string[]) => path.join(folder, ...parts);
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "diffsight-speaker-batches-"));
  writeConversations(folder);
  writeLanguageModel(inside("llama"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const configOf = (more: object = {}, model = clip): Promise<SpeakerTraining> =>
  readModels(
    speakerConfig.parse({
      sight: { encoders: { clip: { kind: "vision", model } }, language: { model: inside("llama") } },
      phase: "stage1",
      length: 48,
      ...more,
    }),
  );

const said = ["<image>\nWhat is it?", "red"];
const [q, r] = ["q.png", "r.png"].map((name) => () => inside("images", name)) as [() => string, () => string];

/** The first batch of these rows, and what is told with it. */
async function batchOf(config: SpeakerTraining, train: Store, rows: readonly number[]) {
  const examples = await openExamples(config, { train });
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  try {
    const random = randomAt("train", 0, 0, 0);
    const feeds = await examples.batch({ split: "train", step: 0, part: 0, rows, random, warn });
    return { count: examples.train, weights: feeds.weights!.toFloat32(), warnings };
  } finally {
    await examples.release?.();
  }
}

describe("rows with more pictures than there is room for", () => {
  const two = ["<image><image>\nWhat differs?", "all"];
  const store = () =>
    talkStore(inside("crowded"), [
      { images: [q()], said },
      { images: [q(), r()], said: two },
      { images: [], said: ["Two and two?", "four"] },
      ...Array.from({ length: 5 }, () => ({ images: [r(), q()], said: two })),
    ]);

  it("are named when the data are opened", async () => {
    using train = await store();
    await expect(openExamples(await configOf(), { train })).rejects.toMatchObject({
      code: "PICTURES",
      message: expect.stringMatching(
        /of 8 rows 6 show more .*\(1\).*: Row 1 \(id "talk 1"\) has 2, .*and 1 more\. Set/,
      ),
    });
    const examples = await openExamples(await configOf({ pictures: 2 }), { train });
    expect(examples.train).toBe(8);
    await examples.release!();
  });

  it("are left out by choice, which is said", async () => {
    using train = await store();
    const { count, warnings } = await batchOf(await configOf({ faulty: "skip" }), train, [0, 1]);
    expect(count).toBe(2);
    expect(warnings).toContainEqual(expect.stringMatching(/6 show more .* are left out: Row 1 /));
  });
});

describe("with faulty: skip", () => {
  it("a picture that is gone leaves its row out, and the others as they were", async () => {
    const gone = inside("images", "gone.png");
    cpSync(q(), gone);
    using train = await talkStore(inside("gone"), [
      { images: [q()], said },
      { images: [gone], said },
    ]);
    rmSync(gone);
    const { weights, warnings } = await batchOf(await configOf({ faulty: "skip" }), train, [0, 1]);
    const [first, second] = [weights.subarray(0, weights.length / 2), weights.subarray(weights.length / 2)];
    expect([first.some((one) => one > 0), second.some((one) => one > 0)]).toEqual([true, false]);
    expect(warnings).toContainEqual(expect.stringMatching(/Row 1 .* left out: .*gone\.png cannot be read/));
    // Of an encoder that does not say how it prepares pictures
    expect(warnings).toContainEqual(expect.stringMatching(/usual for clip/));
  });

  it("an encoder whose weights are gone stops", async () => {
    const model = inside("sharded");
    cpSync(clip, model, { recursive: true });
    cpSync(path.join(model, "model.safetensors"), path.join(model, "model-00001-of-00002.safetensors"));
    rmSync(path.join(model, "model.safetensors"));
    const weight_map = { "vision_model.embeddings.class_embedding": "model-00002-of-00002.safetensors" };
    writeFileSync(path.join(model, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
    const { width, tokens } = (await configOf()).streams.clip!;
    const config = await configOf({ faulty: "skip", streams: { clip: { tokens, width } } }, model);
    using train = await talkStore(inside("whole"), [{ images: [q()], said }]);
    await expect(batchOf(config, train, [0])).rejects.toMatchObject({
      code: expect.stringMatching(/^FILE_/),
    });
  });
});

describe("steps of which nothing counts", () => {
  it("are told, and stop when there are many in a row", async () => {
    const events: RecipeEvent[] = [];
    const sight = {
      encoders: { clip: { kind: "vision", model: clip } },
      language: { model: inside("llama") },
    };
    writeFileSync(
      inside("long.json"),
      JSON.stringify([
        {
          conversations: [
            { from: "human", value: "What is two and two, and what is more than that?" },
            { from: "gpt", value: "four" },
          ],
        },
      ]),
    );
    const recipe = parseRecipe(
      JSON.stringify({
        name: "idle",
        stages: [
          { name: "talks", kind: "data", producer: "conversations", config: { file: inside("long.json") } },
          {
            name: "idle",
            kind: "train",
            task: "speaker",
            like: "llava-stage1",
            // The question alone fills it.
            config: { sight, phase: "stage2", length: 4 },
            data: { train: "talks" },
            batch: 1,
            parts: 1,
            steps: 30,
          },
        ],
      }),
    );
    const run = runRecipe(recipe, {
      out: inside("idle"),
      threads: 1,
      onEvent: (event) => events.push(event),
    });
    await expect(run).rejects.toMatchObject({
      code: "NOTHING_LEARNT",
      message: expect.stringMatching(/10 steps in a row, the last of them 10: no example/),
    });
    const notices = events.flatMap((event) => (event.kind === "notice" ? [event.message] : []));
    expect(notices).toContainEqual(expect.stringMatching(/idle, step 1: no example of the batch counts/));
    expect(notices).toContainEqual(expect.stringMatching(/what is longer than 4 is cut off/));
  }, 120_000);
});
