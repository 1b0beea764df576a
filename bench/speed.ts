/** @file Speed beside the peer: the U-Net, the autoencoder, the text encoder, CLIP's eye, an image from file to features. */

import { readFile } from "node:fs/promises";
import path from "node:path";
import { defaultTap, encodeImages } from "../src/diffusion/encode.js";
import { Eye } from "../src/diffusion/eye.js";
import type { Tensors } from "../src/diffusion/memory.js";
import { Pipeline } from "../src/diffusion/pipeline.js";
import { Engine, type Preset } from "../src/engine/index.js";
import { flops, input, type Value } from "../src/graph/index.js";
import { blankImage, decodeImage, encodePng, fitImage, vaePixels } from "../src/image/index.js";
import { clipText, encodeImage, readVisionEncoder } from "../src/models/index.js";
import { decodeSafetensors, encodeSafetensors, Tensor, TorchGenerator } from "../src/tensor/index.js";
import { openModel, Scope, writeFileAtomic } from "../src/weights/index.js";
import { writeModel } from "./checkpoint.js";
import { visionTensors } from "./layout.js";
import { alternate, difference, type Summary, seconds } from "./measure.js";
import type { Peer, PeerWork } from "./peer.js";
import { clipLarge336 } from "./published.js";

export interface Bench {
  /** A checkpoint in diffusers' layout. */
  folder: string;
  /** For inputs, outputs and images of the rounds. */
  scratch: string;
  rounds: number;
  threads: number;
  memory: Preset;
  peer: Peer | undefined;
  note(message: string): void;
}

export interface Target {
  atLeast: number;
  aim: number;
}

/** One work of both sides. */
export interface Comparison {
  work: string;
  /** Floating-point operations of its products, done directly and with nothing shared. */
  flops: number;
  ours: Summary;
  peer?: Summary;
  /** How the peer does it fastest. */
  way?: string;
  /** Largest |a - b| / rms, of each result. */
  differences?: Record<string, number>;
  target: Target;
}

const timestep = 50;
const guidance = 4;

export async function openEye(
  { folder, memory, threads }: Pick<Bench, "folder" | "memory" | "threads">,
  profile?: string,
): Promise<Eye> {
  const options = { device: "cpu", memory, threads, ...(profile && { profile }) } as const;
  return new Eye(await Pipeline.open(folder), await Engine.open(options));
}

/** Opens an eye for some work and frees everything afterwards, on both sides. */
async function withEye<T>(bench: Bench, work: (eye: Eye) => Promise<T>): Promise<T> {
  const eye = await openEye(bench);
  try {
    return await work(eye);
  } finally {
    await eye.release();
    await bench.peer?.close();
  }
}

interface Job {
  work: string;
  flops: number;
  target: Target;
  ours(round: number): Promise<Tensors>;
  theirs(round: number): PeerWork;
}

/** Rounds of both sides in turn; then the results of the last round beside each other. */
async function compare(
  { peer, rounds, scratch, note }: Bench,
  { work, flops, target, ours, theirs }: Job,
): Promise<Comparison> {
  let results: Tensors = {};
  const own = (round: number) =>
    seconds(async () => {
      results = await ours(round);
    });
  note(`${work}: diffsight warms up`);
  note(`${work}: first round in ${(await own(0)).toFixed(1)} s, sessions included`);
  if (!peer) return { work, flops, target, ...(await alternate(rounds, { ours: own })) };

  const way = await peer.prepare(theirs(0));
  note(`${work}: diffusers is fastest with ${way}`);
  const output = path.join(scratch, "peer.safetensors");
  const run = (round: number) => peer.run(theirs(round), round === rounds ? output : undefined);
  const times = await alternate(rounds, { ours: own, peer: run });
  const expected = decodeSafetensors(await readFile(output)).tensors;
  const differences = Object.fromEntries(
    [...expected].map(([name, tensor]) => [name, difference(results[name]!, tensor)]),
  );
  note(`${work}: ${(times.peer.median / times.ours.median).toFixed(2)} times as fast`);
  return { work, flops, target, ...times, way, differences };
}

// The works

/** A noisy latent and two texts' states as a text encoder's last norm leaves them. */
async function unetInputs(eye: Eye, scratch: string) {
  const latent = eye.latentDims(eye.ownSize);
  const generator = new TorchGenerator(1);
  const sample = generator.randn(latent);
  const [, length, width] = (await eye.textEncoder()).dims.states as [number, number, number];
  const texts = generator.randn([2, length, width]);
  const file = path.join(scratch, "unet.safetensors");
  await writeFileAtomic(file, encodeSafetensors({ sample, texts }));
  const states = [0, 1].map((i) => {
    const data = texts.toFloat32().slice(i * length * width, (i + 1) * length * width);
    return { states: Tensor.f32([1, length, width], data) };
  });
  return { latent, sample, states, file };
}

