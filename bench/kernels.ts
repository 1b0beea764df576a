/** @file Every convolution and attention of the networks alone, by each algorithm: what src/graph's table chooses from. */

import { defaultTap } from "../src/diffusion/encode.js";
import { Engine, type Program } from "../src/engine/index.js";
import {
  type AttentionAlgorithm,
  add,
  attention,
  type ConvolutionAlgorithm,
  constant,
  conv2d,
  cpuKernels,
  fastKernels,
  fitsWinograd,
  flopsOf,
  input,
  isOp,
  type Kernels,
  slice,
  topologicalOrder,
  type Value,
} from "../src/graph/index.js";
import { encodeImage } from "../src/models/index.js";
import { type Dims, Tensor, TorchGenerator } from "../src/tensor/index.js";
import { Scope } from "../src/weights/index.js";
import { duration, seconds, table } from "./measure.js";
import { type Bench, openEye } from "./speed.js";

type Operation = Value<"conv2d"> | Value<"attention">;

export interface OperationTimes {
  operation: string;
  /** How many there are in the VAE's encoder, the U-Net up to the paper's tap, and the whole U-Net. */
  uses: readonly number[];
  flops: number;
  /** The algorithm that the table takes. */
  chosen: string;
  /** Seconds by algorithm, the fastest of the rounds. */
  times: Record<string, number>;
}

function describe(value: Operation): string {
  const { inputs, dims } = value;
  if (isOp(value, "attention")) {
    const { heads } = value.attributes;
    return `attention ${dims[1]} queries, ${inputs[1]!.dims[1]} keys, ${heads} x ${dims[2]! / heads}`;
  }
  const [to, from, kernel] = inputs[1]!.dims;
  const { stride } = value.attributes;
  return `${kernel}x${kernel}${stride > 1 ? ` stride ${stride}` : ""} ${from} -> ${to} @ ${dims[2]}x${dims[3]}`;
}

function nameOf(algorithm: ConvolutionAlgorithm | AttentionAlgorithm): string {
  if (typeof algorithm === "string") return algorithm;
  const { m, order, band } = algorithm;
  return `F${m} ${order}${band ? ` by ${band}` : ""}`;
}

/** Tiles of a band: what may fit a cache. */
const bandTiles = [64, 128, 256, 512];

/** Every way of computing an operation, by name, and the name of the way that the table takes. */
function waysOf(value: Operation, table: Kernels): { ways: Map<string, Partial<Kernels>>; chosen: string } {
  const ways = new Map<string, Partial<Kernels>>();
  if (isOp(value, "attention")) {
    for (const name of ["fused", "explicit"] as const) ways.set(name, { attention: () => name });
    return { ways, chosen: nameOf(table.attention(value)) };
  }
  const taken = table.convolution(value);
  const algorithms: ConvolutionAlgorithm[] = ["direct"];
  if (fitsWinograd(value)) {
    for (const m of [2, 4] as const) {
      for (const order of ["tiles", "channels"] as const) algorithms.push({ m, order });
    }
    const [rows, across] = [2, 3].map((axis) => Math.ceil(value.dims[axis]! / 4)) as [number, number];
    for (const tiles of bandTiles) {
      const band = Math.round(tiles / across);
      if (band >= 1 && band < rows) algorithms.push({ m: 4, order: "tiles", band });
    }
    algorithms.push(taken);
  }
  for (const algorithm of algorithms) ways.set(nameOf(algorithm), { convolution: () => algorithm });
  return { ways, chosen: nameOf(taken) };
}

export async function timeKernels(bench: Bench): Promise<OperationTimes[]> {
  const table = bench.memory === "fast" ? fastKernels : cpuKernels;
  const results: OperationTimes[] = [];
  for (const { operation, value, uses } of await operationsOf(bench)) {
    const { ways, chosen } = waysOf(value, table);
    const times = await timeWays(bench, value, table, ways);
    results.push({ operation, uses, flops: flopsOf(value), chosen, times });
    const fastest = Object.keys(times).reduce((a, b) => (times[b]! < times[a]! ? b : a));
    bench.note(`${operation}: chosen ${chosen} ${duration(times[chosen]!)}, fastest ${fastest}`);
  }
  return results;
}

interface Found {
  operation: string;
  value: Operation;
  uses: number[];
}

