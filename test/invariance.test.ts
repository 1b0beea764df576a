/** @file What must not change a result: threads, batches, order, what was asked before, what else is asked. */

import { createHash } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import {
  DiffusionEncoder,
  type EncodeOptions,
  type EncoderOptions,
  type Features,
} from "../src/diffusion/index.js";
import { Engine, type Preset } from "../src/engine/index.js";
import { attention, conv2d, linear, matmul } from "../src/graph/index.js";
import type { Tensor } from "../src/tensor/index.js";
import { Golden, goldenPath, maxDifference } from "./golden.js";
import { Bench, bytesOf, compute, describeValue } from "./reference/bench.js";
import { sample, uses } from "./reference/cases.js";

/** Names of tensors and a digest of their bits. */
function bits(tensors: Iterable<readonly [string, Tensor]>): Record<string, string> {
  const digest = (tensor: Tensor) => createHash("sha1").update(bytesOf(tensor)).digest("hex");
  return Object.fromEntries([...tensors].map(([name, tensor]) => [name, digest(tensor)]));
}

const bitsOf = (features: Features) => bits(features.tensors);

describe.each(["pipeline-sd21", "pipeline-sd15"])("%s", (folder) => {
  const golden = new Golden(folder);
  const image = (name: string) => goldenPath(folder, "images", name);
  const [a, b] = [image("a.png"), image("b.png")];
  const prompt = "a photo of a red circle";
  const size = 64;

  describe.each<Preset>(["fast", "mmap"])("%s", (memory) => {
    const open = (options: EncoderOptions = {}) =>
      DiffusionEncoder.fromPretrained(goldenPath(folder), { device: "cpu", memory, threads: 2, ...options });
    const opened = open();
    afterAll(async () => (await opened).release());

    const taps = ["U-L1-R1-B0-Cross-Q", "up-level2-repeat2-res-out", "mid-vit-out"];
    const options: EncodeOptions = {
      prompt,
      taps,
      size,
      parts: ["unconditional", "conditional", "delta", "guided"],
    };

    it("bits do not depend on the number of threads", async () => {
      const made = async (threads: number) => {
        await using eye = await open({ threads });
        const all = (await eye.taps({ size }))
          .filter(({ classic }, i) => classic && i % 5 === 0)
          .map(({ id }) => id);
        const seen = await eye.encode(b, { ...options, taps: all, parts: ["unconditional", "conditional"] });
        const maps = await eye.attend(a, { prompt, size });
        const scores = await eye.score(a, [prompt, "two small boats"], { size, timesteps: [189, 789] });
        const drawn = await eye.generate(prompt, { steps: 2, size });
        return {
          features: bitsOf(seen),
          maps: bits([["words", maps.tokens]]),
          scores: scores.map(({ score }) => score),
          drawn: createHash("sha1").update(drawn.data).digest("hex"),
        };
      };
      const one = await made(1);
      expect(await made(2)).toEqual(one);
    });

    it("bits do not depend on batch, order, or what was asked before", async () => {
      const eye = await opened;
      await using other = await open();
      const [first, second] = await eye.encode([a, b], options);
      const [turnedSecond, turnedFirst] = await other.encode([b, a], options);
      expect(bitsOf(turnedFirst!)).toEqual(bitsOf(first!));
      expect(bitsOf(turnedSecond!)).toEqual(bitsOf(second!));

      // The same question again, after others about the same picture, and without any memory of it
      await eye.encode(a, { ...options, prompt: "two small boats" });
      await eye.encode(a, { ...options, prompt: "", taps: taps.slice(1) });
      expect(bitsOf(await eye.encode(a, options))).toEqual(bitsOf(first!));
      await using fresh = await open();
      expect(bitsOf(await fresh.encode(a, options))).toEqual(bitsOf(first!));
      const asked = await fresh.encode([b, a, b], {
        ...options,
        prompt: ["two small boats", prompt, prompt],
      });
      expect(asked.slice(1).map(bitsOf)).toEqual([bitsOf(first!), bitsOf(second!)]);
    });

    it("scores and maps do not depend on what was asked before", async () => {
      const eye = await opened;
      const one = { size, timesteps: [189, 589] };
      const texts = [prompt, "two small boats", ""];
      const scores = await eye.score(a, texts, one);
      const turned = await eye.score(a, texts.toReversed(), one);
      expect(turned.toReversed()).toEqual(scores);
      expect((await eye.score(a, [texts[1]!], one))[0]).toEqual(scores[1]);
      expect((await eye.score([b, a], texts, one))[1]).toEqual(scores);
      const maps = await eye.attend(a, { prompt, size });
      await eye.attend(a, { prompt: "two small boats", size });
      expect(bits([["words", (await eye.attend(a, { prompt, size })).tokens]])).toEqual(
        bits([["words", maps.tokens]]),
      );
    });

    it("what does not depend on the text does not change with it, to the last bit", async () => {
      const eye = await opened;
      const all = await eye.taps({ size });
      const grids = all.filter(({ kind }) => kind !== "map");
      const seen = await eye.encode(a, { ...options, taps: grids.map(({ id }) => id), parts: ["delta"] });
      const changed = grids.filter(({ id }) =>
        seen
          .get(id)
          .toFloat32()
          .some((value) => value !== 0),
      );
      expect(changed.map(({ id }) => id)).toEqual(
        grids.filter(({ textFree }) => !textFree).map(({ id }) => id),
      );
    });

    it("guidance 0 is the unconditional feature, 1 the conditional one, to the last bit", async () => {
      const eye = await opened;
      const both = await eye.encode(a, { ...options, parts: ["unconditional", "conditional"] });
      for (const [guidance, part] of [
        [0, "unconditional"],
        [1, "conditional"],
      ] as const) {
        const guided = await eye.encode(a, { ...options, guidance, parts: ["guided"] });
        for (const tap of taps)
          expect(bits([["", guided.get(tap)]])).toEqual(bits([["", both.get(tap, { part })]]));
      }
    });

    it("one tap alone equals it among all the others, within the tolerance", async () => {
      const one = golden.case("features0");
      const { timestep, seed, guidance } = one.args;
      const request = {
        prompt: one.args.prompt,
        timesteps: [timestep],
        seed,
        guidance,
        size: [one.args.width, one.args.height] as const,
      };
      const eye = await opened;
      const grids = (await eye.taps(request)).filter(({ kind }) => kind !== "map");
      const all = grids.map(({ id }) => id);
      const wide = await eye.encode(image(one.args.image), { ...request, taps: all });
      const names = Object.keys(one.outputs).filter(
        (key) => key.endsWith(".s") && all.includes(key.slice(0, -2)),
      );
      expect(names.length).toBeGreaterThan(2);
      for (const name of names.slice(0, 3)) {
        const tap = name.slice(0, -2);
        const alone = await eye.encode(image(one.args.image), { ...request, taps: [tap] });
        const atol = one.outputs[name]!.atol! * (memory === "fast" ? 4 : 1);
        expect(maxDifference(alone.get(tap), wide.get(tap)), tap).toBeLessThanOrEqual(atol);
      }
    });
  });
});

