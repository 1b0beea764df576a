/** @file The commands as a user runs them: help, results, files, misuse, failures, Ctrl-C. */

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { decodeImage } from "../src/image/index.js";
import { decodeNpy, decodeSafetensors, encodeNpy, Tensor } from "../src/tensor/index.js";
import { type Finished, root, run, start, temporaryFolder } from "./cli.js";
import { goldenPath } from "./golden.js";

const folder = temporaryFolder();
const inFolder = (...parts: string[]) => path.join(folder, ...parts);
const scene = (name: string) => path.join(root, "assets/scenes", `${name}.png`);
const defaultKey = "up-level1-repeat1-vit-block0-cross-q/t50/guided";

/** In the temporary folder, without notes. */
const quietly = (...args: string[]) => run([...args, "-q"], { cwd: folder });

/** One plain sentence on stderr, the right status, nothing on stdout. */
function expectComplaint({ status, stdout, stderr }: Finished, code: 1 | 2, text: RegExp) {
  expect(stderr).toMatch(text);
  expect(stderr).toMatch(/^diffsight: /);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(stdout).toBe("");
  expect(status).toBe(code);
}

function tensorsOf(file: string) {
  return decodeSafetensors(readFileSync(inFolder(file)));
}

function makeFolder(name: string, images: Record<string, string | Uint8Array>): string {
  for (const [file, source] of Object.entries(images)) {
    const place = inFolder(name, file);
    mkdirSync(path.dirname(place), { recursive: true });
    if (typeof source === "string") copyFileSync(scene(source), place);
    else writeFileSync(place, source);
  }
  return name;
}

const verbs = [
  "demo",
  "extract",
  "attend",
  "score",
  "generate",
  "diorama",
  "picture",
  "taps",
  "inspect",
  "models",
  "doctor",
];

describe("help", () => {
  it.each(verbs)("%s explains itself with two examples", async (verb) => {
    const { status, stdout, stderr } = await run([verb, "--help"]);
    expect(status).toBe(0);
    expect(stderr).toBe("");
    expect(stdout).toMatch(new RegExp(`^Usage: diffsight ${verb} `));
    const examples = stdout.slice(stdout.indexOf("Examples:"));
    expect(examples.match(new RegExp(`^ {2}\\$ diffsight ${verb}\\b`, "gm"))).toHaveLength(2);
    expect(stdout.split("\n").filter((line) => line.length > 120)).toEqual([]);
  });

  it("lists the verbs, however it is asked", async () => {
    const [bare, flag, word, version] = await Promise.all([
      run([]),
      run(["--help"]),
      run(["help"]),
      run(["-V"]),
    ]);
    for (const verb of verbs) expect(flag.stdout).toContain(`\n  ${verb} `);
    expect(bare).toMatchObject({ status: 0, stdout: flag.stdout });
    expect(word).toMatchObject({ status: 0, stdout: flag.stdout });
    const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
    expect(version).toMatchObject({ status: 0, stdout: `${manifest.version}\n` });
  });
});

describe("misuse exits 2 and says what is allowed", () => {
  const box = scene("box");
  it.each<[string, string[], RegExp]>([
    ["an unknown verb", ["extrakt"], /unknown command 'extrakt'\n\(Did you mean extract\?\)/],
    [
      "an unknown flag",
      ["extract", box, "-o", "x", "--prompd", "x"],
      /unknown option '--prompd'\n\(Did you mean --prompt\?\)/,
    ],
    ["a missing flag", ["score", box], /required option '-t, --text <text>'/],
    ["a missing argument", ["generate", "-o", "x.png"], /missing required argument 'prompt'/],
    ["no number", ["extract", box, "-o", "x", "--seed", "one"], /'one' is invalid. A whole number/],
    ["no size", ["extract", box, "-o", "x", "--size", "big"], /"512", or width x height/],
    ["an unknown choice", ["extract", box, "-o", "x", "--fit", "stretch"], /squash, crop, pad, native/],
    [
      "an unknown part",
      ["extract", box, "-o", "x", "--part", "middle"],
      /guided, conditional, unconditional, delta/,
    ],
    ["an unknown tap", ["extract", box, "-o", "x", "--tap", "U-L1-R7-B0-Cross-Q"], /Near: up-level1-repeat/],
    ["a timestep outside", ["extract", box, "-o", "x", "--timestep", "50,1000"], /1000 .* 0 to 999/],
    ["a size between", ["attend", box, "-p", "a box", "-o", "x", "--size", "66"], /66 px .* nearest is 68/],
    ["delta without a prompt", ["extract", box, "-o", "x", "--part", "delta"], /part delta needs a prompt/],
    ["half precision", ["score", box, "-t", "x", "--dtype", "f16"], /computing is in f32.*Use auto or f32/],
    ["a word that is not there", ["attend", box, "-p", "a box", "-w", "dog", "-o", "x"], /Its words: a, box/],
    ["many images for one file", ["extract", box, scene("chair"), "-o", "x.npy"], /2 images: give a folder/],
    [
      "a format against its ending",
      ["extract", box, "-o", "x.npy", "--format", "safetensors"],
      /ends in .npy/,
    ],
    ["another kind of picture", ["generate", "a box", "-o", "x.jpg"], /is a PNG/],
    [
      "too many tensors for npy",
      ["extract", box, "-o", "x.npy", "--timestep", "50,60"],
      /one tensor, and there are 2/,
    ],
    ["a filter that fits nothing", ["taps", "nothing-like-it"], /None of the 249 taps/],
  ])("%s", async (_, args, text) => {
    expectComplaint(await quietly(...args), 2, text);
    expect(readdirSync(folder).filter((name) => name.startsWith("x"))).toEqual([]);
  });
});

