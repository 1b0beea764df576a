/** @file Where a network's time goes: ONNX Runtime's own trace, grouped by operator and by shape. */

import { mkdtemp, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { defaultTap } from "../src/diffusion/encode.js";
import type { Engine } from "../src/engine/index.js";
import { flops, input, type Value } from "../src/graph/index.js";
import { encodeImage } from "../src/models/index.js";
import { type Tensor, TorchGenerator } from "../src/tensor/index.js";
import { Scope } from "../src/weights/index.js";
import { duration, table } from "./measure.js";
import { type Bench, openEye } from "./speed.js";

interface TraceEvent {
  cat: string;
  name: string;
  /** Microseconds. */
  dur: number;
  args?: { op_name?: string; input_type_shape?: Shape[]; output_type_shape?: Shape[] };
}

type Shape = Record<string, number[]>;

export interface NodeTime {
  operator: string;
  shapes: string;
  /** Seconds a run, all nodes of this operator and shape together. */
  seconds: number;
  nodes: number;
}

export interface Profile {
  network: string;
  flops: number;
  /** Seconds a run, in the operators. */
  seconds: number;
  times: NodeTime[];
}

/** Profiles the VAE's encoder, and the U-Net up to the paper's tap and whole. */
export async function profileNetworks(bench: Bench): Promise<Profile[]> {
  const scratch = await mkdtemp(path.join(bench.scratch, "profile-"));
  const profiles: Profile[] = [];
  for (const network of ["vae", "unet-tap", "unet"] as const) {
    bench.note(`profile: ${network}`);
    const prefix = path.join(scratch, network);
    const eye = await openEye(bench, prefix);
    try {
      const latent = eye.latentDims(eye.ownSize);
      const outputs: Record<string, Value> = {};
      if (network === "vae") {
        const { config, checkpoint } = await eye.autoencoder();
        const [width, height] = eye.ownSize;
        const pixels = input("pixels", [1, 3, height, width]);
        Object.assign(outputs, encodeImage(Scope.of(checkpoint), config, pixels));
      } else {
        const id = network === "unet" ? "unet-out" : defaultTap;
        outputs.output = (await eye.taps(latent)).find((tap) => tap.id === id)!.value;
      }
      await runs(eye.engine, outputs, bench.rounds);
      const trace = await readTrace(scratch, network);
      profiles.push({
        network,
        flops: flops(Object.values(outputs)),
        ...summarizeTrace(trace, bench.rounds),
      });
    } finally {
      await eye.release();
    }
  }
  return profiles;
}

/** One run to warm up, then those that count; releasing the session writes its trace. */
async function runs(engine: Engine, outputs: Record<string, Value>, rounds: number): Promise<void> {
  const program = engine.compile(outputs);
  const generator = new TorchGenerator(1);
  const feeds = Object.fromEntries(
    program.inputs.map(({ name, dims }): [string, Tensor] => [name, generator.randn(dims.map(Number))]),
  );
  for (let round = 0; round <= rounds; round++) await program.run(feeds);
  await program.release();
}

async function readTrace(folder: string, prefix: string): Promise<TraceEvent[]> {
  const names = (await readdir(folder)).filter((name) => name.startsWith(`${prefix}_`)).sort();
  const text = await readFile(path.join(folder, names.at(-1)!), "utf8");
  return JSON.parse(text) as TraceEvent[];
}

/** Time by operator and shape; the first run of every node is left out. */
function summarizeTrace(events: readonly TraceEvent[], rounds: number): Pick<Profile, "seconds" | "times"> {
  const seen = new Set<string>();
  const times = new Map<string, NodeTime>();
  let total = 0;
  for (const { cat, name, dur, args } of events) {
    if (cat !== "Node" || !name.endsWith("_kernel_time") || !args?.op_name) continue;
    if (!seen.has(name)) {
      seen.add(name);
      continue;
    }
    const shapes = `${write(args.input_type_shape)} -> ${write(args.output_type_shape)}`;
    const key = `${args.op_name} ${shapes}`;
    const entry = times.get(key) ?? { operator: args.op_name, shapes, seconds: 0, nodes: 0 };
    entry.seconds += dur / 1e6 / rounds;
    entry.nodes += 1 / rounds;
    total += dur / 1e6 / rounds;
    times.set(key, entry);
  }
  return { seconds: total, times: [...times.values()].sort((a, b) => b.seconds - a.seconds) };
}

/** Shapes, equal ones counted; small ones (sizes, axes, scalars) are left out. */
function write(shapes: readonly Shape[] = []): string {
  const counts = new Map<string, number>();
  for (const dims of shapes.flatMap((shape) => Object.values(shape))) {
    if (dims.reduce((product, size) => product * size, 1) <= 64) continue;
    counts.set(dims.join("x"), (counts.get(dims.join("x")) ?? 0) + 1);
  }
  return [...counts].map(([shape, times]) => (times > 1 ? `${times} of ${shape}` : shape)).join(" ");
}

/** The split by operator, and the shapes that take longest. */
export function writeProfile({ network, flops, seconds, times }: Profile, top = 16): string {
  const byOperator = new Map<string, { seconds: number; nodes: number }>();
  for (const { operator, seconds, nodes } of times) {
    const entry = byOperator.get(operator) ?? { seconds: 0, nodes: 0 };
    byOperator.set(operator, { seconds: entry.seconds + seconds, nodes: entry.nodes + nodes });
  }
  const share = (part: number) => `${((100 * part) / seconds).toFixed(1)} %`;
  const operators = [...byOperator]
    .sort(([, a], [, b]) => b.seconds - a.seconds)
    .map(([name, entry]) => [
      name,
      String(Math.round(entry.nodes)),
      duration(entry.seconds),
      share(entry.seconds),
    ]);
  const shapes = times
    .slice(0, top)
    .map(({ operator, shapes, nodes, seconds }) => [
      operator,
      shapes,
      String(Math.round(nodes)),
      duration(seconds),
      share(seconds),
    ]);
  const rate = `${(flops / 1e9).toFixed(0)} GFLOP in ${duration(seconds)}: ${(flops / seconds / 1e9).toFixed(0)} GFLOP/s`;
  return [
    `### ${network}: ${rate}`,
    table(["operator", "nodes", "a run", "share"], operators),
    table(["operator", "shapes", "nodes", "a run", "share"], shapes),
  ].join("\n\n");
}
