/** @file Model folders as users have them: pipelines, components, shards, variants, broken ones; on disk and on the web. */

import * as fs from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { encodeSafetensors, Tensor } from "../src/tensor/index.js";
import {
  inspect,
  modelPath,
  openCheckpoint,
  openModel,
  type ProgressEvent,
  writeFileAtomic,
} from "../src/weights/index.js";
import * as web from "../src/weights/web.js";
import { FakeHub } from "./fake-hub.js";
import { goldenPath } from "./golden.js";

let folder: string;

beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), "weights-"));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await fs.rm(folder, { recursive: true, force: true });
});

const one = (value: number): Uint8Array => encodeSafetensors({ w: Tensor.f32([1], [value]) });

async function write(files: Record<string, Uint8Array | string | object>): Promise<void> {
  for (const [path, contents] of Object.entries(files)) {
    await fs.mkdir(dirname(join(folder, path)), { recursive: true });
    const raw = typeof contents === "string" || contents instanceof Uint8Array;
    await fs.writeFile(join(folder, path), raw ? contents : JSON.stringify(contents));
  }
}

async function firstNumber(component: string, options = {}): Promise<number> {
  const checkpoint = await (await openModel(folder)).checkpoint(component, options);
  return Number((await checkpoint.read("w")).data[0]);
}

