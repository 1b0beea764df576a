/** @file The package as its users get it: packed, installed into an empty folder, run, imported, type-checked, bundled. */

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
import { createServer, type InlineConfig } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeSafetensors } from "../src/tensor/index.js";
import { bundle } from "./browser/bundle.js";
import { hasChromium, launch, needsChromium } from "./browser/chromium.js";
import { isolation, serve } from "./browser/site.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const scene = path.join(root, "assets/scenes/stools.png");
const run = promisify(execFile);

interface Packed {
  filename: string;
  size: number;
  files: { path: string }[];
}

let folder: string;
let app: string;
let packed: Packed;
let tarball: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "diffsight-package-"));

  // 1. Packed from a copy, so that nothing that was built before can slip in
  const copy = path.join(folder, "copy");
  const { files } = JSON.parse(await readFile(path.join(root, "package.json"), "utf8"));
  const sources = ["package.json", "src", "tsconfig.json", "tsconfig.build.json", "docs", "README.md"];
  const kept = [...sources, "assets", "recipes", "LICENSE", "NOTICE"];
  expect(files).toEqual(
    expect.arrayContaining(["dist", "assets", "recipes", "README.md", "LICENSE", "NOTICE"]),
  );
  for (const name of kept) await cp(path.join(root, name), path.join(copy, name), { recursive: true });
  await symlink(path.join(root, "node_modules"), path.join(copy, "node_modules"));
  // A checkout's .npmrc forbids scripts, and npm hands that on to what it starts; packing builds by one.
  const scripts = "--ignore-scripts=false";
  const pack = ["pack", scripts, "--json", "--silent", "--pack-destination", folder];
  const { stdout } = await run("npm", pack, { cwd: copy, maxBuffer: 2 ** 24 });
  packed = JSON.parse(stdout.slice(stdout.indexOf("[\n")))[0];
  tarball = path.join(folder, packed.filename);

  // 2. Installed
  app = path.join(folder, "app");
  await mkdir(app);
  await writeFile(path.join(app, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const quiet = ["--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", ["install", scripts, ...quiet, tarball], {
    cwd: app,
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" },
  });
}, 600_000);

afterAll(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));

/** Runs a program of the folder where the package is installed. */
const inApp = (command: string, args: readonly string[]) => run(command, args, { cwd: app });

describe("the packed package", () => {
  it("holds what runs, the embedded model and the licences, and nothing else", () => {
    const paths = packed.files.map((file) => file.path);
    for (const wanted of [
      "README.md",
      "LICENSE",
      "NOTICE",
      "dist/index.js",
      "dist/index.d.ts",
      "dist/cli/main.js",
      "dist/engine/node.js",
      "dist/engine/web.js",
      "assets/ATTRIBUTION.md",
      "assets/micro/sd/model_index.json",
      "assets/micro/sd/unet/diffusion_pytorch_model.safetensors",
    ]) {
      expect(paths).toContain(wanted);
    }
    const others = paths.filter((file) => !/^(dist|assets|docs|recipes)\//.test(file)).sort();
    expect(others).toEqual(["LICENSE", "NOTICE", "README.md", "package.json"]);
    expect(paths.filter((file) => /(^|\/)(test|golden)\/|\.test\.|(?<!\.d)\.ts$|\.map$/.test(file))).toEqual(
      [],
    );
  });

  it("is at most 18 MB, of which 14 are the embedded models", () => {
    console.log(`The package: ${packed.size} bytes, ${packed.files.length} files`);
    expect(packed.size).toBeLessThanOrEqual(18_000_000);
  });

  it("pleases publint", async () => {
    await run("npx", ["--no-install", "publint", "run", tarball, "--strict"], { cwd: root });
  });

  it("has types that resolve as its code does", async () => {
    await run("npx", ["--no-install", "attw", tarball, "--profile", "esm-only"], { cwd: root });
  });
});

describe("installed", () => {
  it("is a command", async () => {
    const { version } = JSON.parse(await readFile(path.join(root, "package.json"), "utf8"));
    const { stdout } = await inApp("npx", ["--no-install", "diffsight", "--version"]);
    expect(stdout).toBe(`${version}\n`);
  });

  it("extracts features with the embedded model", async () => {
    const out = path.join(app, "scene.safetensors");
    await inApp("npx", ["--no-install", "diffsight", "extract", scene, "-o", out]);
    const { tensors } = decodeSafetensors(await readFile(out));
    expect([...tensors].map(([name, { dims }]) => [name, dims])).toEqual([
      ["up-level1-repeat1-vit-block0-cross-q/t50/guided", [64, 8, 8]],
    ]);
  });

  it("is a library, and importing it loads neither the runtime nor sharp", async () => {
    await writeFile(
      path.join(app, "encode.mjs"),
      `import { createRequire } from "node:module";
       import { DiffusionEncoder } from "diffsight";
       const loaded = Object.keys(createRequire(import.meta.url).cache);
       const eye = await DiffusionEncoder.fromPretrained();
       const { features } = await eye.encode(${JSON.stringify(scene)}, { prompt: "three yellow stools in the square" });
       console.log(JSON.stringify({ loaded, dims: features.dims }));
       await eye.release();`,
    );
    const { stdout } = await inApp(process.execPath, ["encode.mjs"]);
    // Both are CommonJS, so that the cache of modules would show them.
    expect(JSON.parse(stdout)).toEqual({ loaded: [], dims: [1, 64, 8, 8] });
  });

  it.each(["nodenext", "bundler"])(
    "type-checks strictly with moduleResolution %s",
    async (moduleResolution) => {
      const project = path.join(app, moduleResolution);
      await mkdir(project);
      await writeFile(
        path.join(project, "use.ts"),
        `import { configureRuntime, DiffusionEncoder, encodePng, overlayPicture, type RgbImage, type Tensor } from "diffsight";
       configureRuntime({ wasmPaths: "/ort/" });
       await using eye = await DiffusionEncoder.fromPretrained("sd", { device: "auto" });
       const features: Tensor = (await eye.encode("a.png", { prompt: "a dog", guidance: 4 })).features;
       const maps = await eye.attend("a.png", { prompt: "a dog" });
       const picture: RgbImage = overlayPicture(maps.image, maps.word("dog"));
       const png: Uint8Array = encodePng(picture);
       const [first] = await eye.score("a.png", ["a dog"]);
       export const all = [features.dims, png.length, first?.score];
       // @ts-expect-error an option that does not exist
       await eye.encode("a.png", { promt: "a dog" });`,
      );
      const options = {
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        noEmit: true,
        target: "es2022",
        lib: ["es2023", "esnext.disposable", "dom"],
        types: [],
        module: moduleResolution === "bundler" ? "esnext" : "nodenext",
        moduleResolution,
      };
      await writeFile(path.join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: options }));
      const compiler = path.join(root, "node_modules/typescript/bin/tsc");
      const { stdout } = await run(process.execPath, [compiler, "-p", project]).catch((error) => error);
      expect(stdout).toBe("");
    },
  );
});

