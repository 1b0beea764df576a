/** @file Weights of 4 and 8 bits: how far they are off, what is computed with them, and the command that makes them. */

import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import { input, parameter, quantizedLinear } from "../src/graph/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";
import { LanguageModel, openLlava, quantizeLanguageModel } from "../src/vlm/index.js";
import {
  type Checkpoint,
  dequantizeMatrix,
  openCheckpoint,
  openModel,
  type Quantization,
  quantizeMatrix,
} from "../src/weights/index.js";
import { run, temporaryFolder } from "./cli.js";
import { goldenPath, maxDifference } from "./golden.js";

const folder = temporaryFolder();
const bytesOf = ({ data }: Tensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** √(Σ (a - b)² / Σ b²) */
function relativeError(a: Tensor, b: Tensor): number {
  const [x, y] = [a.toFloat32(), b.toFloat32()];
  const off = x.reduce((sum, one, i) => sum + (one - y[i]!) ** 2, 0);
  return Math.sqrt(off / y.reduce((sum, one) => sum + one * one, 0));
}

const settings: Quantization[] = [
  { bits: 4, block: 32 },
  { bits: 4, block: 64 },
  { bits: 8, block: 32 },
  { bits: 8, block: 128 },
];

describe("a matrix", () => {
  it.each([
    [{ bits: 4, block: 32 } as const, 0.09],
    [{ bits: 4, block: 128 } as const, 0.11],
    [{ bits: 8, block: 32 } as const, 0.006],
  ])("of normal numbers in %j is off by less than %f of its size, as reported", (quantization, most) => {
    const matrix = new TorchGenerator(1).randn([40, 256]);
    const made = quantizeMatrix(matrix, quantization);
    const error = relativeError(dequantizeMatrix(made, quantization.block), matrix);
    expect(error).toBeLessThan(most);
    expect(Math.sqrt(made.error / made.size)).toBeCloseTo(error, 5);
  });

  it("that has few bits already stays what it is, in any float type", () => {
    const numbers = Float32Array.from({ length: 4 * 64 }, (_, i) => ((i * 7) % 16) - 8);
    for (const dtype of ["f32", "f16", "bf16"] as const) {
      const matrix = Tensor.f32([4, 64], numbers).to(dtype);
      const made = quantizeMatrix(matrix, { bits: 4, block: 16 });
      expect(maxDifference(dequantizeMatrix(made, 16), matrix)).toBe(0);
    }
  });

  it("is off by no more than half a step and what the largest weight's step leaves", () => {
    const weights = fc.array(fc.float({ noNaN: true, min: -1000, max: 1000 }), {
      minLength: 32,
      maxLength: 32,
    });
    fc.assert(
      fc.property(weights, fc.constantFrom<4 | 8>(4, 8), (row, bits) => {
        const matrix = Tensor.f32([1, 32], row);
        const made = quantizeMatrix(matrix, { bits, block: 32 });
        const largest = row.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
        const size = Math.hypot(...row);
        // With the largest weight's own step each is off by half of it at most, and the opposite extreme by a whole one.
        const allowed = Math.hypot(largest / 2 ** (bits - 1), (Math.sqrt(32) * largest) / 2 ** bits);
        expect(Math.sqrt(made.error)).toBeLessThanOrEqual(Math.min(allowed, size) * 1.001 + 1e-30);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    [{ bits: 5, block: 32 }, "4 or 8 bits, not 5"],
    [{ bits: 4, block: 48 }, "not 48"],
    [{ bits: 4, block: 128 }, "[2, 64] has no rows of blocks of 128"],
  ])("is refused with %j", (quantization, words) => {
    expect(() => quantizeMatrix(Tensor.f32([2, 64]), quantization as Quantization)).toThrow(words);
  });

  it("with a number that is none is refused", () => {
    const numbers = new Float32Array(32).fill(Number.NaN);
    expect(() => quantizeMatrix(Tensor.f32([1, 32], numbers), { bits: 4, block: 32 })).toThrow(
      "no finite number",
    );
  });
});

describe.each(settings)("a product with weights in %j", ({ bits, block }) => {
  it.each([
    ["f32", 2e-6],
    ["i8", 0.01],
  ] as const)("and activations in %s is that with the numbers they stand for", async (activations, most) => {
    const generator = new TorchGenerator(2);
    const [matrix, x] = [generator.randn([48, 256]), generator.randn([5, 256])];
    const made = quantizeMatrix(matrix, { bits, block });
    const weight = parameter("w", made.weight.dims, "u8", { bytes: bytesOf(made.weight) });
    const scales = parameter("s", made.scales.dims, "f32", { bytes: bytesOf(made.scales) });
    const y = quantizedLinear(input("x", x.dims), weight, scales, undefined, { bits, block, activations });
    const stood = dequantizeMatrix(made, block).toFloat32();
    const expected = Tensor.f32(
      [5, 48],
      Float32Array.from({ length: 5 * 48 }, (_, i) => {
        let sum = 0;
        const [row, column] = [Math.floor(i / 48) * 256, (i % 48) * 256];
        for (let k = 0; k < 256; k++) sum += (x.data[row + k] as number) * stood[column + k]!;
        return sum;
      }),
    );
    for (const memory of ["fast", "mmap"] as const) {
      await using engine = await Engine.open({ device: "cpu", host: "here", memory });
      const results = await engine.compile({ y }).run({ x });
      expect(relativeError(results.y!, expected), memory).toBeLessThan(most);
    }
  });
});

/** The same weights, those of few bits replaced by what they stand for. */
async function stoodFor(checkpoint: Checkpoint, block: number): Promise<Checkpoint> {
  const entries = new Map(checkpoint.entries);
  for (const key of [...entries.keys()].filter((one) => one.endsWith("_scales"))) {
    const own = key.replace(/_scales$/, "");
    const [weight, scales] = [await checkpoint.read(own), await checkpoint.read(key)];
    const matrix = dequantizeMatrix({ weight, scales }, block);
    entries.delete(key);
    entries.set(own, { dtype: "f32", dims: [...matrix.dims], storage: { bytes: bytesOf(matrix) } });
  }
  return { ...checkpoint, entries };
}

describe("a language model", () => {
  it.each([
    ["llama", { bits: 4, block: 16 } as const, 15],
    ["llama-gqa", { bits: 8, block: 32 } as const, 15],
    ["qwen2", { bits: 4, block: 32 } as const, 15],
  ])("%s in %j scores as with the numbers its weights stand for", async (name, quantization, matrices) => {
    const out = path.join(folder, name);
    const report = await quantizeLanguageModel(await openModel(goldenPath(name)), out, quantization);
    expect(report.tensors).toHaveLength(matrices);
    expect(report.bytes.after).toBeLessThan(report.bytes.before);
    expect(report.error).toBeLessThan(quantization.bits === 4 ? 0.1 : 0.01);

    const config = JSON.parse(readFileSync(path.join(out, "config.json"), "utf8"));
    expect(config.quantization_config).toEqual({
      quant_method: "diffsight",
      bits: quantization.bits,
      block_size: quantization.block,
      scales: "<key>_scales",
    });
    expect(existsSync(path.join(out, "generation_config.json"))).toBe(true);

    const options = { device: "cpu", host: "here" } as const;
    const checkpoint = await openCheckpoint(path.join(out, "model.safetensors"));
    await using few = await LanguageModel.fromPretrained(out, options);
    await using same = await LanguageModel.open(
      config,
      await stoodFor(checkpoint, quantization.block),
      options,
    );
    const [a, b] = await Promise.all([few, same].map((model) => model.read([[5, 6, 7, 8, 9]])));
    const scores = [a!, b!].map(({ place }) => Tensor.f32([place!.logits.length], place!.logits));
    expect(relativeError(scores[0]!, scores[1]!)).toBeLessThan(0.03);
    const answer = few.generate([[5, 6, 7]], { maxTokens: 3, ignoreEos: true });
    for await (const _ of answer);
    expect(answer.ids).toHaveLength(3);
  });

  it("of a LLaVA is quantised alone, and opens with the rest", async () => {
    const out = path.join(folder, "llava");
    const report = await quantizeLanguageModel(await openModel(goldenPath("llava")), out, {
      bits: 4,
      block: 32,
    });
    expect(report.tensors).toHaveLength(15);
    const { language, vision } = await openLlava(await openModel(out));
    const types = (checkpoint: Checkpoint) =>
      new Set([...checkpoint.entries.values()].map(({ dtype }) => dtype));
    expect(types(language.checkpoint).has("u8")).toBe(true);
    expect(types(vision.checkpoint).has("u8")).toBe(false);
  });

  it("whose vision encoder lies in its own folder is refused by the field that says so", async () => {
    const at = path.join(folder, "inside");
    cpSync(goldenPath("llava"), at, { recursive: true });
    const file = path.join(at, "config.json");
    const json = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...json, mm_vision_tower: "./tower" }));
    const work = quantizeLanguageModel(await openModel(at), path.join(folder, "out"), { bits: 4, block: 32 });
    await expect(work).rejects.toThrow(/vision encoder in \.\/tower.*mm_vision_tower/);
  });

  it("that is cancelled leaves nothing behind", async () => {
    const cancel = new AbortController();
    const out = path.join(folder, "cancelled");
    const work = quantizeLanguageModel(await openModel(goldenPath("llama")), out, {
      bits: 4,
      block: 32,
      signal: cancel.signal,
      onProgress: ({ done }) => void (done === 5 && cancel.abort()),
    });
    await expect(work).rejects.toMatchObject({ code: "ABORTED" });
    expect(readdirSync(folder).filter((name) => name.includes("cancelled"))).toEqual([]);
  });

  it("of another quantisation is refused by name", async () => {
    const json = { model_type: "llama", quantization_config: { quant_method: "gptq" } };
    const refused = LanguageModel.open(json, await openCheckpoint(goldenPath("llama", "model.safetensors")));
    await expect(refused).rejects.toThrow("quantization_config.quant_method");
  });
});

describe("diffsight quantize", () => {
  const model = goldenPath("llama");

  it("says what it made, as text and as JSON", async () => {
    const [text, json] = await Promise.all([
      run(["quantize", model, "-o", path.join(folder, "text")]),
      run([
        "quantize",
        model,
        "-o",
        path.join(folder, "json"),
        "--bits",
        "8",
        "--block",
        "16",
        "--keep-head",
        "--json",
      ]),
    ]);
    expect([text.status, json.status]).toEqual([0, 0]);
    expect(text.stdout).toMatch(/2 matrices of 4 bits in blocks of 64\n.* before, .* now\noff by .* %/);
    expect(text.stderr).toMatch(/13 linear layers stay as they are, .* blocks of 64 \(.*, and 10 more\)/);
    expect(json.stderr).not.toMatch(/stay as they are/);
    const { bits, block, tensors } = JSON.parse(json.stdout);
    expect([bits, block, tensors.length]).toEqual([8, 16, 14]);
  });

  it("misused says how, and ends with 2; with models that it does not know, 1", async () => {
    await mkdir(path.join(folder, "full"));
    await writeFile(path.join(folder, "full", "a"), "");
    const cases: [string[], number, string][] = [
      [[model, "-o", path.join(folder, "x"), "--bits", "5"], 2, "4 or 8 bits, not 5"],
      [[model, "-o", path.join(folder, "x"), "--block", "20"], 2, "not 20"],
      [[model, "-o", path.join(folder, "full")], 2, "has files in it"],
      [[goldenPath("clip-text-sd21"), "-o", path.join(folder, "x")], 1, "not supported"],
      [[goldenPath("nowhere"), "-o", path.join(folder, "x")], 1, "nowhere"],
    ];
    const ended = await Promise.all(cases.map(([args]) => run(["quantize", ...args])));
    ended.forEach(({ status, stderr }, i) => {
      expect([status, stderr]).toEqual([cases[i]![1], expect.stringContaining(cases[i]![2])]);
    });
    expect(existsSync(path.join(folder, "x"))).toBe(false);
  });
});