describe("a model's folder", () => {
  it("gives its configs, texts and weights", async () => {
    const model = await openModel(goldenPath("pipeline-sd21"));
    expect(model.source).toBe(goldenPath("pipeline-sd21"));
    expect(await model.json("unet/config.json")).toMatchObject({ _class_name: "UNet2DConditionModel" });
    expect(await model.json("nothing.json", true)).toBeUndefined();
    expect(await model.has("tokenizer/merges.txt")).toBe(true);
    expect(await model.has("tokenizer")).toBe(false);
    expect(await model.text("tokenizer/merges.txt")).toMatch(/^#version/);
    const { entries, files } = await model.checkpoint("unet");
    const entry = entries.get("conv_in.weight");
    expect(entry).toMatchObject({
      dtype: "f16",
      dims: [8, 4, 3, 3],
      storage: { file: files[0], length: 576 },
    });
  });

  it("prefers safetensors, the plain variant, and one file; then shards, then pickles", async () => {
    await write({ "unet/model.fp16.safetensors": one(1) });
    expect(await firstNumber("unet")).toBe(1);
    await write({
      "unet/diffusion_pytorch_model.safetensors.index.json": { weight_map: { w: "part-1.safetensors" } },
      "unet/part-1.safetensors": one(2),
    });
    expect(await firstNumber("unet")).toBe(2);
    await write({ "unet/diffusion_pytorch_model.safetensors": one(3) });
    expect(await firstNumber("unet")).toBe(3);
    expect(await firstNumber("unet", { variant: "fp16" })).toBe(1);
    await fs.cp(
      goldenPath("llava", "mm_projector-fp32", "mm_projector.bin"),
      join(folder, "pytorch_model.bin"),
    );
    expect((await (await openModel(folder)).checkpoint("")).entries.size).toBe(4);
  });

  it("reports a variant that was not asked for", async () => {
    await write({ "vae/diffusion_pytorch_model.fp16.safetensors": one(1) });
    const events: ProgressEvent[] = [];
    const model = await openModel(folder, { onProgress: (event) => events.push(event) });
    expect((await model.checkpoint("vae")).variant).toBe("fp16");
    expect(events).toEqual([
      { status: "notice", name: folder, message: `${folder}/vae has only fp16 weights: using those.` },
    ]);
  });

  it("may be sharded, each shard a link into the hub's cache", async () => {
    const shards = {
      "model-00001-of-00002.safetensors": encodeSafetensors({
        a: Tensor.f32([1], [1]),
        extra: Tensor.f32([1], [9]),
      }),
      "model-00002-of-00002.safetensors": encodeSafetensors({ b: Tensor.f32([1], [2]) }),
    };
    const [first, second] = Object.keys(shards);
    await write({
      "blobs/aaa": shards["model-00001-of-00002.safetensors"],
      "blobs/bbb": Object.values(shards)[1]!,
    });
    await write({ "snapshot/model.safetensors.index.json": { weight_map: { a: first, b: second } } });
    await fs.symlink("../blobs/aaa", join(folder, "snapshot", first!));
    await fs.symlink("../blobs/bbb", join(folder, "snapshot", second!));
    const checkpoint = await (await openModel(join(folder, "snapshot"))).checkpoint("");
    expect([...checkpoint.entries.keys()]).toEqual(["a", "b"]);
    const real = await fs.realpath(folder);
    expect(checkpoint.files).toEqual([join(real, "blobs/aaa"), join(real, "blobs/bbb")]);
    expect((await checkpoint.read("b")).data[0]).toBe(2);
    await expect(checkpoint.read("c")).rejects.toMatchObject({ code: "WEIGHT_MISSING" });
  });

  it.each([
    ["leads out of the folder", { weight_map: { w: "../secret.safetensors" } }, /is no file name/],
    [
      "names a tensor that its shard lacks",
      { weight_map: { w: "s.safetensors", v: "s.safetensors" } },
      /has no tensor "v"/,
    ],
    ["names a shard that is not there", { weight_map: { w: "t.safetensors" } }, /no such file/],
    ["has no map", {}, /no weight_map/],
    ["is no JSON", "{", /not JSON/],
  ])("refuses an index that %s", async (_, index, message) => {
    await write({
      "m/model.safetensors.index.json": index,
      "m/s.safetensors": one(1),
      "secret.safetensors": one(1),
    });
    await expect(firstNumber("m")).rejects.toThrow(message);
  });

  it("says which file is broken, and how", async () => {
    await write({
      "unet/diffusion_pytorch_model.safetensors": one(1).subarray(0, 60),
      "a.json": "{,}",
      "b.txt": new Uint8Array([0xff]),
    });
    const model = await openModel(folder);
    const real = await fs.realpath(folder);
    await expect(model.checkpoint("unet")).rejects.toMatchObject({
      code: "FILE_CORRUPT",
      message: expect.stringMatching(
        new RegExp(`^${real}/unet/diffusion_pytorch_model.safetensors: Not a valid`),
      ),
    });
    await expect(model.json("a.json")).rejects.toThrow(/a\.json is not JSON/);
    await expect(model.text("b.txt")).rejects.toThrow(/b\.txt is not UTF-8/);
    await expect(model.text("c.txt")).rejects.toMatchObject({ code: "FILE_MISSING" });
    await expect(model.checkpoint("vae")).rejects.toMatchObject({
      code: "WEIGHTS_MISSING",
      message: expect.stringMatching(/vae\/diffusion_pytorch_model\.safetensors or vae\/model\.safetensors/),
    });
    await expect(openModel(join(folder, "a.json"))).rejects.toMatchObject({
      code: "MODEL_MISSING",
      misuse: true,
    });
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ misuse: true });
  });
});

