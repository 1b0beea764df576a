/** @file Memory and start-up of the command, as a user runs it: a process of its own, watched from outside. */

import { spawn } from "node:child_process";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { defaultTap, encodeImages } from "../src/diffusion/encode.js";
import { parameterBytes } from "../src/graph/index.js";
import { alternate, type Summary, seconds, summarize } from "./measure.js";
import { type Bench, openEye, writeImage } from "./speed.js";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The built command when there is one, else the same from source. */
export function command(): { label: string; argv: string[] } {
  const built = path.join(root, "dist/cli/main.js");
  if (existsSync(built)) return { label: "dist/cli/main.js", argv: [built] };
  const source = path.join(root, "src/cli/main.ts");
  return { label: "src/cli/main.ts through tsx", argv: ["--conditions=source", "--import", "tsx", source] };
}

interface Run {
  seconds: number;
  /** Most physical memory of all processes together, pages of files among it. */
  peakBytes: number;
  /** Pages of files at that moment. */
  fileBytes: number;
}

/** A process and those that it started. */
function tree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return [pid, ...(children === "" ? [] : children.split(" ").flatMap((child) => tree(Number(child))))];
}

/** Bytes of physical memory of a process; pages that several processes share are divided among them. */
function resident(pid: number, field: "Pss" | "Pss_File"): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1] ?? 0);
}

/** Runs the command to its end, and watches the memory of all its processes together. */
function run(flags: readonly string[]): Promise<Run> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, [...command().argv, ...flags], {
      cwd: root,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (text) => (errors += text));
    let [peakBytes, fileBytes] = [0, 0];
    const look = () => {
      try {
        const pids = tree(child.pid!);
        const sum = (field: "Pss" | "Pss_File") =>
          pids.reduce((total, pid) => total + resident(pid, field), 0);
        const bytes = sum("Pss");
        if (bytes > peakBytes) [peakBytes, fileBytes] = [bytes, sum("Pss_File")];
      } catch {
        // One has ended between two looks.
      }
    };
    const timer = setInterval(look, 20);
    child.on("error", reject);
    child.on("exit", (code) => {
      clearInterval(timer);
      if (code === 0) resolve({ seconds: (performance.now() - start) / 1000, peakBytes, fileBytes });
      else reject(new Error(`diffsight ${flags.join(" ")} ended with ${code}:\n${errors.slice(-2000)}`));
    });
  });
}

function extractFlags({ folder, scratch, threads }: Bench, image: string, memory: string): string[] {
  const out = path.join(scratch, "footprint.safetensors");
  const model = ["--model", path.resolve(folder), "--device", "cpu", "--threads", String(threads)];
  return ["extract", path.resolve(image), ...model, "--memory", memory, "-o", path.resolve(out), "--quiet"];
}

export interface MemoryUse {
  checkpoint: string;
  peakBytes: number;
  /** Pages of files among it. */
  fileBytes: number;
  /** Bytes of the weights that the largest phase uses, counted as f32 and as stored. */
  weightsF32: number;
  weightsStored: number;
}

/** Peak memory of a guided `extract --memory low`. */
export async function measureMemory(bench: Bench): Promise<MemoryUse> {
  const eye = await openEye({ ...bench, memory: "low" });
  const taps = await eye.taps(eye.latentDims(eye.ownSize));
  const tap = taps.find(({ id }) => id === defaultTap)!.value;
  await eye.release();
  const image = await writeImage(bench.scratch, 0);
  const asked = ["--prompt", "is the dog facing left?", "--guidance", "4"];
  const { peakBytes, fileBytes } = await run([...extractFlags(bench, image, "low"), ...asked]);
  return {
    checkpoint: path.basename(bench.folder),
    peakBytes,
    fileBytes,
    weightsF32: parameterBytes([tap], "f32"),
    weightsStored: parameterBytes([tap]),
  };
}

export interface StartUp {
  /** From the command's start to its end, with one feature written. */
  total: Summary;
  /** The same work in a process that has done it before. */
  computing: Summary;
  /** Total less computing, round by round. */
  difference: Summary;
}

/** Time to the first feature with `--memory mmap` and a warm disk cache. */
export async function measureStartUp(bench: Bench): Promise<StartUp> {
  await warmDiskCache(bench.folder);
  const images: string[] = [];
  for (let round = 0; round <= bench.rounds + 1; round++) images.push(await writeImage(bench.scratch, round));
  const eye = await openEye({ ...bench, memory: "mmap" });
  try {
    await encodeImages(eye, [images.at(-1)!], {}, {});
    const { total, computing } = await alternate(bench.rounds, {
      computing: (round) =>
        seconds(async () => {
          // A process of its own would know nothing of the empty text either.
          eye.memory.clear();
          await (await eye.textEncoder()).encode(`${round}`);
          await encodeImages(eye, [images[round]!], {}, {});
        }),
      total: async (round) => (await run(extractFlags(bench, images[round]!, "mmap"))).seconds,
    });
    const difference = summarize(total.rounds.map((value, i) => value - computing.rounds[i]!));
    return { total, computing, difference };
  } finally {
    await eye.release();
  }
}

/** Reads every file of a folder once. */
async function warmDiskCache(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    for await (const _ of createReadStream(path.join(entry.parentPath, entry.name), {
      highWaterMark: 1 << 24,
    })) {
      // Only the reading counts.
    }
  }
}