describe.skipIf(!hasChromium)(`the guide's page ${needsChromium}`, () => {
  let project: string;
  let browser: Browser;

  beforeAll(async () => {
    project = path.join(app, "page");
    const guide = await readFile(path.join(root, "docs/browser.md"), "utf8");
    const files = [...guide.matchAll(/```\w+ (\S+)\n([\s\S]*?)```/g)].map(([, name, text]) => [name!, text!]);
    const page = files.find(([name]) => name === "index.html")![1]!;
    files.push(["worker.html", page.replace("/src/main.ts", "/src/worker-page.ts")]);
    for (const [name, text] of files as [string, string][]) {
      await mkdir(path.dirname(path.join(project, name)), { recursive: true });
      await writeFile(path.join(project, name), text);
    }
    await cp(
      path.join(app, "node_modules/diffsight/assets/micro/sd"),
      path.join(project, "public/models/sd"),
      {
        recursive: true,
      },
    );
    await symlink(path.join(root, "node_modules/vite"), path.join(app, "node_modules/vite"));
    browser = await launch();
  });

  afterAll(() => browser?.close());

  /** Opens the page, gives it the picture, and waits for the features. */
  async function use(url: string): Promise<{ page: Page; asked: string[] }> {
    const page = await browser.newPage();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    page.on("pageerror", (error) => console.error(error));
    await page.goto(url);
    if (!url.endsWith("worker.html")) await page.getByText("ready on cpu").waitFor();
    await page.locator("#picture").setInputFiles(scene);
    await page.getByText("features of 1 x 64 x 8 x 8").waitFor({ timeout: 60_000 });
    return { page, asked };
  }

  /** Whether there is more than one core for threads to use. */
  const hasCores = (page: Page) => page.evaluate(() => navigator.hardwareConcurrency > 1);

  async function showsWords(page: Page): Promise<void> {
    const prompt = await page.locator("#prompt").inputValue();
    await page.waitForFunction(
      (words) => document.querySelectorAll("#words img").length === words,
      prompt.split(" ").length,
    );
    const sizes = await page.evaluate(() =>
      Promise.all(
        Array.from(document.images, async (image) => {
          await image.decode();
          return image.naturalWidth;
        }),
      ),
    );
    expect(sizes.every((width) => width >= 256)).toBe(true);
  }

  it("shows where each word looks, as published", async () => {
    const built = await bundle(project, path.join(project, "dist"), { configFile: false });
    expect(
      built.modules.filter((id) => /^node:|__vite-browser-external|onnxruntime-node|sharp/.test(id)),
    ).toEqual([]);
    expect(built.warnings).toEqual([]);
    const site = await serve({ "/": path.join(project, "dist") });
    const { page, asked } = await use(site.url);
    await showsWords(page);
    expect(asked.filter((url) => !url.startsWith(site.url) && !/^(data|blob):/.test(url))).toEqual([]);
    await page.close();
    await site.close();
  });

  it("computes in a worker with threads, as published", async () => {
    await bundle(project, path.join(project, "dist"), {
      build: { rolldownOptions: { input: path.join(project, "worker.html") } },
    });
    const site = await serve({ "/": path.join(project, "dist") }, isolation);
    const { page } = await use(`${site.url}worker.html`);
    expect(site.asked.some((file) => /ort-wasm-simd-threaded-[\w-]+\.mjs$/.test(file))).toBe(
      await hasCores(page),
    );
    await page.close();
    await site.close();
  });

  /** Vite's development server. */
  async function develop(config: InlineConfig): Promise<{ url: string; close(): Promise<void> }> {
    const server = await createServer({
      root: project,
      logLevel: "error",
      server: { port: 0, host: "127.0.0.1" },
      ...config,
    });
    await server.listen();
    return { url: server.resolvedUrls!.local[0]!, close: () => server.close() };
  }

  it("works while it is written, on Vite's own server", async () => {
    const server = await develop({ configFile: false });
    const { page } = await use(server.url);
    await showsWords(page);
    await page.close();
    await server.close();
  });

  it("computes with threads while it is written", async () => {
    const server = await develop({});
    const { page, asked } = await use(server.url);
    expect(asked.some((url) => url.includes("ort-wasm-simd-threaded.mjs"))).toBe(await hasCores(page));
    expect(page.workers().length > 0).toBe(await hasCores(page));
    await page.close();
    const { page: other } = await use(`${server.url}worker.html`);
    await other.close();
    await server.close();
  });
});