describe("inspect", () => {
  it("explains a pipeline", async () => {
    const found = await inspect(goldenPath("pipeline-sd21"));
    expect(found).toMatchObject({ kind: "pipeline", className: "StableDiffusionPipeline" });
    expect(found.notes).toEqual([
      "StableDiffusionPipeline: extract, attend, score and generate run with it.",
    ]);
    expect(found.components.map(({ name, className }) => `${name} ${className}`)).toEqual([
      "scheduler PNDMScheduler",
      "text_encoder CLIPTextModel",
      "tokenizer CLIPTokenizer",
      "unet UNet2DConditionModel",
      "vae AutoencoderKL",
    ]);
    const unet = found.components.find(({ name }) => name === "unet")!;
    expect(unet.config).toMatchObject({ cross_attention_dim: 32, block_out_channels: [8, 16, 24, 24] });
    expect(unet.weights).toMatchObject({
      format: "safetensors",
      tensors: 686,
      dtypes: { f16: 361068 },
      bytes: 722136,
    });
    expect(found.parameters).toBe(
      found.components.reduce((sum, { weights }) => sum + (weights?.parameters ?? 0), 0),
    );
  });

  it("explains files, and what is wrong with a component", async () => {
    const torch = await inspect(goldenPath("llava", "mm_projector-fp16-legacy", "mm_projector.bin"));
    expect(torch).toMatchObject({
      kind: "file",
      parameters: 2112,
      bytes: 4224,
      notes: ["A projector in LLaVA's names."],
    });
    expect(torch.components[0]!.weights).toMatchObject({ format: "torch legacy", dtypes: { f16: 2112 } });

    const original = encodeSafetensors(
      { "model.diffusion_model.out.0.weight": Tensor.f32([1]) },
      { hash: "abc" },
    );
    await write({ "sd.safetensors": original });
    const single = await inspect(join(folder, "sd.safetensors"));
    expect(single.notes[0]).toMatch(/original layout/);
    expect(single.components[0]!.weights!.metadata).toEqual({ hash: "abc" });

    await write({
      "model_index.json": {
        _class_name: "StableDiffusionPipeline",
        unet: ["diffusers", "UNet2DConditionModel"],
        safety_checker: [null, null],
      },
      "unet/config.json": { in_channels: 4 },
      "unet/diffusion_pytorch_model.safetensors": one(1).subarray(0, 60),
    });
    const broken = await inspect(folder);
    expect(broken.components).toMatchObject([
      { name: "unet", config: { in_channels: 4 }, problem: expect.stringMatching(/file of 60/) },
    ]);
    await expect(inspect(await fs.mkdtemp(join(folder, "empty")))).rejects.toMatchObject({
      code: "MODEL_MISSING",
    });
  });

  it("opens the package's own models by name, and names them where there is none of that name", async () => {
    const { source } = await openModel("embedded:sd");
    expect(source).toMatch(/assets[\\/]micro[\\/]sd$/);
    expect(modelPath("embedded:sd")).toBe(source);
    expect(modelPath("sd-org/sd")).toBe("sd-org/sd");
    for (const name of ["none", "../sd", ""])
      await expect(openModel(`embedded:${name}`)).rejects.toMatchObject({
        code: "MODEL_MISSING",
        message: expect.stringMatching(/there are .*embedded:sd/),
      });
    expect(() => web.embeddedModel("sd")).toThrow(/A page has no model "embedded:sd"/);
  });

  it("explains an id without downloading its weights", async () => {
    const weights = encodeSafetensors({ w: Tensor.f32([1000, 1000]) });
    const files = {
      "config.json": new TextEncoder().encode('{"_class_name":"AutoencoderKL","latent_channels":4}'),
      "diffusion_pytorch_model.safetensors": weights,
    };
    const hub = await FakeHub.start({ "org/vae": { files, commit: "abc123" } });
    vi.stubEnv("HF_ENDPOINT", hub.endpoint);
    vi.stubEnv("HF_HOME", folder);
    vi.stubEnv("HF_HUB_CACHE", undefined);
    const found = await inspect("org/vae");
    expect(found).toMatchObject({ kind: "component", className: "AutoencoderKL", parameters: 1_000_000 });
    await hub.stop();
    const held = await fs.readdir(folder, { recursive: true });
    expect(held.filter((path) => /blobs|snapshots/.test(path))).toEqual([]);
    expect(hub.log.every((line) => / \/api\/|bytes=0-65535$/.test(line))).toBe(true);
  });
});

describe("writing", () => {
  it("replaces a file whole, and makes its folder", async () => {
    const path = join(folder, "a/b/c.txt");
    await writeFileAtomic(path, "one");
    await writeFileAtomic(path, new TextEncoder().encode("two"));
    expect(await fs.readFile(path, "utf8")).toBe("two");
    expect(await fs.readdir(dirname(path))).toEqual(["c.txt"]);
  });

  it("leaves the old file and nothing else when it fails, and says why", async () => {
    await write({ "kept.txt": "old", "a folder/x": "" });
    await expect(writeFileAtomic(join(folder, "a folder"), "new")).rejects.toMatchObject({
      code: "FILE_ACCESS",
    });
    await expect(writeFileAtomic(join(folder, "kept.txt/new"), "new")).rejects.toMatchObject({
      code: expect.stringMatching(/FILE_/),
    });
    expect(await fs.readFile(join(folder, "kept.txt"), "utf8")).toBe("old");
    expect((await fs.readdir(folder)).sort()).toEqual(["a folder", "kept.txt"]);
  });

  it("names a full disk", async () => {
    const probe = await fs.open(join(folder, "probe"), "w");
    const handle = Object.getPrototypeOf(probe) as typeof probe;
    await probe.close();
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
      code: "ENOSPC",
      errno: -28,
    });
    vi.spyOn(handle, "writeFile").mockRejectedValueOnce(full);
    const path = join(folder, "features.safetensors");
    await expect(writeFileAtomic(path, "new")).rejects.toMatchObject({
      code: "DISK_FULL",
      message: `${path} could not be written: no space is left on the disk.`,
    });
    expect(await fs.readdir(folder)).toEqual(["probe"]);
  });
});