/** The U-Net up to the paper's tap, for one text and for two; and the whole U-Net. */
export async function compareUnet(bench: Bench, wanted: readonly ("tap" | "pair" | "whole")[]) {
  const { scratch } = bench;
  return withEye(bench, async (eye) => {
    const { latent, sample, states, file } = await unetInputs(eye, scratch);
    const [u, c] = states as [(typeof states)[0], (typeof states)[0]];
    const compile = async (tap: string) => {
      let value: Value | undefined;
      const chosen = await eye.passes(latent, tap, (find) => ({ output: (value = find(tap).value) }));
      return { passes: chosen.passes, flops: flops([value!]) };
    };
    const request = { inputs: file, timestep };
    const results: Comparison[] = [];
    if (wanted.includes("tap") || wanted.includes("pair")) {
      const { passes, flops: once } = await compile(defaultTap);
      if (wanted.includes("tap")) {
        const job = {
          work: "U-Net to U-L1-R1-B0-Cross-Q",
          flops: once,
          target: { atLeast: 1.5, aim: 1.8 },
          ours: async () => passes.bound(await passes.free(sample, timestep), u, sample, timestep),
          theirs: () => ({ work: "unet-tap" as const, ...request }),
        };
        results.push(await compare(bench, job));
      }
      if (wanted.includes("pair")) {
        const job = {
          work: "the same for u and c",
          flops: 2 * once,
          target: { atLeast: 1.5, aim: 1.8 },
          ours: async () => {
            const shared = await passes.free(sample, timestep);
            const unconditional = await passes.bound(shared, u, sample, timestep);
            const conditional = await passes.bound(shared, c, sample, timestep);
            return { unconditional: unconditional.output!, conditional: conditional.output! };
          },
          theirs: () => ({ work: "unet-pair" as const, ...request }),
        };
        results.push(await compare(bench, job));
      }
    }
    if (wanted.includes("whole")) {
      const { passes, flops: once } = await compile("unet-out");
      const job = {
        work: "whole U-Net",
        flops: once,
        target: { atLeast: 1.35, aim: 1.65 },
        ours: async () => passes.bound(await passes.free(sample, timestep), u, sample, timestep),
        theirs: () => ({ work: "unet-whole" as const, ...request }),
      };
      results.push(await compare(bench, job));
    }
    return results;
  });
}

/** Pixels of an image to the posterior of its latent. */
export async function compareVae(bench: Bench): Promise<Comparison> {
  return withEye(bench, async (eye) => {
    const [width, height] = eye.ownSize;
    const picture = await decodeImage(await writeImage(bench.scratch, 0));
    const pixels = vaePixels(fitImage(picture, { width, height, fit: "squash", filter: "lanczos" }));
    const inputs = path.join(bench.scratch, "vae.safetensors");
    await writeFileAtomic(inputs, encodeSafetensors({ pixels }));
    const autoencoder = await eye.autoencoder();
    return compare(bench, {
      work: `VAE encoder, ${width} px`,
      flops: await vaeFlops(eye),
      target: { atLeast: 1.25, aim: 1.6 },
      ours: () => autoencoder.encode(pixels),
      theirs: () => ({ work: "vae", inputs }),
    });
  });
}

async function vaeFlops(eye: Eye): Promise<number> {
  const { config, checkpoint } = await eye.autoencoder();
  const [width, height] = eye.ownSize;
  const encoded = encodeImage(Scope.of(checkpoint), config, input("pixels", [1, 3, height, width]));
  return flops(Object.values(encoded));
}

async function textFlops(eye: Eye): Promise<number> {
  const { towers } = await eye.textEncoder();
  return flops(
    towers.map(({ tokenizer, config, checkpoint }) => {
      const ids = input("ids", [1, tokenizer.length], "i64");
      return clipText(Scope.of(checkpoint), config, ids).lastHiddenState;
    }),
  );
}

/** A prompt that nobody has asked before, so that nothing is remembered of it. */
const question = (round: number, of = "a") => `is the dog facing left? ${of}${round}`;

/** A prompt to its states, tokens included. */
export async function compareText(bench: Bench): Promise<Comparison> {
  return withEye(bench, async (eye) =>
    compare(bench, {
      work: "text encoder, 77 tokens",
      flops: await textFlops(eye),
      target: { atLeast: 1.1, aim: 1.2 },
      ours: async (round) => ({ states: (await eye.text(question(round), {})).states }),
      theirs: (round) => ({ work: "text", prompt: question(round) }),
    }),
  );
}

