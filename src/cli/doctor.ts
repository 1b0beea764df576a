/** @file `diffsight doctor`: does everything work here, and if not, what helps. */

import { constants, existsSync } from "node:fs";
import { access, readFile, statfs } from "node:fs/promises";
import { createRequire } from "node:module";
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { scenesFolder, selfTestFile } from "./embedded.js";
import { examples, outputFlags } from "./flags.js";
import { formatBytes } from "./progress.js";
import type { OutputFlags, Shell } from "./shell.js";
import { version } from "./version.js";

interface DoctorFlags extends OutputFlags {
  cacheDir?: string;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("[flags]")
    .description(
      "Checks that everything works here: runtime, image decoders, processor, memory, devices, the model cache, and the " +
        "embedded model against the reference's numbers. Exits 1 when something is broken, and says what helps.",
    )
    .optionsGroup("What:")
    .option(
      "--cache-dir <folder>",
      "the hub's cache to check (default: HF_HUB_CACHE, or ~/.cache/huggingface/hub)",
    );
  outputFlags(command, { json: "print the findings as JSON" });
  examples(
    command,
    ["doctor", "is all well?"],
    ["doctor --json > machine.json", "the same for a bug report"],
  );
  command.action((flags: DoctorFlags) => doctor(flags, shell));
}

interface Finding {
  name: string;
  /** note: works, but something is worth knowing. */
  state: "ok" | "note" | "broken";
  text: string;
  /** What helps. */
  cure?: string;
}

async function doctor(flags: DoctorFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const findings: Finding[] = [];
  const checks = [
    checkNode,
    checkRuntime,
    checkDecoders,
    checkProcessor,
    checkMemory,
    checkDevices,
    () => checkCache(flags.cacheDir),
    checkModel,
  ];
  for (const check of checks) {
    shell.signal.throwIfAborted();
    shell.progress.show("checking");
    for (const finding of await check(shell.signal)) {
      findings.push(finding);
      if (!flags.json) print(finding, shell);
    }
  }
  const broken = findings.filter(({ state }) => state === "broken").length;
  if (flags.json) shell.json({ diffsight: version, ok: broken === 0, findings });
  else
    shell.line(
      shell.bold(broken === 0 ? "\nAll is well." : `\n${broken} of ${findings.length} checks failed.`),
    );
  if (broken > 0) process.exitCode = 1;
}

function print({ name, state, text, cure }: Finding, shell: Shell): void {
  const mark = { ok: "ok    ", note: "note  ", broken: "BROKEN" }[state];
  shell.line(`${mark} ${shell.bold(name.padEnd(12))} ${text}`);
  if (cure) shell.line(`${" ".repeat(20)}-> ${cure}`);
}

const require = createRequire(import.meta.url);

async function packageVersion(name: string): Promise<string | undefined> {
  // Packages may hide their package.json: it lies in some folder above their entry.
  for (let folder = dirname(require.resolve(name)); folder !== dirname(folder); folder = dirname(folder)) {
    const text = await readFile(join(folder, "package.json"), "utf8").catch(() => "{}");
    const manifest = JSON.parse(text) as { name?: string; version?: string };
    if (manifest.name === name) return manifest.version;
  }
  return undefined;
}

async function checkNode(): Promise<Finding[]> {
  const text = `diffsight ${version}, Node.js ${process.versions.node} on ${platform()} ${release()}, ${arch()}`;
  const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
  const old = major < 20 || (major === 20 && minor < 9);
  return [
    old ? broken("runtime", text, "Install Node.js 20.9 or newer.") : { name: "runtime", state: "ok", text },
  ];
}

async function checkRuntime(): Promise<Finding[]> {
  const name = "onnxruntime";
  let root: string;
  try {
    root = join(dirname(require.resolve("onnxruntime-node")), "..");
  } catch {
    return [broken(name, "onnxruntime-node is not installed", "Run: npm install onnxruntime-node")];
  }
  const natives = join(root, "bin", "napi-v6", platform(), arch());
  const found = await packageVersion("onnxruntime-node");
  if (!existsSync(join(natives, "onnxruntime_binding.node"))) {
    const cure = "Supported are Linux and Windows on x64 and arm64, and macOS on arm64.";
    return [broken(name, `onnxruntime-node ${found} has no binary for ${platform()} ${arch()}`, cure)];
  }
  const hasCuda = existsSync(join(natives, "libonnxruntime_providers_cuda.so"));
  const cuda = hasCuda
    ? "CUDA libraries are there"
    : "no CUDA libraries (not needed on the CPU; ONNXRUNTIME_NODE_INSTALL=skip at install leaves them out)";
  return [{ name, state: "ok", text: `onnxruntime-node ${found}, ${cuda}` }];
}

async function checkDecoders(): Promise<Finding[]> {
  try {
    const { default: sharp } = await import("sharp");
    const pixel = sharp({ create: { width: 8, height: 8, channels: 3, background: "#407fbf" } });
    const jpeg = await pixel.jpeg().toBuffer();
    const { decodeImage } = await import("../image/index.js");
    await decodeImage(new Uint8Array(jpeg));
    return [
      {
        name: "images",
        state: "ok",
        text: `PNG, GIF; JPEG, WebP, AVIF, TIFF by sharp ${await packageVersion("sharp")}`,
      },
    ];
  } catch (error) {
    const text = `only PNG and GIF can be read: sharp does not work (${firstLine(error)})`;
    return [broken("images", text, "Run: npm install --include=optional sharp")];
  }
}

