/** @file `npm run bench`: speed beside diffusers, cost of a question, memory and start-up, each as a table. */

import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Preset, presets } from "../src/engine/index.js";
import { writeFileAtomic } from "../src/weights/index.js";
import { measureAsking, writeAsking } from "./asking.js";
import { writeCheckpoint } from "./checkpoint.js";
import { command, measureMemory, measureStartUp } from "./footprint.js";
import { timeKernels, writeKernels } from "./kernels.js";
import { compareLanguage, type LanguageShapeName, languageShapes, writeLanguage } from "./language.js";
import {
  describeMachine,
  duration,
  gigabytes,
  type Machine,
  matmulPeak,
  type Summary,
  table,
  verdict,
} from "./measure.js";
import { installLlamaCpp, installPeer, Peer, type PeerInfo } from "./peer.js";
import { profileNetworks, writeProfile } from "./profile.js";
import { measureRendering, writeRendering } from "./rendering.js";
import {
  type Bench,
  type Comparison,
  compareExtract,
  compareText,
  compareUnet,
  compareVae,
  compareVision,
  measureQuestion,
} from "./speed.js";
import { compareTraining, writeTraining } from "./training.js";

const usage = `usage: npm run bench -- [--only NAME[,NAME]...] [--rounds N] [--threads N] [--memory ${presets.join("|")}]
                        [--json FILE] [--no-peer]
  by default: unet, vae, text, vision, extract, question, memory, startup
  when named: tap, pair, whole (parts of unet), kernels (each operation by every algorithm), profile (time by operator),
  rendering (the diorama's pictures), asking (the embedded vision-language model), training (a step of each network of
  the recipes), language (a language model of 7B's width; language-tiny: the same made small, to see that it runs)`;

const usual = ["unet", "vae", "text", "vision", "extract", "question", "memory", "startup"];
const others = [...usual, "tap", "pair", "whole", "kernels", "profile", "rendering", "asking", "training"];
const languages = Object.keys(languageShapes) as LanguageShapeName[];
const named = [...others, ...languages];
/** What needs diffusers beside it. */
const compared = ["unet", "tap", "pair", "whole", "vae", "text", "vision", "extract"];

interface Options {
  only: ReadonlySet<string>;
  rounds: number;
  threads: number;
  memory: Preset;
  json: string | undefined;
  peer: boolean;
}

/** @throws Error that says what is wrong with the flags */
function readOptions(cores: number): Options {
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      only: { type: "string", multiple: true },
      rounds: { type: "string", default: "5" },
      threads: { type: "string", default: String(cores) },
      memory: { type: "string", default: "fast" },
      json: { type: "string" },
      peer: { type: "boolean", default: true },
    },
  });
  const only = values.only?.flatMap((names) => names.split(",")) ?? usual;
  const unknown = only.find((name) => !named.includes(name));
  if (unknown !== undefined)
    throw new Error(`--only ${unknown} is unknown: allowed are ${named.join(", ")}.`);
  const whole = (flag: "rounds" | "threads") => {
    const value = Number(values[flag]);
    if (!Number.isInteger(value) || value < 1)
      throw new Error(`--${flag} ${values[flag]} is no whole number from 1 on.`);
    return value;
  };
  if (!presets.includes(values.memory as Preset)) {
    throw new Error(`--memory ${values.memory} is unknown: allowed are ${presets.join(", ")}.`);
  }
  return {
    only: new Set(only),
    rounds: whole("rounds"),
    threads: whole("threads"),
    memory: values.memory as Preset,
    json: values.json,
    peer: values.peer,
  };
}

const place = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const note = (message: string) => console.error(`[bench] ${message}`);

function writeMachine(machine: Machine, info: PeerInfo | undefined): string {
  const peer = info && Object.entries(info.versions).map(([name, version]) => `${name} ${version}`);
  return table(
    ["what", "value"],
    [
      ["processor", machine.processor],
      ["instruction sets", machine.instructions.join(" ")],
      ["cores, threads used", `${machine.cores}, ${machine.threads}`],
      ["memory", gigabytes(machine.memory)],
      ["system", machine.system],
      ["Node, ONNX Runtime", `${machine.node}, ${machine.onnxruntime}`],
      ["peer", peer ? `${peer.join(", ")}; torch's kernels: ${info.capability}` : "none"],
    ],
  );
}

const both = ({ median, minimum }: Summary) => `${duration(median)} (${duration(minimum)})`;

