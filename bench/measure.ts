/** @file Rounds, their summaries and tables; what the machine is; how fast it multiplies matrices. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { Engine } from "../src/engine/index.js";
import { add, input, matmul, parameter, sum, type Value } from "../src/graph/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";

export interface Summary {
  median: number;
  minimum: number;
  rounds: number[];
}

export function summarize(rounds: readonly number[]): Summary {
  const sorted = [...rounds].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, minimum: sorted[0]!, rounds: [...rounds] };
}

/** Seconds that a piece of work takes. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Threads that wait for work spin for a moment: the other side starts when they sleep. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 200));

/**
 * Measures several sides in turn, A B A B, after one round of each that does not count.
 * @param sides each runs one round (numbered from 0, the warm-up) and says how long it took
 */
export async function alternate<K extends string>(
  rounds: number,
  sides: Readonly<Record<K, (round: number) => Promise<number>>>,
): Promise<Record<K, Summary>> {
  const names = Object.keys(sides) as K[];
  const times = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<K, number[]>;
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      await settle();
      const took = await sides[name](round);
      if (round > 0) times[name].push(took);
    }
  }
  return Object.fromEntries(names.map((name) => [name, summarize(times[name])])) as Record<K, Summary>;
}

/** Largest |a - b| over the root mean square of b. */
export function difference(a: Tensor, b: Tensor): number {
  if (a.dims.join() !== b.dims.join()) throw new Error(`Shapes [${a.dims}] and [${b.dims}] differ.`);
  const [x, y] = [a.toFloat32(), b.toFloat32()];
  let worst = 0;
  let squares = 0;
  for (let i = 0; i < y.length; i++) {
    const distance = Math.abs(x[i]! - y[i]!);
    if (!(distance <= worst)) worst = distance;
    squares += y[i]! ** 2;
  }
  return worst / Math.sqrt(squares / y.length);
}

// Tables

/** A Markdown table, its columns aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(3, ...all.map((row) => (row[i] ?? "").length)));
  const line = (row: readonly string[]) =>
    `| ${widths.map((width, i) => (row[i] ?? "").padEnd(width)).join(" | ")} |`;
  return [line(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...rows.map(line)].join(
    "\n",
  );
}

export function duration(value: number): string {
  return value >= 1 ? `${value.toFixed(2)} s` : `${(1000 * value).toFixed(value < 0.01 ? 2 : 0)} ms`;
}

export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** A measured ratio against what it must reach: "1.62 (at least 1.5, aim 1.8): reached". */
export function verdict(value: number, { atLeast, aim }: { atLeast: number; aim: number }): string {
  const word = value >= aim ? "aim reached" : value >= atLeast ? "reached" : "missed";
  return `${word} (>= ${atLeast}, aim ${aim})`;
}

// The machine

export interface Machine {
  processor: string;
  cores: number;
  threads: number;
  instructions: string[];
  memory: number;
  system: string;
  node: string;
  onnxruntime: string;
}

export function describeMachine(threads: number): Machine {
  const linux = process.platform === "linux";
  const flags = linux ? (/^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "") : "";
  const require = createRequire(import.meta.url);
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    threads,
    instructions: flags.split(" ").filter((flag) => /^(avx|amx|fma$|f16c$)/.test(flag)),
    memory: totalmem(),
    system: `${process.platform} ${process.arch} ${release()}`,
    node: process.version,
    onnxruntime: (require("onnxruntime-node/package.json") as { version: string }).version,
  };
}

/** Matrices multiplied one after the other in one run, so that a run's own cost does not count. */
const chain = 6;

/** The machine's matmul peak: the largest FLOP/s of a chain of f32 products [rows, 2048] x [2048, 2048]. */
export async function matmulPeak(threads: number): Promise<{ flops: number; rows: number }> {
  const side = 2048;
  const engine = await Engine.open({ device: "cpu", memory: "fast", threads });
  let best = { flops: 0, rows: 0 };
  try {
    // Numbers small enough that the products stay finite
    const numbers = new TorchGenerator(0)
      .randn([side * side])
      .toFloat32()
      .map((value) => value / side ** 0.5);
    const matrix = parameter("matrix", [side, side], "f32", { bytes: new Uint8Array(numbers.buffer) });
    for (const rows of [1024, 2048]) {
      const bytes = new Uint8Array(numbers.buffer, 0, 4 * rows * side);
      let x: Value = add(parameter("x", [rows, side], "f32", { bytes }), input("shift", [1]));
      for (let i = 0; i < chain; i++) x = matmul(x, matrix);
      const program = engine.compile({ total: sum(x, 0, 1) });
      for (let round = 0; round < 4; round++) {
        const took = await seconds(() => program.run({ shift: Tensor.f32([1]) }));
        const flops = (chain * 2 * rows * side * side) / took;
        if (round > 0 && flops > best.flops) best = { flops, rows };
      }
      await program.release();
    }
  } finally {
    await engine.dispose();
  }
  return best;
}