/** Instruction sets that decide how fast matrices are multiplied. */
const instructionSets = [
  "sse4_2",
  "avx",
  "avx2",
  "fma",
  "avx512f",
  "avx512_vnni",
  "avx512_bf16",
  "amx_tile",
  "asimd",
  "sve",
];

async function checkProcessor(): Promise<Finding[]> {
  const [first] = cpus();
  const info = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const flags = new Set(/^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1]?.split(/\s+/));
  const sets = instructionSets.filter((one) => flags.has(one));
  const text = `${first?.model.trim() ?? "unknown"}, ${availableParallelism()} threads${sets.length > 0 ? `, ${sets.join(" ")}` : ""}`;
  if (sets.length > 0 && arch() === "x64" && !flags.has("avx2"))
    return [
      { name: "processor", state: "note", text, cure: "Without AVX2 everything is several times slower." },
    ];
  return [{ name: "processor", state: "ok", text }];
}

async function checkMemory(): Promise<Finding[]> {
  const info = await readFile("/proc/meminfo", "utf8").catch(() => "");
  const line = /^MemAvailable:\s+(\d+) kB/m.exec(info);
  const available = line ? Number(line[1]) * 1024 : freemem();
  const text = `${formatBytes(available)} of ${formatBytes(totalmem())} free`;
  return [{ name: "memory", state: "ok", text }];
}

async function checkDevices(): Promise<Finding[]> {
  const { Engine } = await import("../engine/index.js");
  const there: string[] = [];
  for (const device of ["cpu", "webgpu", "cuda"] as const) {
    try {
      await (await Engine.open({ device })).dispose();
      there.push(device);
    } catch {
      // Not there: what is missing is told by what is.
    }
  }
  const text = there.length === 1 ? "cpu (no graphics card that computes was found)" : there.join(", ");
  return [{ name: "devices", state: "ok", text }];
}

async function checkCache(named: string | undefined): Promise<Finding[]> {
  const { hubCacheFolder } = await import("../weights/index.js");
  const folder = hubCacheFolder(named);
  const offline = /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? "")
    ? ", offline by HF_HUB_OFFLINE"
    : "";
  // The folder is made on the first download: what counts is the nearest that exists.
  let nearest = folder;
  while (!existsSync(nearest) && nearest !== dirname(nearest)) nearest = dirname(nearest);
  const writable = await access(nearest, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!writable) {
    const cure = "Name another with --cache-dir or HF_HUB_CACHE; models in folders (--model path) need none.";
    return [{ name: "model cache", state: "note", text: `${folder} cannot be written${offline}`, cure }];
  }
  const disk = await statfs(nearest);
  const free = formatBytes(disk.bavail * disk.bsize);
  const state = nearest === folder ? "" : " (not there yet)";
  return [{ name: "model cache", state: "ok", text: `${folder}${state}, ${free} free${offline}` }];
}

/** Guided features of a scene, from diffusers (scripts/make-embedded-goldens.py). */
interface SelfTest {
  image: string;
  prompt: string;
  tap: string;
  timestep: number;
  guidance: number;
  /** The first numbers. */
  start: number[];
  mean: number;
  rms: number;
}

const tolerance = 2e-4;

async function checkModel(signal: AbortSignal): Promise<Finding[]> {
  const name = "self-test";
  try {
    const { DiffusionEncoder } = await import("../diffusion/index.js");
    const begin = performance.now();
    await using encoder = await DiffusionEncoder.fromPretrained("embedded:sd", {
      device: "cpu",
      passes: 2,
      signal,
    });
    const { image, prompt, tap, timestep, guidance, ...expected } = JSON.parse(
      await readFile(selfTestFile, "utf8"),
    ) as SelfTest;
    const request = { prompt, taps: [tap], timesteps: [timestep], guidance, signal };
    const { features } = await encoder.encode(join(scenesFolder, image), request);
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    const values = features.toFloat32();
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const rms = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
    const found = [...values.subarray(0, expected.start.length), mean, rms];
    const wanted = [...expected.start, expected.mean, expected.rms];
    const worst = Math.max(...found.map((value, i) => Math.abs(value - wanted[i]!)));
    if (worst <= tolerance)
      return [
        { name, state: "ok", text: `the embedded model gives the reference's features (${seconds} s)` },
      ];
    const text = `the embedded model's features differ from the reference's by ${worst.toPrecision(2)} (allowed: ${tolerance})`;
    return [
      broken(name, text, "Reinstall diffsight and onnxruntime-node; please report it with doctor --json."),
    ];
  } catch (error) {
    signal.throwIfAborted();
    return [
      broken(
        name,
        `the embedded model does not run: ${firstLine(error)}`,
        "Reinstall diffsight and onnxruntime-node.",
      ),
    ];
  }
}

function broken(name: string, text: string, cure: string): Finding {
  return { name, state: "broken", text, cure };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}
