/** @file Every convolution of the networks alone, by each algorithm: what the table in src/graph chooses from. */

import { defaultTap } from "../src/diffusion/encode.js";
import { Engine } from "../src/engine/index.js";
import {
  add,
  type ConvolutionAlgorithm,
  conv2d,
  fastKernels,
  fitsWinograd,
  flopsOf,
  input,
  isOp,
  parameter,
  slice,
  topologicalOrder,
  type Value,
} from "../src/graph/index.js";
import { encodeImage } from "../src/models/index.js";
import { count, type Dims, Tensor, TorchGenerator } from "../src/tensor/index.js";
import { Scope } from "../src/weights/index.js";
import { duration, seconds, table } from "./measure.js";
import { type Bench, openEye } from "./speed.js";

const algorithms: readonly ConvolutionAlgorithm[] = [
  "direct",
  { m: 2, order: "tiles" },
  { m: 2, order: "channels" },
  { m: 4, order: "tiles" },
  { m: 4, order: "channels" },
];

export interface ConvolutionTimes {
  shape: string;
  /** How many there are in the VAE's encoder, the U-Net up to the paper's tap, and the whole U-Net. */
  uses: readonly [vae: number, tap: number, unet: number];
  flops: number;
  chosen: string;
  /** Seconds by algorithm, the fastest of the rounds. */
  times: Record<string, number>;
}

function nameOf(algorithm: ConvolutionAlgorithm): string {
  return algorithm === "direct" ? "direct" : `F${algorithm.m} ${algorithm.order}`;
}

function shapeOf({ inputs, attributes, dims }: Value<"conv2d">): string {
  const [to, from, kernel] = inputs[1]!.dims;
  const stride = attributes.stride > 1 ? ` stride ${attributes.stride}` : "";
  return `${kernel}x${kernel}${stride} ${from} -> ${to} @ ${dims[2]}x${dims[3]}`;
}

export async function timeConvolutions(bench: Bench): Promise<ConvolutionTimes[]> {
  const { found, uses } = await convolutionsOf(bench);
  const results: ConvolutionTimes[] = [];
  for (const [shape, value] of found) {
    const times: Record<string, number> = {};
    for (const algorithm of fitsWinograd(value) ? algorithms : (["direct"] as const)) {
      times[nameOf(algorithm)] = await timeOne(bench, value, algorithm);
    }
    const chosen = nameOf(bench.memory === "fast" ? fastKernels.convolution(value) : "direct");
    results.push({ shape, uses: uses.get(shape)!, flops: flopsOf(value), chosen, times });
    bench.note(`${shape}: ${JSON.stringify(times)}`);
  }
  return results;
}

/** The distinct convolutions, one of each, and how often each occurs. */
async function convolutionsOf(bench: Bench) {
  const found = new Map<string, Value<"conv2d">>();
  const uses = new Map<string, [number, number, number]>();
  const eye = await openEye(bench);
  try {
    const [width, height] = eye.ownSize;
    const { config, checkpoint } = await eye.autoencoder();
    const taps = await eye.taps(eye.latentDims(eye.ownSize));
    const tap = (id: string) => [taps.find((one) => one.id === id)!.value];
    const vae = encodeImage(Scope.of(checkpoint), config, input("pixels", [1, 3, height, width]));
    [Object.values(vae), tap(defaultTap), tap("unet-out")].forEach((outputs: Value[], network) => {
      for (const value of topologicalOrder(outputs)) {
        if (!isOp(value, "conv2d")) continue;
        const shape = shapeOf(value);
        found.set(shape, value);
        const counts = uses.get(shape) ?? [0, 0, 0];
        counts[network]!++;
        uses.set(shape, counts);
      }
    });
  } finally {
    await eye.release();
  }
  return { found, uses };
}

/** One convolution on numbers that the graph holds itself; what comes around it is measured too and taken off. */
async function timeOne(
  bench: Bench,
  like: Value<"conv2d">,
  algorithm: ConvolutionAlgorithm,
): Promise<number> {
  const { rounds, threads, memory } = bench;
  const kernels = { convolution: () => algorithm };
  const engine = await Engine.open({ device: "cpu", memory, threads, kernels });
  try {
    const [from, weight, bias] = like.inputs;
    const x = add(random(from!.dims), input("shift", [1]));
    const scale = count(weight!.dims.slice(1)) ** -0.5;
    const convolved = conv2d(x, random(weight!.dims, scale), bias && random(bias.dims), like.attributes);
    const around = engine.compile({ corner: corner(x) });
    const whole = engine.compile({ corner: corner(convolved) });
    let [least, alone] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round <= rounds; round++) {
      const feeds = { shift: Tensor.f32([1]) };
      const [empty, full] = [await seconds(() => around.run(feeds)), await seconds(() => whole.run(feeds))];
      if (round > 0) [alone, least] = [Math.min(alone, empty), Math.min(least, full)];
    }
    return Math.max(0, least - alone);
  } finally {
    await engine.dispose();
  }
}

function random(dims: Dims, scale = 1): Value {
  const numbers = new TorchGenerator(count(dims)).rand([count(dims)]).toFloat32();
  const bytes = new Uint8Array(numbers.map((value) => scale * (2 * value - 1)).buffer);
  return parameter("random", dims, "f32", { bytes });
}

/** One number of a grid, so that the result costs nothing to bring over. */
function corner(x: Value): Value {
  return x.dims.reduce((part, _, axis) => slice(part, axis, 0, 1), x);
}

export function writeConvolutions(results: readonly ConvolutionTimes[], peak: number): string {
  const names = algorithms.map(nameOf);
  const rows = results.map(({ shape, uses, flops, chosen, times }) => {
    const best = Math.min(...Object.values(times));
    const share = `${((100 * flops) / (times[chosen] ?? best) / peak).toFixed(0)} %`;
    const cells = names.map((name) => {
      const time = times[name];
      if (time === undefined) return "";
      return `${duration(time)}${name === chosen ? " *" : ""}${time === best ? " !" : ""}`;
    });
    return [shape, uses.join(" / "), ...cells, share];
  });
  const head = ["convolution", "in VAE / tap / U-Net", ...names, "chosen: of peak"];
  return `${table(head, rows)}\n\n\\* what the table chooses, ! the fastest here`;
}