describe.each<Preset>(["fast", "mmap", "low"])("operations, %s", (memory) => {
  it("give the same bits on any number of threads", async () => {
    const bench = new Bench(11);
    for (const op of Object.keys(uses) as (keyof typeof uses)[]) {
      for (const use of sample(op, 4, 3)) bench.want(use(bench));
    }
    // Products and small grids that the runtime cuts among threads
    for (const [rows, inner, out] of [
      [77, 1024, 320],
      [107, 408, 137],
      [64, 300, 640],
      [300, 200, 50],
    ] as const) {
      bench.want(
        linear(
          bench.input([1, rows, inner]),
          bench.parameter([out, inner], "f32", inner),
          bench.parameter([out]),
        ),
      );
      bench.want(matmul(bench.input([rows, inner]), bench.input([inner, out])));
    }
    for (const [channels, filters, side, kernel] of [
      [64, 64, 8, 3],
      [132, 33, 12, 3],
      [20, 97, 16, 3],
      [300, 40, 20, 1],
      [64, 4, 23, 3],
    ] as const) {
      const weight = bench.parameter([filters, channels, kernel, kernel], "f32", channels * kernel * kernel);
      bench.want(
        conv2d(bench.input([1, channels, side, side]), weight, bench.parameter([filters]), {
          padding: kernel >> 1,
        }),
      );
    }
    for (const [queries, keys, heads, width] of [
      [64, 77, 2, 160],
      [256, 256, 1, 512],
      [400, 77, 5, 64],
    ] as const) {
      const of = (length: number) => bench.input([1, length, heads * width]);
      bench.want(attention(of(queries), of(keys), of(keys), { heads, scale: width ** -0.5 }));
    }
    const made = async (threads: number) => {
      await using engine = await Engine.open({ device: "cpu", memory, threads });
      return bits(Object.entries(await compute(engine, bench)));
    };
    const one = await made(1);
    for (const threads of [2, 3, 8]) {
      const several = await made(threads);
      const differ = Object.keys(one).filter((name) => one[name] !== several[name]);
      expect(
        differ.map((name) => describeValue(bench.outputs[name]!)),
        `${threads} threads`,
      ).toEqual([]);
    }
  });
});
