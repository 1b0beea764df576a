/** @file Questions that cannot be answered, and models that do not fit together: each is named, before any work. */

import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Program } from "../src/engine/index.js";
import { decodeSafetensors, encodeSafetensors, Tensor } from "../src/tensor/index.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { run, temporaryFolder } from "./cli.js";
import { goldenPath } from "./golden.js";
import { writeVlmFolder } from "./vlm-folder.js";

const folder = temporaryFolder();
const picture = fileURLToPath(new URL("../assets/scenes/box.png", import.meta.url));
const longQuestion = "why? ".repeat(20_000);

let whole: string;
beforeAll(async () => {
  whole = await writeVlmFolder(path.join(folder, "whole"));
});

const ran = vi.fn();
beforeEach(() => {
  ran.mockClear();
  vi.spyOn(Program.prototype, "run").mockImplementation(async () => {
    ran();
    return {};
  });
});
afterEach(() => {
  expect(ran).not.toHaveBeenCalled();
  vi.restoreAllMocks();
});

/** A diffusion encoder that is told nothing when a question is asked. */
const untold = { conditioning: { inference: { text: "none" } } };

/** A copy of the whole model in which something is wrong. */
function broken(name: string, spoil: (at: string) => void): string {
  const at = path.join(folder, name);
  cpSync(whole, at, { recursive: true });
  spoil(at);
  return at;
}

function edit(file: string, change: (json: Record<string, never>) => void): void {
  const json = JSON.parse(readFileSync(file, "utf8"));
  change(json);
  writeFileSync(file, JSON.stringify(json));
}

const open = (at: string, options = {}) =>
  VisionLanguageModel.fromPretrained(at, { threads: 1, device: "cpu", ...options });

describe("a model that does not fit together", () => {
  it("names the projector's tensor whose sizes are wrong", async () => {
    const at = broken("projector", (at) => {
      const file = path.join(at, "model.safetensors");
      const { tensors } = decodeSafetensors(readFileSync(file));
      writeFileSync(
        file,
        encodeSafetensors(new Map(tensors).set("model.mm_projector.weight", Tensor.f32([32, 15]))),
      );
    });
    await expect(open(at)).rejects.toMatchObject({ code: "WEIGHT_SHAPE", misuse: false });
    await expect(open(at)).rejects.toThrow(/model\.mm_projector\.weight.*\[32, 15\].*\[32, 16\]/);
  });

  it("names the shard that is not there", async () => {
    const at = broken("shards", (at) => {
      const language = path.join(at, "language");
      rmSync(path.join(language, "model.safetensors"));
      const weight_map = { "model.norm.weight": "model-00002-of-00002.safetensors" };
      writeFileSync(path.join(language, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
    });
    await expect(open(at)).rejects.toMatchObject({ code: "FILE_MISSING", misuse: false });
    await expect(open(at)).rejects.toThrow("model-00002-of-00002.safetensors");
  });

  it("names the tokens that the table of embeddings does not have", async () => {
    const at = broken("tokenizer", (at) => {
      edit(path.join(at, "language/tokenizer.json"), (json: Record<string, { vocab: object }>) => {
        Object.assign(json.model!.vocab, { "▁zebra": 642 });
      });
    });
    await expect(open(at)).rejects.toMatchObject({ code: "TOKENIZER", misuse: false });
    await expect(open(at)).rejects.toThrow(/token 642 \("▁zebra"\) is outside .* has 642/);
  });

  it("names the template that leaves pictures out", async () => {
    const at = broken("template", (at) => {
      edit(path.join(at, "diffsight.json"), (json) => Object.assign(json, { template: "chat" }));
      edit(path.join(at, "language/tokenizer_config.json"), (json) =>
        Object.assign(json, { chat_template: "{{ messages[0].content | replace('<image>', '') }}" }),
      );
    });
    await using model = await open(at);
    await expect(model.ask(picture, "What?").whole()).rejects.toMatchObject({ code: "TEMPLATE" });
  });
});

describe("a question that cannot be answered", () => {
  it("is told how long it is, and how long it may be", async () => {
    await using model = await open(whole);
    const asked = model.ask(picture, longQuestion).whole();
    await expect(asked).rejects.toMatchObject({ code: "CONTEXT_LENGTH", misuse: true });
    await expect(asked).rejects.toThrow(/\d{5,6} tokens \(\d{5,6} of text, 64 of pictures\).* 512\./);
  });

  it.each([
    ["bytes that are no picture", Buffer.from("no picture"), "IMAGE_UNSUPPORTED"],
    ["a picture that ends too early", readFileSync(picture).subarray(0, 200), "IMAGE_BROKEN"],
    ["nothing", Buffer.alloc(0), "IMAGE_BROKEN"],
  ])("is refused for %s", async (_, bytes, code) => {
    await using model = await open(whole);
    await expect(model.ask(bytes, "What?").whole()).rejects.toMatchObject({ code, misuse: false });
  });
});

describe("diffsight ask", () => {
  const llava = goldenPath("pipeline-llava");
  it.each([
    ["an empty question", ["", "-m", llava], 2, "The question is empty."],
    ["a question that is far too long", [longQuestion, "-m", llava], 2, "and the language model reads 512."],
    [
      "--guidance without diffusion",
      ["What?", "-m", llava, "--guidance", "2"],
      2,
      "has no diffusion encoder that",
    ],
    ["--explain without diffusion", ["What?", "-m", llava, "--explain", "x"], 2, "has no diffusion encoder"],
    ["--explain in a conversation", ["--interactive", "--explain", "x"], 2, "--explain is for one answer"],
  ])("refuses %s", async (_, args, status, message) => {
    const found = await run(["ask", picture, ...args]);
    expect(found).toMatchObject({ status, stdout: "" });
    expect(found.stderr).toContain(message);
  });

  it.each([
    ["a prompt at guidance 0", untold, ["--prompt", "a box"], "--prompt is heard with --guidance beside it"],
    ["a guidance of nothing", untold, ["--guidance", "4"], "--guidance is heard with --prompt beside it"],
    [
      "features that no text changes",
      { part: "unconditional" },
      ["--prompt", "a box", "--guidance", "4"],
      "takes of diffusion what no text changes",
    ],
  ])("refuses what would not be heard: %s", async (name, sd, steer, message) => {
    const at = await writeVlmFolder(path.join(folder, name), { alone: "sd", sd });
    const found = await run(["ask", picture, "What?", "-m", at, "--threads", "1", ...steer]);
    expect(found).toMatchObject({ status: 2, stdout: "" });
    expect(found.stderr).toContain(message);
  });

  it("names a picture that is broken", async () => {
    const file = path.join(folder, "broken.png");
    writeFileSync(file, "no picture");
    const found = await run(["ask", file, "What?", "-m", llava]);
    expect(found).toMatchObject({ status: 1, stdout: "" });
    expect(found.stderr).toContain("broken.png");
  });
});

describe("diffsight quantize", () => {
  it.each([
    ["embedded:vlm", "quantize embedded:vlm/llm instead"],
    ["whole", "/language instead"],
  ])("names the language model of one that has it in a folder of its own: %s", async (name, message) => {
    const model = name === "whole" ? whole : name;
    const found = await run(["quantize", model, "-o", path.join(folder, "quantized")]);
    expect(found).toMatchObject({ status: 2, stdout: "" });
    expect(found.stderr).toContain(message);
  });
});