/** Image file to features file at guidance 4, everything loaded; each round a new image and a new question. */
export async function compareExtract(bench: Bench): Promise<Comparison> {
  const images = await writeImages(bench);
  const place = (side: string, round: number) => path.join(bench.scratch, `${side}-${round}.safetensors`);
  return withEye(bench, async (eye) => {
    const taps = await eye.taps(eye.latentDims(eye.ownSize));
    const pass = flops([taps.find(({ id }) => id === defaultTap)!.value]);
    return compare(bench, {
      work: "extract, image file to features file",
      flops: (await vaeFlops(eye)) + (await textFlops(eye)) + 2 * pass,
      target: { atLeast: 1.35, aim: 1.6 },
      ours: async (round) => {
        const [seen] = await encodeImages(
          eye,
          [images[round]!],
          { prompt: question(round), guidance, timesteps: [timestep] },
          {},
        );
        await writeFileAtomic(place("ours", round), encodeSafetensors(seen!.tensors));
        return { features: seen!.features };
      },
      theirs: (round) => ({
        work: "extract",
        image: images[round]!,
        prompt: question(round),
        features: place("peer", round),
      }),
    });
  });
}

export interface QuestionCost {
  first: Summary;
  second: Summary;
  /** A conditional pass without its text-free part, and the text encoder. */
  parts: Summary;
}

/** What a second question about an image costs, beside the first one and beside its bare parts. */
export async function measureQuestion(bench: Bench): Promise<QuestionCost> {
  const images = await writeImages(bench);
  return withEye(bench, async (eye) => {
    const ask = (round: number, of: string) => () => {
      const options = { prompt: question(round, of), guidance, timesteps: [timestep] };
      return encodeImages(eye, [images[round]!], options, {});
    };
    await ask(0, "warm")();
    const { latent, sample } = await unetInputs(eye, bench.scratch);
    const { passes } = await eye.passes(latent, defaultTap, (find) => ({
      [defaultTap]: find(defaultTap).value,
    }));
    const shared = await passes.free(sample, timestep);
    return alternate(bench.rounds, {
      first: (round) => seconds(ask(round, "first")),
      second: (round) => seconds(ask(round, "second")),
      parts: (round) =>
        seconds(async () => {
          const states = await eye.text(question(round, "parts"), {});
          await passes.bound(shared, states, sample, timestep);
        }),
    });
  });
}

/** A picture of its own for each round, the warm-up among them. */
async function writeImages({ scratch, rounds }: Bench): Promise<string[]> {
  const files: string[] = [];
  for (let round = 0; round <= rounds; round++) files.push(await writeImage(scratch, round));
  return files;
}

/** A PNG of soft waves and some grain, 768 x 512. */
export async function writeImage(scratch: string, round: number): Promise<string> {
  const file = path.join(scratch, `image-${round}.png`);
  const [width, height] = [768, 512];
  const waves = new TorchGenerator(round).rand([3, 8, 4]).toFloat32();
  const grain = new TorchGenerator(1000 + round).randn([height, width]).toFloat32();
  const image = blankImage(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        let value = 128 + 6 * grain[y * width + x]!;
        for (let k = 0; k < 8; k++) {
          const [fx, fy, phase, strength] = waves.subarray((c * 8 + k) * 4) as unknown as number[];
          value += 30 * strength! * Math.cos(0.05 * (fx! * x + fy! * y) + 6.3 * phase!);
        }
        image.data[(y * width + x) * 3 + c] = Math.max(0, Math.min(255, Math.round(value)));
      }
    }
  }
  await writeFileAtomic(file, encodePng(image));
  return file;
}

/** LLaVA-1.5's eye: CLIP-L/14-336 to the states before its last layer. */
export async function compareVision(bench: Bench): Promise<Comparison> {
  const place = path.resolve(bench.folder, "../clip-l14-336-f32");
  const folder = await writeModel(place, clipLarge336, visionTensors(clipLarge336), bench.note);
  const model = await openModel(folder);
  const encoder = readVisionEncoder(await model.json("config.json"));
  await using engine = await Engine.open({ device: "cpu", memory: bench.memory, threads: bench.threads });
  const side = encoder.imageSize;
  const shape = [1, 3, side, side];
  const { hiddenStates } = encoder.states(Scope.of(await model.checkpoint("")), input("pixels", shape));
  const states = hiddenStates.at(-2)!;
  const program = engine.compile({ states });
  const pixels = new TorchGenerator(1).randn(shape);
  const inputs = path.join(bench.scratch, "vision.safetensors");
  await writeFileAtomic(inputs, encodeSafetensors({ pixels }));
  const result = await compare(bench, {
    work: `CLIP-L/14, ${side} px`,
    flops: flops([states]),
    target: { atLeast: 1.2, aim: 1.2 },
    ours: () => program.run({ pixels }),
    theirs: () => ({ work: "vision", inputs, model: folder }),
  });
  await bench.peer?.close();
  return result;
}
