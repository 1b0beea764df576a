/** @file Language models in a browser: the same tokens as in Node, on both of its devices, and with weights of few bits. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LanguageModel, quantizeLanguageModel } from "../src/vlm/index.js";
import type * as language from "../src/vlm/language/index.js";
import { openModel } from "../src/weights/index.js";
import { bundle } from "./browser/bundle.js";
import { hasChromium, launch, needsChromium, softwareWebgpu } from "./browser/chromium.js";
import { type Site, serve } from "./browser/site.js";
import { Golden, goldenPath } from "./golden.js";

/** What the page's script leaves for `page.evaluate`. */
declare const vlm: typeof language;

describe.skipIf(!hasChromium)(`in the browser ${needsChromium}`, () => {
  let folder: string;
  let site: Site;
  let browser: Browser;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "language-"));
    await bundle(fileURLToPath(new URL("browser/language", import.meta.url)), path.join(folder, "page"), {
      configFile: false,
      resolve: { conditions: ["source", "browser", "module", "import", "default"] },
    });
    const few = { bits: 4, block: 16 } as const;
    await quantizeLanguageModel(await openModel(goldenPath("llama-gqa")), path.join(folder, "few"), few);
    site = await serve({
      "/": path.join(folder, "page"),
      "/golden/": goldenPath(),
      "/few/": path.join(folder, "few"),
    });
    browser = await launch(softwareWebgpu);
  });
  afterAll(async () => {
    await browser?.close();
    await site?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** What the model says after a context, that is read first and gone on from twice. */
  async function said(model: string, device: "cpu" | "webgpu", prompt: number[]) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(site.url);
    await page.waitForFunction(() => "vlm" in globalThis);
    const answers = await page.evaluate(
      async ([model, device, prompt]) => {
        const opened = await vlm.LanguageModel.fromPretrained(model, { device });
        const context = await opened.read([prompt]);
        const answers: (readonly number[])[] = [];
        for (let i = 0; i < 2; i++) {
          const answer = opened.generate(context, { maxTokens: 12, ignoreEos: true });
          for await (const _ of answer);
          answers.push(answer.ids);
        }
        await opened.release();
        return answers;
      },
      [model, device, prompt] as const,
    );
    await page.close();
    return answers;
  }

  it.each(["cpu", "webgpu"] as const)("on %s it says transformers' tokens", async (device) => {
    const golden = new Golden("llama-gqa");
    const one = golden.case("greedy");
    const [prompt] = golden.input(one, "input_ids").toArray() as [number[]];
    const [whole] = golden.output(one, "sequences").toArray() as [number[]];
    const expected = whole.slice(prompt.length);
    expect(await said("/golden/llama-gqa", device, prompt)).toEqual([expected, expected]);
  });

  it("with weights of 4 bits it says what it says in Node", async () => {
    const prompt = [5, 6, 7, 8, 9];
    await using model = await LanguageModel.fromPretrained(path.join(folder, "few"), {
      device: "cpu",
      host: "here",
    });
    const answer = model.generate([prompt], { maxTokens: 12, ignoreEos: true });
    for await (const _ of answer);
    const [first, second] = await said("/few", "cpu", prompt);
    expect(second).toEqual(first);
    // Rounded activations may tip a close choice after a while.
    expect(first!.slice(0, 4)).toEqual(answer.ids.slice(0, 4));
  });
});
