/** @file What a model tells of its diffusion encoder's texts: those that it does not get, and those that are cut. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { blankImage } from "../src/image/index.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { writeVlmFolder } from "./vlm-folder.js";

const scratch = mkdtempSync(path.join(tmpdir(), "diffsight-notices-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** A model whose diffusion encoder is told this when something is asked, with all that it tells. */
async function opened(inference: object) {
  const folder = mkdtempSync(path.join(scratch, "model-"));
  await writeVlmFolder(folder, { alone: "sd", sd: { conditioning: { inference } } });
  const told: string[] = [];
  const model = await VisionLanguageModel.fromPretrained(folder, {
    device: "cpu",
    threads: 1,
    onProgress: (event) => event.status === "notice" && told.push(event.message),
  });
  return { model, told };
}

describe("a diffusion encoder", () => {
  it.each(["pseudo-caption", "caption"])(
    "that is told a %s when there is none says so, once",
    async (text) => {
      const { model, told } = await opened({ text });
      await using _ = model;
      for (const question of ["Is it red?", "Is it blue?"])
        expect(model.told(question)).toMatchObject([{ encoder: "sd", prompt: "" }]);
      expect(told).toEqual([
        expect.stringMatching(new RegExp(`"sd" is told a ${text} .* \\{ "text": "question" \\}`)),
      ]);
    },
  );

  it("that is given its text, or is told questions, has nothing to say", async () => {
    const { model, told } = await opened({ text: "caption" });
    await using _ = model;
    expect(model.told("Is it red?", { caption: "a box" })).toMatchObject([{ prompt: "a box" }]);
    expect(model.told("Is it red?", { diffusion: { prompt: "" } })).toMatchObject([{ prompt: "" }]);
    const asked = await opened({ text: "question" });
    await using __ = asked.model;
    expect(asked.model.told("?")).toHaveLength(1);
    expect([...told, ...asked.told]).toEqual([]);
  });

  it("takes a caption of whoever asks for a pseudo-caption", async () => {
    const { model, told } = await opened({ text: "pseudo-caption", guidance: 2 });
    await using _ = model;
    expect(model.told("Is it red?", { caption: "a box" })).toMatchObject([{ prompt: "a box", guidance: 2 }]);
    expect(told).toEqual([]);
  });

  it("that reads less than a question has says what it does not hear", async () => {
    const { model, told } = await opened({ text: "question" });
    await using _ = model;
    const picture = { ...blankImage(64, 64, [200, 30, 30]), channels: 3 as const };
    const question = `${"Is the box red and ".repeat(30)}large?`;
    for (const again of [question, question]) await model.ask(picture, again, { maxTokens: 1 }).whole();
    expect(told).toEqual([
      expect.stringMatching(/has \d{3} tokens, .* reads \d\d .* begins with ".*box.*…"/),
    ]);
  });
});