describe("failures exit 1 with a sentence", () => {
  it.each<[string, string[], RegExp]>([
    ["a missing image", ["extract", "nothing.png", "-o", "y"], /"nothing.png": there is no such file/],
    ["a pattern without matches", ["extract", "*.webp", "-o", "y"], /No file matches \*\.webp/],
    ["a missing model", ["taps", "-m", "no/such/folder"], /no file or folder no\/such\/folder/],
    ["a folder that is no model", ["taps", "-m", root], /no model_index\.json/],
    ["features that are none", ["picture", scene("box"), "-o", "y.png"], /safetensors/i],
    [
      "a place that cannot be written",
      ["extract", scene("box"), "-o", "/dev/null/y.npy"],
      /could not be written/,
    ],
  ])("%s", async (_, args, text) => {
    expectComplaint(await quietly(...args), 1, text);
    expect(readdirSync(folder).filter((name) => name.startsWith("y"))).toEqual([]);
  });

  it("a damaged JPEG", async () => {
    const file = inFolder("damaged.jpg");
    writeFileSync(
      file,
      Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 16, 74, 70, 73, 70, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0),
    );
    expectComplaint(await quietly("score", file, "-t", "x"), 1, /Cannot read the image ".*damaged\.jpg"/);
  });

  it.runIf(existsSync("/dev/full"))("a full disk behind stdout", async () => {
    const { done } = start(["taps", "-q"], { stdout: "/dev/full" });
    expect(await done).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^diffsight: .*no space left/),
    });
  });
});