function writeComparisons(comparisons: readonly Comparison[], peak: number): string {
  const ofPeak = (flops: number, { median }: Summary) => `${((100 * flops) / median / peak).toFixed(0)} %`;
  const rows = comparisons.map(({ work, flops, ours, peer, way, differences, target }) => {
    const own = [work, (flops / 1e9).toFixed(0), both(ours), ofPeak(flops, ours)];
    if (!peer) return own;
    const times = peer.median / ours.median;
    return [
      ...own,
      both(peer),
      ofPeak(flops, peer),
      way!,
      `${times.toFixed(2)} (${(peer.minimum / ours.minimum).toFixed(2)})`,
      verdict(times, target),
      Object.values(differences!)
        .map((value) => value.toExponential(1))
        .join(", "),
    ];
  });
  const head = ["work", "GFLOP", "diffsight: median (minimum)", "of peak"];
  const more = [
    "diffusers: median (minimum)",
    "of peak",
    "its fastest way",
    "times as fast",
    "target",
    "max abs difference / rms",
  ];
  return table(comparisons.some(({ peer }) => peer) ? [...head, ...more] : head, rows);
}

async function main(): Promise<void> {
  const machineOf = describeMachine;
  const cores = machineOf(1).cores;
  let options: Options;
  try {
    options = readOptions(cores);
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage}`);
    process.exitCode = 2;
    return;
  }
  const { only, rounds, threads, memory } = options;
  const wants = (...names: string[]) => names.some((name) => only.has(name));
  if (wants("training")) await benchTraining(options);
  if (wants("asking")) await benchAsking(options);
  for (const name of languages) if (wants(name)) await benchLanguage(name, options);
  if ([...only].every((name) => ["training", "asking"].includes(name) || name in languageShapes)) return;

  const checkpoint = (name: string, dtype: "f32" | "f16") =>
    writeCheckpoint(place(`checkpoints/${name}`), {
      dtype,
      ...(dtype === "f16" && { variant: "fp16" }),
      onProgress: note,
    });
  const folder = await checkpoint("sd21-base-f32", "f32");
  const scratch = place("results/scratch");
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });

  const started = options.peer && wants(...compared) ? await Peer.start(folder, threads) : undefined;
  if (options.peer && wants(...compared) && !started) {
    note(`No peer: its columns are left out. To have them:\n  ${installPeer}`);
  }
  const bench: Bench = { folder, scratch, rounds, threads, memory, peer: started?.peer, note };
  const machine = machineOf(threads);
  const report: Record<string, unknown> = { machine, peer: started?.info, rounds, memory };
  const print = (title: string, text: string) => console.log(`\n## ${title}\n\n${text}`);

  try {
    print("Machine", writeMachine(machine, started?.info));
    const peaks = wants(...compared, "kernels") ? [await matmulPeak(threads)] : [];
    // Others may use the machine as well: the largest of several measurements counts.
    const peak = async () => {
      peaks.push(await matmulPeak(threads));
      report.peaks = peaks;
      const largest = Math.max(...peaks.map(({ flops }) => flops));
      return {
        flops: largest,
        text: `Matmul peak in this run: ${(largest / 1e9).toFixed(0)} GFLOP/s (f32).`,
      };
    };

    const comparisons: Comparison[] = [];
    if (wants("text")) comparisons.push(await compareText(bench));
    if (wants("vae")) comparisons.push(await compareVae(bench));
    const parts = (["tap", "pair", "whole"] as const).filter((part) => wants("unet", part));
    if (parts.length > 0) comparisons.push(...(await compareUnet(bench, parts)));
    if (wants("vision")) comparisons.push(await compareVision(bench));
    if (wants("extract")) comparisons.push(await compareExtract(bench));
    if (comparisons.length > 0) {
      report.comparisons = comparisons;
      const { flops, text } = await peak();
      print(`Speed, memory preset ${memory}`, `${text}\n\n${writeComparisons(comparisons, flops)}`);
    }

    if (wants("question")) {
      const cost = await measureQuestion(bench);
      report.question = cost;
      const overFirst = cost.second.median / cost.first.median;
      const overParts = cost.second.median / cost.parts.median;
      const rows = [
        ["first question about an image", both(cost.first), "", ""],
        [
          "second question",
          both(cost.second),
          `${overFirst.toFixed(3)} of the first`,
          atMost(overFirst, 0.25),
        ],
        [
          "a conditional pass without its text-free part, and the text encoder",
          both(cost.parts),
          `the second is ${overParts.toFixed(3)} of this`,
          atMost(overParts, 1.05),
        ],
      ];
      print(
        "A question costs one pass (s = 4)",
        table(["work", "median (minimum)", "ratio", "target"], rows),
      );
    }

    if (wants("memory")) {
      const half = await checkpoint("sd21-base-f16", "f16");
      const full = await measureMemory(bench);
      const halved = await measureMemory({ ...bench, folder: half });
      report.memory = [full, halved];
      const ratio = full.peakBytes / full.weightsF32;
      const rows = [
        [
          full.checkpoint,
          gigabytes(full.peakBytes),
          gigabytes(full.fileBytes),
          gigabytes(full.weightsF32),
          ratio.toFixed(3),
          atMost(ratio, 1.15),
        ],
        [
          halved.checkpoint,
          gigabytes(halved.peakBytes),
          gigabytes(halved.fileBytes),
          gigabytes(halved.weightsStored),
          (halved.peakBytes / halved.weightsStored).toFixed(3),
          atMost(halved.peakBytes / 1e9, 2.2, " GB"),
        ],
      ];
      const head = [
        "checkpoint",
        "peak of all processes (PSS)",
        "of it files",
        "weights of the largest phase",
        "ratio",
        "target",
      ];
      print(`Memory of \`extract --memory low\` at s = 4 (${command().label})`, table(head, rows));
    }

    if (wants("startup")) {
      const { total, computing, difference } = await measureStartUp(bench);
      report.startup = { total, computing, difference };
      const rows = [
        ["from the command to its end", both(total), ""],
        ["computing, in a warm process", both(computing), ""],
        ["start-up", both(difference), atMost(difference.median, 6, " s")],
      ];
      print(
        `Start-up of \`extract --memory mmap\` (${command().label})`,
        table(["what", "median (minimum)", "target"], rows),
      );
    }

    if (wants("kernels")) {
      const operations = await timeKernels(bench);
      report.kernels = operations;
      const { flops, text } = await peak();
      print("Convolutions and attention, each alone", `${text}\n\n${writeKernels(operations, flops)}`);
    }
    if (wants("profile")) {
      const profiles = await profileNetworks(bench);
      report.profiles = profiles;
      print(
        `Time by operator, memory preset ${memory}`,
        profiles.map((one) => writeProfile(one)).join("\n\n"),
      );
    }
    if (wants("rendering")) {
      const rendering = await measureRendering(rounds);
      report.rendering = rendering;
      print("Rendering the diorama", writeRendering(rendering));
    }
    if (options.json)
      await writeFileAtomic(path.resolve(options.json), `${JSON.stringify(report, undefined, 2)}\n`);
  } finally {
    started?.peer.end();
    await rm(scratch, { recursive: true, force: true });
  }
}

