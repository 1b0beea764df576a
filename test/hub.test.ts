/** @file Models by id: the cache that Python shares, downloads that break off, and what the user is told. */

import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encodeSafetensors, Tensor } from "../src/tensor/index.js";
import { hubCacheFolder, openModel, type ProgressEvent } from "../src/weights/index.js";
import { FakeHub } from "./fake-hub.js";

vi.mock("node:fs/promises", { spy: true });

const text = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const unet = encodeSafetensors({
  "conv_in.weight": Tensor.f32([1000, 1000], new Float32Array(1_000_000).fill(0.5)),
});
const small = encodeSafetensors({ weight: Tensor.f32([2], [1, 2]) });
const commit = "0123456789abcdef0123456789abcdef01234567";
const files = {
  "model_index.json": text({ _class_name: "StableDiffusionPipeline" }),
  "unet/config.json": text({ _class_name: "UNet2DConditionModel" }),
  "unet/diffusion_pytorch_model.safetensors": unet,
  "vae/diffusion_pytorch_model.fp16.safetensors": small,
  "text_encoder/model.safetensors": small,
  "empty.txt": new Uint8Array(0),
};
const unetPath = "unet/diffusion_pytorch_model.safetensors";

let hub: FakeHub;
let home: string;
let root: string;

beforeEach(async () => {
  hub = await FakeHub.start({
    "org/sd": { files, commit },
    "org/gated": { files, commit, gated: true },
    "old/name": { files, commit, movedTo: "org/sd" },
  });
  home = await fs.mkdtemp(join(tmpdir(), "hub-"));
  root = join(home, "hub", "models--org--sd");
  for (const name of ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"])
    vi.stubEnv(name, undefined);
  vi.stubEnv("HF_HOME", home);
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await hub.stop();
  await fs.rm(home, { recursive: true, force: true });
});

describe("the cache", () => {
  const settings = ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"] as const;
  const user = homedir();
  const here = process.cwd();

  // As huggingface_hub 1.x resolves them: what is set but empty counts.
  it.each<[Partial<Record<(typeof settings)[number], string>>, string]>([
    [{}, join(user, ".cache/huggingface/hub")],
    [{ XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
    [{ XDG_CACHE_HOME: "" }, join(here, "huggingface/hub")],
    [{ HF_HOME: "~/models", XDG_CACHE_HOME: "/x" }, join(user, "models/hub")],
    [{ HF_HOME: "" }, join(here, "hub")],
    [{ HF_HUB_CACHE: "/hub", HUGGINGFACE_HUB_CACHE: "/old", HF_HOME: "/home" }, "/hub"],
    [{ HF_HUB_CACHE: "", HF_HOME: "/home" }, here],
    [{ HUGGINGFACE_HUB_CACHE: "/old", HF_HOME: "/home" }, "/old"],
    [
      // biome-ignore lint/suspicious/noTemplateCurlyInString: as a shell writes it
      { HF_HUB_CACHE: "$XDG_CACHE_HOME/${HF_HOME}/$UNSET", XDG_CACHE_HOME: "/x", HF_HOME: "h" },
      "/x/h/$UNSET",
    ],
  ])("lies where Python looks: %j", (env, folder) => {
    for (const name of settings) vi.stubEnv(name, env[name]);
    expect(hubCacheFolder()).toBe(folder);
    expect(hubCacheFolder("~/named")).toBe(join(user, "named"));
  });
});

describe("a model by its id", () => {
  it("is downloaded file by file, as it is asked for, into Python's layout", async () => {
    const events: ProgressEvent[] = [];
    const model = await openModel("org/sd", { onProgress: (event) => events.push(event) });
    expect(await model.json("unet/config.json")).toEqual({ _class_name: "UNet2DConditionModel" });
    const checkpoint = await model.checkpoint("unet");
    expect((await checkpoint.read("conv_in.weight")).data[999_999]).toBe(0.5);

    expect(await fs.readFile(join(root, "refs/main"), "utf8")).toBe(commit);
    expect(await fs.readlink(join(root, "snapshots", commit, unetPath))).toBe(
      `../../../blobs/${sha256(unet)}`,
    );
    expect(checkpoint.files).toEqual([await fs.realpath(join(root, "blobs", sha256(unet)))]);
    expect((await fs.readdir(join(root, "blobs"))).length).toBe(2);
    expect(hub.count(/text_encoder|vae/)).toBe(0);

    const ofUnet = events.filter((event) => "file" in event && event.file === unetPath);
    expect(ofUnet.map(({ status }) => status).filter((status, i, all) => status !== all[i - 1])).toEqual([
      "initiate",
      "download",
      "progress",
      "done",
    ]);
    expect(ofUnet.at(-2)).toMatchObject({ progress: 100, loaded: unet.length, total: unet.length });
  });

  it("is not downloaded again, nor when two want it at once", async () => {
    const [a, b] = [await openModel("org/sd"), await openModel("org/sd")];
    await Promise.all([a.checkpoint("unet"), a.checkpoint("unet"), b.checkpoint("unet")]);
    expect((await (await openModel("org/sd")).checkpoint("unet")).entries.size).toBe(1);
    expect(hub.count(/^GET cdn/)).toBeLessThanOrEqual(2);
    expect(await fs.readdir(join(root, "blobs"))).toEqual([sha256(unet)]);
  });

  it("is found offline when it is there; what is missing is named", async () => {
    await (await openModel("org/sd")).checkpoint("unet");
    const asked = hub.log.length;
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    const model = await openModel("org/sd");
    expect((await model.checkpoint("unet")).entries.size).toBe(1);
    await expect(model.text("unet/config.json")).rejects.toMatchObject({
      code: "OFFLINE",
      message: expect.stringMatching(/org\/sd .*unet\/config\.json .*HF_HUB_OFFLINE/),
    });
    await expect(model.checkpoint("vae")).rejects.toMatchObject({ code: "WEIGHTS_MISSING" });
    await expect(openModel("org/other")).rejects.toMatchObject({ code: "OFFLINE" });
    await expect(openModel("org/sd", { revision: "v2" })).rejects.toMatchObject({ code: "OFFLINE" });
    expect((await openModel("org/sd", { revision: commit })).source).toBe("org/sd");
    expect(hub.log.length).toBe(asked);
  });

  it("is used from the cache, with a notice, when the hub does not answer", async () => {
    await (await openModel("org/sd")).checkpoint("unet");
    hub.intercept = (_, __, response) => !!response.writeHead(503).end();
    const events: ProgressEvent[] = [];
    const model = await openModel("org/sd", { onProgress: (event) => events.push(event) });
    expect((await model.checkpoint("unet")).entries.size).toBe(1);
    expect(events).toMatchObject([{ status: "notice", message: expect.stringMatching(/answered 503/) }]);
  });

  it("may have moved to another name", async () => {
    const model = await openModel("old/name");
    expect((await model.checkpoint("unet")).entries.size).toBe(1);
    expect((await fs.readdir(join(home, "hub"))).sort()).toEqual(["models--old--name"]);
  });

  it("takes the plain weights first, fp16 when there are no others, and says so", async () => {
    const events: ProgressEvent[] = [];
    const model = await openModel("org/sd", { onProgress: (event) => events.push(event) });
    expect((await model.checkpoint("text_encoder")).variant).toBeUndefined();
    expect((await model.checkpoint("vae")).variant).toBe("fp16");
    expect((await model.checkpoint("text_encoder", { variant: "fp16" })).variant).toBeUndefined();
    expect(events.flatMap((event) => (event.status === "notice" ? [event.message] : []))).toEqual([
      "org/sd/vae has only fp16 weights: using those.",
      "org/sd/text_encoder has no fp16 variant: using the plain weights.",
    ]);
  });

  it("can hold empty files", async () => {
    expect(await (await openModel("org/sd")).text("empty.txt")).toBe("");
  });

  it("is copied where there are no symlinks", async () => {
    vi.mocked(fs.symlink).mockRejectedValueOnce(Object.assign(new Error("no"), { code: "EPERM", errno: -1 }));
    const model = await openModel("org/sd");
    expect((await model.checkpoint("text_encoder")).entries.size).toBe(1);
    expect((await fs.lstat(join(root, "snapshots", commit, "text_encoder/model.safetensors"))).isFile()).toBe(
      true,
    );
    expect(
      (await (await openModel("org/sd", { localFilesOnly: true })).checkpoint("text_encoder")).entries.size,
    ).toBe(1);
  });
});

describe("a download", () => {
  it("goes on where the connection broke off", async () => {
    hub.breakAfter = [1_000_000, 2_000_000];
    const checkpoint = await (await openModel("org/sd")).checkpoint("unet");
    expect((await checkpoint.read("conv_in.weight")).data[999_999]).toBe(0.5);
    const ranges = hub.log
      .filter((line) => line.startsWith("GET cdn"))
      .map((line) => Number(/bytes=(\d+)-/.exec(line)![1]));
    expect(ranges[0]).toBe(0);
    expect(ranges.length).toBe(3);
    expect(ranges[1]).toBeGreaterThan(0);
    expect(ranges[2]).toBeGreaterThan(ranges[1]!);
  });

  it("goes on after it was cancelled", async () => {
    const cancel = new AbortController();
    const onProgress = (event: ProgressEvent): void => {
      if (event.status === "progress" && event.file === unetPath) cancel.abort();
    };
    hub.breakAfter = [500_000];
    const model = await openModel("org/sd", { signal: cancel.signal, onProgress });
    await expect(model.checkpoint("unet")).rejects.toMatchObject({ code: "ABORTED" });
    const left = await fs.readdir(join(root, "blobs"));
    expect(left).toEqual([expect.stringMatching(/\.incomplete$/)]);
    await expect(openModel("org/sd", { signal: cancel.signal })).rejects.toMatchObject({ code: "ABORTED" });

    await (await openModel("org/sd")).checkpoint("unet");
    expect(Number(/bytes=(\d+)-/.exec(hub.log.at(-1)!)![1])).toBeGreaterThan(0);
    expect(await fs.readdir(join(root, "blobs"))).toEqual([sha256(unet)]);
  });

  it("takes over what a dead process left, and fetches it anew when it is not what it should be", async () => {
    await fs.mkdir(join(root, "blobs"), { recursive: true });
    const left = join(root, "blobs", `${sha256(unet)}.diffsight-dead0000.incomplete`);
    await fs.writeFile(left, new Uint8Array(1000).fill(7));
    await fs.utimes(left, new Date(0), new Date(0));
    const checkpoint = await (await openModel("org/sd")).checkpoint("unet");
    expect((await checkpoint.read("conv_in.weight")).data[0]).toBe(0.5);
    expect(hub.log.filter((line) => line.startsWith("GET cdn"))).toEqual([
      expect.stringMatching(/bytes=1000-$/),
      expect.stringMatching(/bytes=0-$/),
    ]);
    expect(await fs.readdir(join(root, "blobs"))).toEqual([sha256(unet)]);
  });

  it("waits while another process is at it", async () => {
    await fs.mkdir(join(root, "blobs"), { recursive: true });
    const other = join(root, "blobs", `${sha256(small)}.diffsight-other000.incomplete`);
    await fs.writeFile(other, small.subarray(0, 10));
    const opening = (await openModel("org/sd")).checkpoint("text_encoder");
    setTimeout(async () => {
      await fs.writeFile(other, small);
      await fs.rename(other, join(root, "blobs", sha256(small)));
    }, 500);
    expect((await opening).entries.size).toBe(1);
    expect(hub.count(/^GET cdn/)).toBe(0);
  });

  it("is repeated when the server is busy", async () => {
    let busy = 2;
    hub.intercept = (host, _, response) => host === "cdn" && busy-- > 0 && !!response.writeHead(503).end();
    await (await openModel("org/sd")).checkpoint("unet");
    expect(hub.count(/^GET cdn/)).toBe(3);
  });

  it("is refused when it comes with other bytes than promised, and nothing is left", async () => {
    hub.intercept = (host, request, response) => {
      if (host === "hub") return false;
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
      const wrong = unet.slice(from).fill(1);
      response
        .writeHead(206, { "Content-Range": `bytes ${from}-${unet.length - 1}/${unet.length}` })
        .end(wrong);
      return true;
    };
    const model = await openModel("org/sd");
    await expect(model.checkpoint("unet")).rejects.toMatchObject({ code: "DOWNLOAD_CORRUPT" });
    expect(await fs.readdir(join(root, "blobs"))).toEqual([]);
    expect(hub.count(/^GET cdn/)).toBe(2);
  });

  it("does not wait for a server that falls silent", async () => {
    vi.stubEnv("HF_HUB_DOWNLOAD_TIMEOUT", "0.2");
    let silent = true;
    hub.intercept = (host, _, response) => {
      if (host === "hub" || !silent) return false;
      silent = false;
      response.writeHead(206, { "Content-Range": `bytes 0-${unet.length - 1}/${unet.length}` });
      response.write(unet.subarray(0, 1000));
      return true;
    };
    expect((await (await openModel("org/sd")).checkpoint("unet")).entries.size).toBe(1);
    expect(hub.count(/^GET cdn .* bytes=1000-$/)).toBe(1);
  });

  it("is not begun when the disk is too small", async () => {
    hub.announcedSize = 1e15;
    const model = await openModel("org/sd");
    await expect(model.checkpoint("unet")).rejects.toMatchObject({ code: "DISK_FULL" });
    expect(hub.count(/^GET cdn/)).toBe(0);
  });

  it("sends the token to the hub alone", async () => {
    vi.stubEnv("HF_TOKEN", "good");
    await (await openModel("org/gated")).checkpoint("unet");
    expect([...hub.tokens.hub]).toEqual(["Bearer good"]);
    expect([...hub.tokens.cdn]).toEqual([]);
  });

  it("finds the token that a login saved", async () => {
    await fs.writeFile(join(home, "token"), "good\n");
    expect((await (await openModel("org/gated")).checkpoint("unet")).entries.size).toBe(1);
  });
});

describe("what cannot be had is explained", () => {
  it("a gated model", async () => {
    const model = await openModel("org/gated");
    await expect(model.checkpoint("unet")).rejects.toMatchObject({
      code: "HUB_ACCESS",
      message: expect.stringMatching(/org\/gated is gated.*HF_TOKEN/),
    });
    const other = await openModel("org/gated", { token: "bad" });
    await expect(other.checkpoint("unet")).rejects.toThrow(/token in use may not/);
  });

  it("a model, a revision, a file that does not exist", async () => {
    await expect(openModel("org/none")).rejects.toMatchObject({
      code: "HUB_ACCESS",
      message: expect.stringMatching(/org\/none/),
    });
    await expect(openModel("org/sd", { revision: "v9" })).rejects.toMatchObject({
      code: "HUB_MISSING",
      message: expect.stringMatching(/org\/sd has no revision "v9"/),
    });
    const model = await openModel("org/sd");
    await expect(model.text("unet/none.json")).rejects.toMatchObject({
      code: "FILE_MISSING",
      message: "org/sd (revision main) has no file unet/none.json.",
    });
    await expect(model.checkpoint("unet2")).rejects.toMatchObject({ code: "WEIGHTS_MISSING" });
  });

  it("an id that is none, a revision that leads out of the cache", async () => {
    await expect(openModel("./not/here")).rejects.toMatchObject({ code: "MODEL_MISSING" });
    await expect(openModel("a/b/c")).rejects.toMatchObject({ code: "MODEL_MISSING" });
    await expect(openModel("org/sd", { revision: "../../x" })).rejects.toMatchObject({ code: "HUB_MISSING" });
    expect(hub.log).toEqual([]);
  });

  it("a hub that cannot be reached", async () => {
    await hub.stop();
    await expect(openModel("org/sd")).rejects.toMatchObject({
      code: "NETWORK",
      message: expect.stringMatching(/127\.0\.0\.1:\d+ could not be reached \(ECONNREFUSED\)/),
    });
  });

  it("a server that is no hub, or a hostile one", async () => {
    hub.intercept = (_, __, response) => !!response.end("<html>");
    await expect(openModel("org/sd")).rejects.toMatchObject({ code: "NETWORK" });
    const sibling = { rfilename: "../../../../escaped.json" };
    hub.intercept = (_, __, response) => !!response.end(JSON.stringify({ sha: "abc", siblings: [sibling] }));
    const model = await openModel("org/sd");
    await expect(model.text(sibling.rfilename)).rejects.toMatchObject({ code: "FILE_MISSING" });
    hub.intercept = (_, __, response) => !!response.end(JSON.stringify({ sha: "../../..", siblings: [] }));
    await expect(openModel("org/sd")).rejects.toMatchObject({ code: "NETWORK" });
  });
});
