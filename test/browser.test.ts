/** @file The library in a browser: bundled by Vite, run in Chromium, against the same goldens as on Node. */

import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type * as library from "../src/index.js";
import { decodeImage, encodePng, overlayPicture, type Part, Tensor } from "../src/index.js";
import { type Bundle, bundle } from "./browser/bundle.js";
import { hasChromium, launch, needsChromium, softwareWebgpu } from "./browser/chromium.js";
import { isolation, type Site, serve } from "./browser/site.js";
import { expectClose, Golden, type GoldenCase, goldenPath, maxDifference } from "./golden.js";

/** What the page's script leaves for `page.evaluate`. */
declare const diffsight: typeof library;

const golden = new Golden("pipeline-sd21");
const wordmaps = new Golden("pipeline-sd21", "wordmaps");
const named = (start: string) => golden.cases.filter(({ name }) => name.startsWith(start));

/** Golden suffixes of the parts. */
const suffixes: Record<Part, string> = { unconditional: "u", conditional: "c", delta: "delta", guided: "s" };
const parts = Object.keys(suffixes) as Part[];

/** A tensor as it crosses from the page. */
interface Sent {
  dims: readonly number[];
  data: number[];
}

const received = ({ dims, data }: Sent) => Tensor.f32(dims, data);

describe.skipIf(!hasChromium)(`in the browser ${needsChromium}`, () => {
  let folder: string;
  let bundled: Bundle;
  let site: Site;
  let isolated: Site;
  let browser: Browser;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "browser-"));
    bundled = await bundle(fileURLToPath(new URL("browser/page", import.meta.url)), folder, {
      configFile: false,
      resolve: { conditions: ["source", "browser", "module", "import", "default"] },
      worker: { format: "es" },
    });
    const folders = {
      "/": folder,
      "/golden/": goldenPath(),
      "/ort/": fileURLToPath(new URL("../node_modules/onnxruntime-web/dist/", import.meta.url)),
    };
    site = await serve(folders);
    isolated = await serve(folders, isolation);
    browser = await launch(["--host-resolver-rules=MAP insecure.test 127.0.0.1"]);
  });

  afterAll(async () => {
    await browser?.close();
    await site?.close();
    await isolated?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A new page, and the addresses that it asks for. */
  async function open(
    at: Site,
    from: Browser | BrowserContext = browser,
  ): Promise<{ page: Page; asked: string[] }> {
    const page = await from.newPage();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    page.on("pageerror", (error) => console.error(error));
    await page.goto(at.url);
    await page.waitForFunction(() => "diffsight" in globalThis);
    return { page, asked };
  }

  /** Opens the golden pipeline as `eye` in the page. */
  const openEye = (page: Page, options: library.EncoderOptions) =>
    page.evaluate(async (options) => {
      const eye = await diffsight.DiffusionEncoder.fromPretrained("/golden/pipeline-sd21", options);
      Object.assign(globalThis, { eye });
      return eye.device;
    }, options);

  /** Features of a golden case, asked for with the picture as a Blob. */
  async function encodeCase(page: Page, one: GoldenCase, wanted: readonly Part[]) {
    const { prompt, timestep, seed, guidance, vae, ensemble, width, height, image } = one.args;
    const outputs = Object.keys(one.outputs).filter((key) => /\.[usc]$/.test(key));
    const taps = [...new Set(outputs.map((key) => key.replace(/\.\w+$/, "")))];
    const options: library.EncodeOptions = {
      prompt,
      taps,
      parts: wanted,
      timesteps: [timestep],
      seed,
      guidance,
      ensemble,
      vae: vae === "sample" ? "sample" : "mean",
      size: [width, height],
    };
    const sent = await page.evaluate(
      async ([image, options]) => {
        const { eye } = globalThis as unknown as { eye: library.DiffusionEncoder };
        const blob = await (await fetch(image)).blob();
        const { tensors } = await eye.encode(blob, options);
        return Array.from(tensors, ([name, { dims, data }]) => ({
          name,
          dims,
          data: Array.from(data as Float32Array),
        }));
      },
      [`/golden/pipeline-sd21/images/${image}`, options] as const,
    );
    return sent.flatMap(({ name, ...tensor }) => {
      const [tap, , part] = name.split("/") as [string, string, Part];
      const key = `${tap}.${suffixes[part]}`;
      const entry = one.outputs[key];
      return entry ? [{ key, entry, found: received({ ...tensor, dims: [1, ...tensor.dims] }) }] : [];
    });
  }

  describe("the bundle", () => {
    it("holds nothing of Node", () => {
      const foreign = /^(node:|__vite-browser-external)|onnxruntime-node|sharp|\/node\.ts$|\/worker\.ts$/;
      expect(bundled.modules.filter((id) => foreign.test(id))).toEqual([]);
      expect(bundled.modules.some((id) => id.endsWith("src/engine/web.ts"))).toBe(true);
      expect(bundled.code).not.toMatch(/(from|import\(|require\()\s*["'`]node:/);
      expect(bundled.warnings).toEqual([]);
    });

    it("brings the runtime's WebAssembly along, and little else", () => {
      const plain = new Map(
        [...bundled.files].map(([name, size]) => [name.replace(/-[\w-]{8}\./, "."), size]),
      );
      const bytes = (pattern: RegExp) =>
        [...plain].reduce((sum, [name, size]) => (pattern.test(name) ? sum + size : sum), 0);
      expect([...plain.keys()].filter((name) => name.endsWith(".wasm")).length).toBe(2);
      const [library, runtime] = [bytes(/^index\.js$/), bytes(/^ort.*js$/)];
      console.log(`The bundle without WebAssembly: library ${library} bytes, runtime ${runtime} bytes`);
      expect(library).toBeLessThan(550_000);
      expect(runtime).toBeLessThan(250_000);
    });
  });

  describe("in WebAssembly", () => {
    let page: Page;
    let asked: string[];

    beforeAll(async () => {
      ({ page, asked } = await open(site));
      expect(await openEye(page, { device: "auto" })).toBe("cpu");
    });

    it.each(named("features"))("$name: features and their parts equal diffusers'", async (one) => {
      const found = await encodeCase(page, one, parts);
      expect(found.length).toBeGreaterThanOrEqual(4);
      for (const { key, entry, found: tensor } of found) {
        expectClose(tensor, golden.tensor(entry), entry.atol!, key, 4);
      }
    });

    it("word maps equal diffusers'", async () => {
      const { args, outputs } = wordmaps.json;
      const found = await page.evaluate(async ({ prompt, timestep, seed, width, height, image }) => {
        const { eye } = globalThis as unknown as { eye: library.DiffusionEncoder };
        const maps = await eye.attend(`/golden/pipeline-sd21/images/${image}`, {
          prompt,
          timesteps: [timestep],
          seed,
          size: [width, height],
        });
        const send = ({ dims, data }: library.Tensor) => ({ dims, data: Array.from(data as Float32Array) });
        return { red: send(maps.word("red")), circle: send(maps.word("circle")), start: send(maps.start) };
      }, args);
      for (const [word, map] of Object.entries(found)) {
        const entry = outputs[`all/${word}`];
        expectClose(received(map), wordmaps.tensor(entry), entry.atol, word, 4);
      }
    });

    it.each(named("lse"))("$name: alignment scores equal diffusers'", async (one) => {
      const { prompts, timesteps, seed, width, height, image } = one.args;
      const found = await page.evaluate(
        async ([image, prompts, options]) => {
          const { eye } = globalThis as unknown as { eye: library.DiffusionEncoder };
          return (await eye.score(image, prompts, options)).map(({ score }) => score);
        },
        [
          `/golden/pipeline-sd21/images/${image}`,
          prompts as string[],
          { timesteps, seed, size: [width, height] } as library.ScoreOptions,
        ] as const,
      );
      const expected = golden.output(one, "score");
      expectClose(Tensor.f32(expected.dims, found), expected, one.outputs.score!.atol!, "score", 4);
    });

    it("an overlay's PNG has the bytes that Node gives it", async () => {
      const map = wordmaps.tensor(wordmaps.json.outputs["all/red"]);
      const picture = await decodeImage(goldenPath("pipeline-sd21", "images", "a.png"));
      const here = encodePng(overlayPicture(picture, map, { title: "red", caption: "t 50" }));
      const there = await page.evaluate(
        async ([dims, data]) => {
          const picture = await diffsight.decodeImage("/golden/pipeline-sd21/images/a.png");
          const map = diffsight.Tensor.f32(dims, data);
          const shown = diffsight.overlayPicture(picture, map, { title: "red", caption: "t 50" });
          return Array.from(diffsight.encodePng(shown));
        },
        [map.dims, Array.from(map.toFloat32())] as const,
      );
      expect(Buffer.from(there).equals(here)).toBe(true);
    });

    it("asks nobody but its own server, and for one build of the runtime", () => {
      expect(asked.filter((url) => !url.startsWith(site.url) && !/^(data|blob):/.test(url))).toEqual([]);
      expect(asked.filter((url) => url.endsWith(".wasm")).map((url) => path.basename(url))).toEqual([
        expect.stringMatching(/^ort-wasm-simd-threaded-\w+\.wasm$/),
      ]);
    });

    it("one thread computes, as nothing isolates the page", () => {
      expect(page.workers().length).toBe(0);
    });

    it("a device that is not there is named with its reason", async () => {
      const said = await page.evaluate(() =>
        diffsight.DiffusionEncoder.fromPretrained("/golden/pipeline-sd21", { device: "webgpu" }).catch(
          ({ code, message }) => ({ code, message }),
        ),
      );
      expect(said).toEqual({
        code: "DEVICE",
        message: expect.stringMatching(
          /^Nothing can run on the device "webgpu" here: this browser (has no WebGPU|finds no graphics adapter for WebGPU)\./,
        ),
      });
    });

    it("work that was cancelled ends at once, and the next is done", async () => {
      const said = await page.evaluate(async () => {
        const { eye } = globalThis as unknown as { eye: library.DiffusionEncoder };
        const stop = new AbortController();
        const picture = "/golden/pipeline-sd21/images/a.png";
        const onProgress = ({ phase }: { phase: string }) => void (phase === "unet" && stop.abort());
        const options = { size: 64, seed: 3 } as const;
        const cancelled = await eye
          .encode(picture, { ...options, signal: stop.signal, onProgress })
          .catch(({ code }) => code);
        return [cancelled, (await eye.encode(picture, options)).features.dims];
      });
      expect(said).toEqual(["ABORTED", [1, 24, 2, 2]]);
    });
  });

  it("threads compute where the page is isolated", async () => {
    const { page } = await open(isolated);
    await openEye(page, { device: "cpu", threads: 2 });
    const [one] = named("features0");
    for (const { key, entry, found } of await encodeCase(page, one!, ["guided"])) {
      expectClose(found, golden.tensor(entry), entry.atol!, key, 4);
    }
    expect(page.workers().length).toBe(1);
    await page.close();
  });

  it("computes in pages from plain http, and says what they lack", async () => {
    const { page } = await open({ ...site, url: site.url.replace("127.0.0.1", "insecure.test") });
    const said = await page.evaluate(async () => {
      const address = "/golden/pipeline-sd21";
      const refused = await diffsight.DiffusionEncoder.fromPretrained(address, { device: "webgpu" }).catch(
        ({ message }) => message,
      );
      const eye = await diffsight.DiffusionEncoder.fromPretrained(address);
      const { features } = await eye.encode(`${address}/images/a.png`, { size: 64, prompt: "a" });
      return [isSecureContext, refused, features.dims];
    });
    expect(said).toEqual([false, expect.stringContaining("serve this one over https"), [1, 24, 2, 2]]);
    await page.close();
  });

  it("runs in a page's worker", async () => {
    const { page } = await open(site);
    const dims = await page.evaluate(() => {
      const { startWorker } = globalThis as unknown as { startWorker: () => Worker };
      const worker = startWorker();
      worker.postMessage({ model: "/golden/pipeline-sd21", image: "/golden/pipeline-sd21/images/a.png" });
      return new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      });
    });
    expect(dims).toEqual([1, 24, 2, 2]);
    await page.close();
  });

  it("fetches each weight once, and only what the wanted tap needs", async () => {
    const { page } = await open(site);
    let bytes = 0;
    page.on("response", (response) => {
      if (response.url().endsWith("unet/diffusion_pytorch_model.safetensors"))
        bytes += Number(response.headers()["content-length"]);
    });
    await page.evaluate(async () => {
      const eye = await diffsight.DiffusionEncoder.fromPretrained("/golden/pipeline-sd21");
      await eye.encode("/golden/pipeline-sd21/images/a.png", {
        size: 64,
        taps: ["down-level0-repeat0-res-out"],
      });
    });
    const { size } = await stat(goldenPath("pipeline-sd21", "unet", "diffusion_pytorch_model.safetensors"));
    expect(bytes).toBeLessThan(size / 2);
    await page.close();
  });

  describe("the runtime's files", () => {
    it("come from the folder that configureRuntime names", async () => {
      const { page, asked } = await open(site);
      const said = await page.evaluate(async () => {
        diffsight.configureRuntime({ wasmPaths: "/ort" });
        const eye = await diffsight.DiffusionEncoder.fromPretrained("/golden/pipeline-sd21");
        const { features } = await eye.encode("/golden/pipeline-sd21/images/a.png", { size: 64 });
        let late: unknown;
        try {
          diffsight.configureRuntime({});
        } catch (error) {
          late = (error as library.DiffsightError).code;
        }
        return [features.dims, late];
      });
      expect(said).toEqual([[1, 24, 2, 2], "RUNTIME_STARTED"]);
      expect(asked.filter((url) => url.endsWith(".wasm"))).toEqual([
        `${site.url}ort/ort-wasm-simd-threaded.wasm`,
      ]);
      await page.close();
    });

    it("when they are missing the error says what to serve", async () => {
      const { page } = await open(site);
      const said = await page.evaluate(async () => {
        diffsight.configureRuntime({ wasmPaths: "/nowhere/" });
        const eye = await diffsight.DiffusionEncoder.fromPretrained("/golden/pipeline-sd21");
        return eye
          .encode("/golden/pipeline-sd21/images/a.png", { size: 64 })
          .catch(({ code, message }) => ({ code, message }));
      });
      expect(said).toEqual({
        code: "RUNTIME_FILES",
        message: expect.stringMatching(
          /serve ort-wasm-simd-threaded\.wasm, .* configureRuntime\(\{ wasmPaths \}\)/,
        ),
      });
      await page.close();
    });
  });

  describe("on WebGPU", () => {
    let graphics: Browser;
    let page: Page;

    beforeAll(async () => {
      graphics = await launch(softwareWebgpu);
      ({ page } = await open(site, graphics));
      expect(await openEye(page, { device: "webgpu" })).toBe("webgpu");
    });

    afterAll(() => graphics?.close());

    it.each(named("features1"))("$name: features are within 1e-3 of their rms", async (one) => {
      for (const { key, entry, found } of await encodeCase(page, one, ["conditional"])) {
        const expected = golden.tensor(entry);
        const squares = expected.toFloat32().reduce((sum, value) => sum + value * value, 0);
        const rms = Math.sqrt(squares / expected.size);
        expect(maxDifference(found, expected), key).toBeLessThanOrEqual(1e-3 * rms);
      }
    });
  });
});