describe("extract", () => {
  it("writes features with their request, and reads stdin and writes stdout alike", async () => {
    // What diffusers gives.
    const selfTest = JSON.parse(readFileSync(path.join(root, "assets/micro/self-test.json"), "utf8"));
    const picture = path.join(root, "assets/scenes", selfTest.image);
    const flags = ["--prompt", selfTest.prompt, "--memory", "mmap"];
    const file = await run(["extract", picture, ...flags, "-o", "one.safetensors"], { cwd: folder });
    expect(file.status, file.stderr).toBe(0);
    expect(file.stdout).toBe(`one.safetensors\n  ${defaultKey}  [64, 8, 8]\n`);
    const { tensors, metadata } = tensorsOf("one.safetensors");
    const found = tensors.get(defaultKey)!.toFloat32();
    selfTest.start.forEach((value: number, i: number) => {
      expect(found[i]).toBeCloseTo(value, 4);
    });
    expect(JSON.parse(metadata.diffsight!)).toMatchObject({
      version: expect.stringMatching(/^\d/),
      prompt: selfTest.prompt,
      taps: ["up-level1-repeat1-vit-block0-cross-q"],
      timesteps: [50],
      guidance: 4,
      seed: 0,
      size: [64, 64],
    });
    const input = readFileSync(picture);
    const piped = await run(["extract", "-", ...flags, "-o", "-", "-q"], { cwd: folder, input });
    expect(piped.bytes.equals(readFileSync(inFolder("one.safetensors")))).toBe(true);
  });

  it("takes folders, goes on after a broken image, and resumes", async () => {
    makeFolder("pictures", {
      "box.png": "box",
      "sub/chair.png": "chair",
      "broken.png": Uint8Array.of(1, 2, 3),
    });
    writeFileSync(inFolder("pictures", "notes.txt"), "no image");
    const args = ["extract", "pictures", "-o", "features", "--prompt", "a box"];
    const first = await quietly(...args);
    expect(first.status).toBe(1);
    expect(first.stderr).toMatch(/^diffsight: Cannot read the image "pictures\/broken\.png".*\n$/);
    const chair = path.join("features", "sub", "chair.safetensors");
    expect(first.stdout.trim().split("\n")).toEqual([path.join("features", "box.safetensors"), chair]);
    const manifest = () => JSON.parse(readFileSync(inFolder("features", "manifest.json"), "utf8"));
    expect(manifest().images).toMatchObject([
      { image: path.join("pictures", "box.png"), file: "box.safetensors", request: { prompt: "a box" } },
      { file: "sub/chair.safetensors", tensors: { [defaultKey]: { dtype: "f32", shape: [64, 8, 8] } } },
    ]);
    expect(manifest().failed).toMatchObject([{ image: path.join("pictures", "broken.png") }]);

    rmSync(inFolder("pictures", "broken.png"));
    rmSync(inFolder(chair));
    const second = await run([...args, "--resume"], { cwd: folder });
    expect(second).toMatchObject({ status: 0, stdout: `${chair}\n` });
    expect(second.stderr).toContain("1 of 2 images done, 1 already there.");
    expect(manifest()).toMatchObject({ images: [{ file: "box.safetensors" }, {}], failed: [] });
    const other = await run([...args.slice(0, -1), "a chair", "--resume"], { cwd: folder });
    expect(other.stderr).toContain("2 of 2 images done.");
  });

  it("writes npy, takes patterns, a prompt an image, and names images of one name apart", async () => {
    makeFolder("same", { "a/box.png": "box", "b/box.png": "chair" });
    writeFileSync(inFolder("prompts.txt"), "a box\na chair\n");
    const flags = ["--prompts", "prompts.txt", "--format", "npy", "--pool", "4", "--json", "-o", "npy"];
    const { status, stdout, stderr } = await quietly(
      "extract",
      "same/a/*.png",
      "same/b/{box,none}.png",
      ...flags,
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const { images } = JSON.parse(stdout);
    expect(images.map((entry: { request: { prompt: string } }) => entry.request.prompt)).toEqual([
      "a box",
      "a chair",
    ]);
    const files = images.map((entry: { file: string }) => entry.file);
    expect(files).toEqual(["box.png.npy", "box.png-2.npy"]);
    for (const file of files) expect(decodeNpy(readFileSync(inFolder("npy", file))).dims).toEqual([64, 4, 4]);
  });

  it("cuts a prompt of 10,000 characters with a warning", async () => {
    const prompt = "a box ".repeat(1667);
    const { status, stderr } = await quietly("extract", scene("box"), "--prompt", prompt, "-o", "long.npy");
    expect(status).toBe(0);
    expect(stderr).toMatch(/^diffsight: warning: the text has 3336 tokens, and the model reads 32 .*\n$/);
  });
});

describe("attend", () => {
  it("writes maps, pictures and an index", async () => {
    const flags = [
      "--prompt",
      "a teddy on a table",
      "--word",
      "teddy",
      "--word",
      "on a table",
      "--tokens",
      "--layers-out",
    ];
    const { status, stdout, stderr } = await quietly(
      "attend",
      scene("teddy-table"),
      ...flags,
      "-o",
      "maps",
      "--json",
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const index = JSON.parse(readFileSync(inFolder("maps", "index.json"), "utf8"));
    expect(JSON.parse(stdout)).toEqual(index);
    expect(index.words).toEqual([
      { word: "teddy", index: 1, tokens: [2], tensor: "words/1-teddy", picture: "1-teddy.png" },
      {
        word: "on a table",
        index: 2,
        tokens: [3, 4, 5],
        tensor: "words/2-on a table",
        picture: "2-on_a_table.png",
      },
    ]);
    const { tensors } = tensorsOf("maps/maps.safetensors");
    const names = [...index.words, ...index.tokens].map(({ tensor }: { tensor: string }) => tensor);
    for (const name of names) expect(tensors.get(name)?.dims, name).toEqual([16, 16]);
    expect(tensors.get("layers/up-level1-repeat1-vit-block0-cross/t50")?.dims).toEqual([32, 8, 8]);
    expect(tensors.size).toBe(5 + 16);
    const pictures = readdirSync(inFolder("maps")).filter((name) => name.endsWith(".png"));
    expect(pictures.sort()).toEqual([
      ...["1-teddy.png", "2-on_a_table.png", "sheet.png"],
      ...["token-end.png", "token-padding.png", "token-start.png"],
    ]);
    for (const name of pictures)
      expect((await decodeImage(inFolder("maps", name))).width).toBeGreaterThan(100);
  });
});

describe("score", () => {
  it("prints a table for people, and the same numbers as JSON", async () => {
    const args = [
      "score",
      scene("box"),
      scene("chair"),
      "-t",
      "a box",
      "-t",
      "a chair, please",
      "--timestep",
      "500",
    ];
    const [table, json] = await Promise.all([quietly(...args), quietly(...args, "--json")]);
    expect(table.status, table.stderr).toBe(0);
    const results = JSON.parse(json.stdout);
    expect(results.map(({ image }: { image: string }) => image)).toEqual([scene("box"), scene("chair")]);
    for (const { image, scores } of results) {
      expect(Object.keys(scores[0])).toEqual(["text", "score"]);
      expect(scores.map(({ text }: { text: string }) => text)).toEqual(["a box", "a chair, please"]);
      const lines = scores.map(
        ({ text, score }: { text: string; score: number }) => `${score.toFixed(4)}  ${text}`,
      );
      const block = table.stdout.slice(table.stdout.indexOf(image));
      for (const line of lines) expect(block).toContain(line);
    }
    expect(table.stdout.match(/^\* /gm)).toHaveLength(2);
  });
});

describe("generate and picture", () => {
  it("draw PNGs", async () => {
    const made = await quietly(
      "generate",
      "a box",
      "--steps",
      "2",
      "--scheduler",
      "euler",
      "--size",
      "64x32",
      "-o",
      "g.png",
    );
    expect(made).toMatchObject({ status: 0, stdout: "g.png\n", stderr: "" });
    expect(await decodeImage(inFolder("g.png"))).toMatchObject({ width: 64, height: 32 });

    writeFileSync(
      inFolder("f.npy"),
      encodeNpy(
        Tensor.f32(
          [8, 4, 6],
          Float32Array.from({ length: 192 }, (_, i) => Math.sin(i * i)),
        ),
      ),
    );
    const flags = ["--kind", "pca,similarity", "--point", "0.2,0.9", "--image", "g.png", "--side", "64"];
    const drawn = await quietly("picture", "f.npy", ...flags, "-o", "p.png");
    expect(drawn).toMatchObject({ status: 0, stdout: "p.png\n", stderr: "" });
    expect((await decodeImage(inFolder("p.png"))).width).toBeGreaterThan(192);
  });
});

describe("taps, inspect, models and doctor", () => {
  it("tell what is here", async () => {
    const [taps, found, pipeline, models, doctor] = await Promise.all([
      quietly("taps", "--json"),
      quietly("taps", "u-l1-r1", "--classic"),
      quietly("inspect", path.join(root, "assets/micro/sd"), "--tensors", "--json"),
      run(["models", "--json", "--cache-dir", inFolder("no-cache")]),
      run(["doctor", "--json"], { env: { HF_HOME: inFolder("hub") } }),
    ]);
    const all = JSON.parse(taps.stdout);
    expect(all).toHaveLength(249);
    expect(all.find(({ short }: { short: string }) => short === "D-L0-R0-Res-Out")).toEqual({
      ...{ id: "down-level0-repeat0-res-out", short: "D-L0-R0-Res-Out", kind: "grid" },
      ...{ dims: [48, 16, 16], bytes: 49152, cost: expect.any(Number), classic: true, textFree: true },
    });
    expect(found.stdout).toMatch(
      /^up-level1-repeat1-vit-block0-cross-q +U-L1-R1-B0-Cross-Q +\[64, 8, 8\] +16\.4 kB +\d+\.\d% +classic$/m,
    );
    expect(JSON.parse(pipeline.stdout)).toMatchObject({
      kind: "pipeline",
      className: "StableDiffusionPipeline",
      tensorsOf: { unet: { "conv_in.weight": { dtype: "f16", shape: [48, 4, 3, 3] } } },
    });
    expect(JSON.parse(models.stdout)).toMatchObject({
      embedded: expect.arrayContaining([
        expect.objectContaining({ name: "embedded:sd", className: "StableDiffusionPipeline" }),
        expect.objectContaining({ name: "embedded:vlm", className: "VisionLanguageModel" }),
      ]),
      cached: [],
    });
    const { ok, findings } = JSON.parse(doctor.stdout);
    expect(findings.filter(({ state }: { state: string }) => state === "broken")).toEqual([]);
    expect(findings.map(({ name }: { name: string }) => name)).toContain("self-test");
    expect(ok).toBe(true);
    expect(doctor.status).toBe(0);
  });

  it("explain to people", async () => {
    await quietly("extract", scene("box"), "--prompt", "a box", "-o", "kept.safetensors");
    const [file, pipeline, models] = await Promise.all([
      quietly("inspect", "kept.safetensors"),
      quietly("inspect", path.join(root, "assets/micro/sd")),
      quietly("models", "--cache-dir", inFolder("no-cache")),
    ]);
    expect(file.stdout).toMatch(/prompt +a box\n[\s\S]*Features, written by diffsight/);
    expect(pipeline.stdout).toMatch(
      /^unet: UNet2DConditionModel\n +weights +3\.21 M numbers in \d+ tensors, 6\.4 MB, f16$/m,
    );
    expect(pipeline.stdout).toContain("extract, attend, score and generate run with it");
    expect(models.stdout).toMatch(
      /Embedded[\s\S]*nothing that diffsight runs[\s\S]*stable-diffusion-2-1-base/,
    );
  });
});

describe("a model of the hub's cache", () => {
  it("is listed, and used by its id", async () => {
    const model = inFolder("hub", "models--someone--tiny");
    const snapshot = path.join(model, "snapshots", "0123abcd");
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(path.join(model, "refs"));
    writeFileSync(path.join(model, "refs", "main"), "0123abcd");
    for (const entry of readdirSync(goldenPath("pipeline-sd21")))
      symlinkSync(goldenPath("pipeline-sd21", entry), path.join(snapshot, entry));
    mkdirSync(inFolder("hub", "models--someone--half", "refs"), { recursive: true });
    writeFileSync(inFolder("hub", "models--someone--half", "refs", "main"), "4567");
    const cache = ["--cache-dir", inFolder("hub")];
    const [listed, everything, taps] = await Promise.all([
      quietly("models", ...cache),
      quietly("models", ...cache, "--all", "--json"),
      quietly("taps", "-m", "someone/tiny", ...cache, "--local-files-only", "--json"),
    ]);
    expect(listed.stdout).toMatch(/^ {2}someone\/tiny {3}StableDiffusionPipeline, [\d.]+ MB$/m);
    expect(listed.stdout).toContain("1 more that it does not run");
    expect(JSON.parse(everything.stdout).cached).toMatchObject([
      { id: "someone/half", problem: expect.stringContaining("not in the cache") },
      { id: "someone/tiny", revision: "main" },
    ]);
    expect(JSON.parse(taps.stdout).filter(({ classic }: { classic: boolean }) => classic)).toHaveLength(197);
  });
});

describe("a pipe that closes", () => {
  it("ends the command without a word", async () => {
    const { child, done } = start(["taps", "-q"]);
    child.stdout!.once("data", () => child.stdout!.destroy());
    const { status, stderr } = await done;
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });
});

describe("Ctrl-C", () => {
  it("ends a command within a second, by the signal, with no half file", async () => {
    const args = [
      "extract",
      scene("box"),
      scene("chair"),
      "--ensemble",
      "3000",
      "-o",
      inFolder("cut"),
      "--no-color",
    ];
    const { child, done } = start([...args, "--memory", "mmap"]);
    await new Promise<void>((resolve) => {
      child.stderr!.on("data", (text: Buffer) => /box\.png \(1 of 2\)/.test(text.toString()) && resolve());
    });
    // The first passes are on their way now.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const begin = performance.now();
    child.kill("SIGINT");
    const { signal, stderr } = await done;
    expect(signal).toBe("SIGINT");
    expect(performance.now() - begin).toBeLessThan(1000);
    expect(stderr).not.toMatch(/error|at .*\.ts/i);
    expect(existsSync(inFolder("cut"))).toBe(false);
  });
});