describe("in a browser", () => {
  let server: Server;
  let base: string;
  let ranges = true;
  const asked: string[] = [];

  beforeAll(async () => {
    server = createServer(async (request, response) => {
      asked.push(request.headers.range ?? "whole");
      const path = join(folder, decodeURIComponent(request.url!));
      const bytes = await fs.readFile(path).catch(() => undefined);
      if (!bytes) return response.writeHead(200, { "Content-Type": "text/html" }).end("<html>"); // as Vite answers
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
      if (!ranges || from === undefined) return response.end(bytes);
      const part = bytes.subarray(Number(from), Number(to) + 1);
      const range = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`;
      return response.writeHead(206, { "Content-Range": range }).end(part);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    vi.stubGlobal("document", { baseURI: `${base}/page/` });
  });

  afterAll(() => {
    vi.unstubAllGlobals();
    server.close();
  });

  it.each([true, false])(
    "a folder on a web server is read, by ranges where it knows them (%s)",
    async (knows) => {
      ranges = knows;
      await write({
        "sd/unet/config.json": { a: 1 },
        "sd/unet/diffusion_pytorch_model.safetensors": encodeSafetensors({
          w: Tensor.f32([50_000], new Float32Array(50_000).fill(2)),
        }),
      });
      const { ModelFolder } = await import("../src/weights/index.js");
      const source = await web.openSource("../sd", {});
      if (source.kind !== "folder") throw new Error("no folder");
      const model = new ModelFolder(source.tree);
      expect(await model.json("unet/config.json")).toEqual({ a: 1 });
      expect(await model.has("model_index.json")).toBe(false);
      asked.length = 0;
      const checkpoint = await model.checkpoint("unet");
      expect(asked).toEqual(["bytes=0-65535"]);
      expect(checkpoint.files).toEqual([`${base}/sd/unet/diffusion_pytorch_model.safetensors`]);
      expect((await checkpoint.read("w")).data[49_999]).toBe(2);
      expect(asked.length).toBe(knows ? 2 : 1);
      await expect(model.text("none.txt")).rejects.toMatchObject({ code: "FILE_MISSING" });
    },
  );

  it("a single file, and a missing one", async () => {
    await write({ "w.safetensors": one(4) });
    expect((await web.openSource("/w.safetensors", {})).kind).toBe("file");
    await expect(web.openSource("/v.safetensors", {})).rejects.toMatchObject({ code: "FILE_MISSING" });
    await expect(web.writeFileAtomic("x", "y")).rejects.toMatchObject({ code: "NO_FILES" });
  });

  it("an id is fetched from the hub by its commit", async () => {
    await write({ "org/sd/resolve/abc/unet/model.safetensors": one(5) });
    const real = fetch;
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
      if (url.includes("/api/"))
        return Promise.resolve(
          Response.json({ sha: "abc", siblings: [{ rfilename: "unet/model.safetensors" }] }),
        );
      return real(url.replace("https://huggingface.co", base), init);
    });
    const source = await web.openSource("org/sd", {});
    if (source.kind !== "folder") throw new Error("no folder");
    expect(await source.tree.list()).toEqual(["unet/model.safetensors"]);
    expect(await source.tree.has("vae/model.safetensors")).toBe(false);
    expect((await source.tree.open("unet/model.safetensors")).location).toBe(
      "https://huggingface.co/org/sd/resolve/abc/unet/model.safetensors",
    );
  });
});