async function benchTraining({ rounds, threads, peer: wanted, json }: Options): Promise<void> {
  const started = wanted ? await Peer.start("", threads, "training_peer") : undefined;
  if (wanted && !started) note(`No peer: its columns are left out. To have them:\n  ${installPeer}`);
  try {
    const machine = describeMachine(threads);
    console.log(`\n## Machine\n\n${writeMachine(machine, started?.info)}`);
    const speeds = await compareTraining({ rounds, threads, peer: started?.peer, note });
    console.log(`\n## Training\n\n${writeTraining(speeds)}`);
    const report = { machine, peer: started?.info, rounds, training: speeds };
    if (json) await writeFileAtomic(`${path.resolve(json)}`, `${JSON.stringify(report, undefined, 2)}\n`);
  } finally {
    started?.peer.end();
  }
}

async function benchAsking({ rounds, threads, json }: Options): Promise<void> {
  const machine = describeMachine(threads);
  console.log(`\n## Machine\n\n${writeMachine(machine, undefined)}`);
  const asking = await measureAsking(rounds, threads);
  console.log(`\n## Asking\n\n${writeAsking(asking)}`);
  if (json)
    await writeFileAtomic(
      path.resolve(json),
      `${JSON.stringify({ machine, rounds, asking }, undefined, 2)}\n`,
    );
}

async function benchLanguage(
  name: LanguageShapeName,
  { rounds, threads, memory, peer: wanted, json }: Options,
): Promise<void> {
  const reader = wanted ? await Peer.start("", threads, "language_peer") : undefined;
  const speaker = wanted ? await Peer.startLlamaCpp(threads) : undefined;
  if (wanted && !reader) note(`No transformers: its columns are left out. To have them:\n  ${installPeer}`);
  if (wanted && !speaker) note(`No llama.cpp: its columns are left out. To have them:\n  ${installLlamaCpp}`);
  try {
    const machine = describeMachine(threads);
    const versions = { ...reader?.info.versions, ...speaker?.info.versions };
    const peer = reader && { ...reader.info, versions };
    console.log(`\n## Machine\n\n${writeMachine(machine, peer)}`);
    const folder = place("checkpoints");
    const options = { folder, rounds, threads, memory, peer: reader?.peer, speaker: speaker?.peer, note };
    const found = await compareLanguage(name, options);
    console.log(`\n## Language\n\n${writeLanguage(name, found)}`);
    const report = { machine, peer, rounds, memory, language: found };
    if (json) await writeFileAtomic(path.resolve(json), `${JSON.stringify(report, undefined, 2)}\n`);
  } finally {
    reader?.peer.end();
    speaker?.peer.end();
  }
}

function atMost(value: number, limit: number, unit = ""): string {
  return `${value <= limit ? "reached" : "missed"} (<= ${limit}${unit})`;
}

await main();