/** The distinct operations, one of each, and how often each occurs. */
async function operationsOf(bench: Bench): Promise<Found[]> {
  const found = new Map<string, Found>();
  const eye = await openEye(bench);
  try {
    const [width, height] = eye.ownSize;
    const { config, checkpoint } = await eye.autoencoder();
    const taps = await eye.taps(eye.latentDims(eye.ownSize));
    const tap = (id: string) => [taps.find((one) => one.id === id)!.value];
    const vae = encodeImage(Scope.of(checkpoint), config, input("pixels", [1, 3, height, width]));
    [Object.values(vae), tap(defaultTap), tap("unet-out")].forEach((outputs: Value[], network) => {
      for (const value of topologicalOrder(outputs)) {
        if (!isOp(value, "conv2d") && !isOp(value, "attention")) continue;
        const operation = describe(value);
        const entry = found.get(operation) ?? { operation, value, uses: [0, 0, 0] };
        entry.uses[network]!++;
        found.set(operation, entry);
      }
    });
  } finally {
    await eye.release();
  }
  return [...found.values()];
}

/** Seconds that a round goes on at least, for operations that take less. */
const leastRound = 0.05;

/**
 * One operation on made-up numbers and its own weights, each way in turn.
 * @returns the least time by way, less what comes around the operation
 */
async function timeWays(
  { rounds, threads, memory }: Bench,
  like: Operation,
  table: Kernels,
  ways: ReadonlyMap<string, Partial<Kernels>>,
): Promise<Record<string, number>> {
  const feeds = { shift: Tensor.f32([1]) };
  const least = new Map<string, number>();
  const engines: Engine[] = [];
  const programs = new Map<string, Program>();
  try {
    for (const [name, way] of ways) {
      const engine = await Engine.open({ device: "cpu", memory, threads, kernels: { ...table, ...way } });
      engines.push(engine);
      const { result, inputs } = remake(like);
      programs.set(name, engine.compile({ corner: corner(result) }));
      const corners = Object.fromEntries(inputs.map((value, i) => [`corner${i}`, corner(value)]));
      if (!programs.has("")) programs.set("", engine.compile(corners));
    }
    for (let round = 0; round <= rounds; round++) {
      for (const [name, program] of programs) {
        for (let spent = 0; spent < leastRound; ) {
          const took = await seconds(() => program.run(feeds));
          spent += took;
          // The first run makes the session.
          if (round > 0) least.set(name, Math.min(least.get(name) ?? Number.POSITIVE_INFINITY, took));
          else break;
        }
      }
    }
  } finally {
    for (const engine of engines) await engine.dispose();
  }
  const around = least.get("")!;
  return Object.fromEntries(
    [...ways.keys()].map((name) => [name, Math.max(1e-6, least.get(name)! - around)]),
  );
}

/** The same operation on numbers that are made in the graph, and those numbers. */
function remake(like: Operation): { result: Value; inputs: Value[] } {
  const shift = input("shift", [1]);
  if (isOp(like, "attention")) {
    const [q, k, v] = like.inputs.map(({ dims }) => varied(dims, shift)) as [Value, Value, Value];
    return { result: attention(q, k, v, like.attributes), inputs: [q, k, v] };
  }
  const [from, weight, bias] = like.inputs as [Value, Value, Value | undefined];
  const x = varied(from.dims, shift);
  return { result: conv2d(x, weight, bias, like.attributes), inputs: [x] };
}

/** A tensor that changes along every axis; as it depends on an input, nothing is folded when the session is made. */
function varied(dims: Dims, shift: Value): Value {
  return dims.reduce<Value>((sum, size, axis) => {
    const numbers = new TorchGenerator(axis).randn([size]);
    return add(sum, constant(numbers.reshape(dims.map((_, i) => (i === axis ? size : 1)))));
  }, shift);
}

/** One number of a tensor, so that the result costs nothing to bring over. */
function corner(x: Value): Value {
  return x.dims.reduce<Value>((part, _, axis) => slice(part, axis, 0, 1), x);
}

export function writeKernels(results: readonly OperationTimes[], peak: number): string {
  const rows = results.map(({ operation, uses, flops, chosen, times }) => {
    const sorted = Object.entries(times).sort(([, a], [, b]) => a - b);
    const time = times[chosen]!;
    const [fastest, least] = sorted[0]!;
    return [
      operation,
      uses.join(" / "),
      chosen,
      duration(time),
      `${((100 * flops) / time / peak).toFixed(0)} %`,
      fastest === chosen ? "chosen" : `${fastest}, ${(time / least).toFixed(2)} times as fast`,
      sorted.map(([name, value]) => `${name} ${duration(value)}`).join(", "),
    ];
  });
  const head = ["operation", "in VAE / to tap / U-Net", "chosen", "takes", "of peak", "fastest here", "all"];
  return table(head, rows);
}
