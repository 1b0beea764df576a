/** @file What every fusion promises: its shapes, its gradients, what it starts as, what it does not depend on. */

import { describe, expect, it } from "vitest";
import {
  gradients,
  input,
  isOp,
  mul,
  reshape,
  sum,
  topologicalOrder,
  type Value,
} from "../src/graph/index.js";
import { initialise } from "../src/models/index.js";
import { Tensor, TorchGenerator } from "../src/tensor/index.js";
import { scopeOf } from "../src/training/index.js";
import {
  type FusionConfig,
  fusionSchema,
  fusions,
  fusionWarnings,
  isStatistic,
  parseDescription,
  planFusion,
  planSight,
  type StreamShape,
  whitening,
} from "../src/vlm/index.js";
import { evaluate } from "./reference/evaluate.js";

const shapes: Record<string, StreamShape> = {
  clip: { tokens: 10, width: 8, grid: [3, 3] },
  "sd-u": { tokens: 16, width: 12, grid: [4, 4] },
  "sd-c": { tokens: 16, width: 12, grid: [4, 4] },
  deep: { tokens: 4, width: 8, grid: [2, 2] },
  asked: { tokens: 1, width: 5, grid: undefined },
};

/** One of each type at least: its config, and what it must give for these streams: [tokens, width]. */
const table: [object | object[], [number, number]][] = [
  [{ type: "none", encoder: "clip" }, [10, 8]],
  [{ type: "channel-concat", encoders: ["clip", "sd-u"] }, [9, 20]],
  [{ type: "channel-concat", encoders: ["clip", "sd-u"], grid: [2, 5] }, [10, 20]],
  [{ type: "token-concat", encoders: ["clip", "deep"] }, [14, 8]],
  [{ type: "interleaved", encoders: ["sd-u", "sd-c"], grid: 3 }, [18, 12]],
  [{ type: "additive", encoders: ["clip", "deep"], alpha: 0.3 }, [9, 8]],
  [{ type: "cross-attention", queries: "clip", context: "sd-c", heads: 2 }, [10, 8]],
  [{ type: "cross-attention", queries: "clip", context: "sd-c", heads: 2, positions: "alibi" }, [10, 8]],
  [{ type: "unconditional-conditional", unconditional: "sd-u", conditional: "sd-c" }, [16, 24]],
  [{ type: "class-token", classToken: "clip", diffusion: ["sd-u", "sd-c"], hidden: 6 }, [16, 8]],
  [{ type: "class-token", classToken: "clip", diffusion: ["sd-u"], tokens: "one", width: 7 }, [1, 7]],
  [{ type: "gated-cross-attention", queries: "clip", context: "sd-c", heads: 2, feedForward: 2 }, [10, 8]],
  [{ type: "gated-cross-attention", queries: "clip", context: "sd-c", feedForward: 0 }, [10, 8]],
  [{ type: "guidance-ensemble", unconditional: "sd-u", conditional: "sd-c" }, [16, 12]],
  [{ type: "guidance-ensemble", unconditional: "sd-u", conditional: "sd-c", question: "asked" }, [16, 12]],
  [{ type: "pyramid", encoders: ["deep", "sd-c"], width: 6, grid: 3 }, [9, 6]],
  [{ type: "transformer", encoders: ["clip", "deep"], heads: 2, layers: 1, feedForward: 2 }, [10, 8]],
  [{ type: "transformer", encoders: ["clip", "deep"], heads: 2, layers: 1, output: "all" }, [14, 8]],
  [
    [
      { type: "guidance-ensemble", as: "guided", unconditional: "sd-u", conditional: "sd-c" },
      { type: "cross-attention", queries: "clip", context: "guided", heads: 4, normalisation: "layer-norm" },
    ],
    [10, 8],
  ],
];
const configs = table.map(([config, output]) => ({
  name: JSON.stringify(config),
  config: fusionSchema.parse(config),
  output,
}));

const batch = 2;

/** A fusion with all weights at random numbers, over random streams. */
function made(config: FusionConfig, weights?: ReadonlyMap<string, Tensor>) {
  const program = planFusion(config, shapes);
  const random = new TorchGenerator(7);
  const drawn = new Map(program.layout.map(({ key, dims }) => [key, random.randn(dims)]));
  const feeds = Object.fromEntries(
    program.encoders.map((name) => [name, random.randn([batch, shapes[name]!.tokens, shapes[name]!.width])]),
  );
  const streams = Object.fromEntries(
    Object.entries(feeds).map(([name, { dims }]) => [name, input(name, dims)]),
  );
  const w = scopeOf(weights ?? drawn);
  return { program, feeds, streams, w, fused: program.fuse(w, streams) };
}

/** At its start, as training begins. */
const started = (config: FusionConfig) =>
  made(config, initialise(planFusion(config, shapes).layout, new TorchGenerator(3)));

const run = (fused: Value, feeds: Record<string, Tensor>) => evaluate({ fused }, feeds).fused!.data;

it("has a case of every fusion there is", () => {
  const types = new Set(configs.flatMap(({ config }) => config.map(({ type }) => type)));
  expect([...types].sort()).toEqual([...fusions.keys()].sort());
});

describe.each(configs)("fusion $name", ({ config, output: [tokens, width] }) => {
  it("gives the tokens and the width that it declares", () => {
    const { fused, program } = made(config);
    expect(program.output).toMatchObject({ tokens, width });
    expect(fused.dims).toEqual([batch, tokens, width]);
  });

  it("takes just the parameters that it declares, all of them named fusion.*", () => {
    const { fused, program } = made(config);
    const used = topologicalOrder([fused]).flatMap((value) =>
      isOp(value, "parameter") ? [value.attributes.key] : [],
    );
    expect([...new Set(used)].sort()).toEqual(program.layout.map(({ key }) => key).sort());
    for (const { key } of program.layout) expect(key).toMatch(/^fusion\./);
  });

  it("has the gradients that finite differences show, for its parameters and its inputs", () => {
    const { feeds, fused, streams } = made(config);
    const random = new TorchGenerator(11);
    const weighted = mul(fused, input("weights", fused.dims));
    const loss = reshape(sum(reshape(weighted, [1, -1]), 1), []);
    const all = { ...feeds, weights: random.randn(fused.dims) };
    const parameters = topologicalOrder([loss]).filter(({ op }) => op === "parameter");
    const leaves = [...parameters, ...Object.values(streams)];
    const slopes = gradients(loss, leaves);
    const found = evaluate(Object.fromEntries([...leaves, ...slopes].map((one, i) => [`${i}`, one])), all);
    leaves.forEach((leaf, i) => {
      const here = found[i]!;
      const slope = found[leaves.length + i]!;
      const way = random.randn(leaf.dims).toFloat32();
      const at = (by: number) => {
        const data = here.data.map((number, j) => number + by * way[j]!);
        return evaluate({ loss }, all, new Map([[leaf, { dims: leaf.dims, data }]])).loss!.data[0]!;
      };
      const step = 1e-5;
      const measured = (at(step) - at(-step)) / (2 * step);
      const told = slope.data.reduce((total, number, j) => total + number * way[j]!, 0);
      expect(Math.abs(told - measured)).toBeLessThan(1e-6 * Math.max(1, Math.abs(measured)));
    });
  });

  it("treats every picture of a batch by itself", () => {
    const { feeds, fused } = made(config);
    const both = run(fused, feeds);
    const second = Object.fromEntries(
      Object.entries(feeds).map(([name, { dims, data }]) => {
        const half = data.length / 2;
        const values = (data as Float32Array).slice();
        values.fill(9, 0, half);
        return [name, Tensor.f32(dims, values)];
      }),
    );
    const changed = run(fused, second);
    expect([...changed.slice(both.length / 2)]).toEqual([...both.slice(both.length / 2)]);
  });
});

describe("gated cross-attention", () => {
  const config = fusionSchema.parse({
    type: "gated-cross-attention",
    queries: "clip",
    context: "sd-c",
    heads: 2,
    positions: "learned",
  });

  it("is CLIP alone at its start, exactly", () => {
    const { feeds, fused } = started(config);
    expect([...run(fused, feeds)]).toEqual([...feeds.clip!.toFloat32()]);
  });

  it("can leave it: its gates have a gradient there", () => {
    const { feeds, fused } = started(config);
    const gates = topologicalOrder([fused]).filter(
      (value) => isOp(value, "parameter") && value.attributes.key.endsWith("_gate"),
    );
    const loss = reshape(sum(reshape(mul(fused, fused), [1, -1]), 1), []);
    const slopes = evaluate(Object.fromEntries(gradients(loss, gates).map((one, i) => [`${i}`, one])), feeds);
    expect(Object.values(slopes).map(({ data }) => Math.abs(data[0]!) > 1e-3)).toEqual([true, true]);
  });
});

describe("attention to patches", () => {
  /** The same stream with its tokens in another order. */
  function permuted({ dims, data }: Tensor, order: readonly number[]): Tensor {
    const [b, tokens, width] = dims as [number, number, number];
    const values = new Float32Array(data.length);
    for (let row = 0; row < b * tokens; row++) {
      const from = Math.floor(row / tokens) * tokens + order[row % tokens]!;
      values.set((data as Float32Array).subarray(from * width, (from + 1) * width), row * width);
    }
    return Tensor.f32(dims, values);
  }
  const order = Array.from({ length: 16 }, (_, i) => (i * 5 + 3) % 16);
  const queries = Array.from({ length: 10 }, (_, i) => (i * 3 + 1) % 10);

  it.each([
    { type: "cross-attention", queries: "clip", context: "sd-c", heads: 2 },
    { type: "gated-cross-attention", queries: "clip", context: "sd-c", heads: 2 },
    { type: "transformer", encoders: ["clip", "sd-c"], heads: 2, layers: 2 },
  ])("$type does not depend on the order of what is asked, and follows that of what asks", (config) => {
    const { feeds, fused } = made(fusionSchema.parse(config));
    const before = run(fused, feeds);
    const shuffled = run(fused, { ...feeds, "sd-c": permuted(feeds["sd-c"]!, order) });
    shuffled.forEach((number, i) => {
      expect(number).toBeCloseTo(before[i]!, 10);
    });
    const moved = run(fused, { ...feeds, clip: permuted(feeds.clip!, queries) });
    const wanted = permuted(Tensor.f32(fused.dims, Float32Array.from(before)), queries).toFloat32();
    moved.forEach((number, i) => {
      expect(number).toBeCloseTo(wanted[i]!, 4);
    });
  });

  it.each(["learned", "alibi"])("does with %s positions", (positions) => {
    const config = { type: "cross-attention", queries: "clip", context: "sd-c", positions };
    const { feeds, fused } = made(fusionSchema.parse(config));
    const before = run(fused, feeds);
    const after = run(fused, { ...feeds, "sd-c": permuted(feeds["sd-c"]!, order) });
    expect(Math.max(...after.map((number, i) => Math.abs(number - before[i]!)))).toBeGreaterThan(1e-3);
  });
});

describe("ALiBi over two grids", () => {
  const config = (queries: string, context: string) =>
    fusionSchema.parse({
      type: "cross-attention",
      queries,
      context,
      heads: 2,
      positions: "alibi",
      residual: false,
    });

  /** How far what each token that asks brings moves when one token of `sd-c` (4 x 4) is changed. */
  function moved(queries: string, at: number): number[] {
    const { program, feeds, streams } = made(config(queries, "sd-c"));
    // Queries and keys say nothing: only places count.
    const random = new TorchGenerator(1);
    const weights = new Map(
      program.layout.map(({ key, dims }): [string, Tensor] => {
        if (/[qk]_proj/.test(key))
          return [key, Tensor.f32(dims, new Float32Array(dims.reduce((a, b) => a * b)))];
        return [key, /slopes/.test(key) ? Tensor.f32(dims, new Float32Array(2).fill(1)) : random.randn(dims)];
      }),
    );
    const fused = program.fuse(scopeOf(weights), streams);
    const changed = (feeds["sd-c"]!.data as Float32Array).slice();
    for (let c = 0; c < 12; c++) changed[at * 12 + c]! += 1;
    const [before, after] = [feeds, { ...feeds, "sd-c": Tensor.f32([2, 16, 12], changed) }].map((one) =>
      run(fused, one),
    );
    return Array.from({ length: shapes[queries]!.tokens }, (_, token) =>
      Math.hypot(...Array.from({ length: 8 }, (_, c) => after![token * 8 + c]! - before![token * 8 + c]!)),
    );
  }

  it.each([
    [0, 0],
    [3, 1],
    [9, 2],
    [15, 3],
  ])("place %i of the finer grid tells most to place %i of the coarser one", (at, nearest) => {
    const by = moved("deep", at);
    expect(by.indexOf(Math.max(...by))).toBe(nearest);
  });

  it("a class token, which lies nowhere, asks all places alike", () => {
    // `clip` has 9 patches behind a class token.
    const [first, last] = [moved("clip", 0), moved("clip", 15)];
    expect(first[0]).toBeCloseTo(last[0]!, 5);
    expect(first[1]).toBeGreaterThan(2 * last[1]!);
    expect(last[9]).toBeGreaterThan(2 * first[9]!);
  });

  it("wants patches of a picture", () => {
    expect(() => made(config("clip", "asked"))).toThrow(/"asked" are no grid; positions "alibi"/);
  });
});

describe("a guidance ensemble", () => {
  const ensemble = (more: object = {}) =>
    fusionSchema.parse({
      type: "guidance-ensemble",
      unconditional: "sd-u",
      conditional: "sd-c",
      unitLength: false,
      guidances: [0, 1, 1.5, 4, 7],
      ...more,
    });

  it("weighs all guidances alike at its start: without unit lengths, their mean guidance", () => {
    const { feeds, fused } = started(ensemble());
    const [u, c] = [feeds["sd-u"]!.toFloat32(), feeds["sd-c"]!.toFloat32()];
    const s = (0 + 1 + 1.5 + 4 + 7) / 5;
    run(fused, feeds).forEach((number, i) => {
      expect(number).toBeCloseTo(u[i]! + s * (c[i]! - u[i]!), 5);
    });
  });

  it("starts alike for every question, and may answer each with weights of its own", () => {
    const asked = ensemble({ question: "asked" });
    const { feeds, fused } = started(asked);
    expect([...run(fused, feeds)]).toEqual([...run(started(ensemble()).fused, feeds)]);
    const free = made(asked);
    const other = { ...feeds, asked: Tensor.f32([2, 1, 5], [9, -3, 2, 1, 0, 1, 0, 4, -5, 2]) };
    expect([...run(free.fused, feeds)]).not.toEqual([...run(free.fused, other)]);
  });
});

describe("dropout", () => {
  const config = fusionSchema.parse({ type: "class-token", classToken: "clip", diffusion: ["sd-u"] });

  it("is asked for by name, shape and rate, and is none at inference", () => {
    const { program, feeds, streams, w, fused } = made(config);
    const asked: unknown[] = [];
    const masked = program.fuse(w, streams, {
      dropout(name, dims, rate) {
        asked.push([name, dims, rate]);
        return input("mask", dims);
      },
    });
    expect(asked).toEqual([["fusion.dropout", [2, 16, 8], 0.1]]);
    const ones = Tensor.f32([2, 16, 8], new Float32Array(256).fill(1));
    expect([...run(masked, { ...feeds, mask: ones })]).toEqual([...run(fused, feeds)]);
  });
});

describe("normalisation", () => {
  const alone = (normalisation: unknown) =>
    fusionSchema.parse({ type: "none", encoder: "sd-u", normalisation });

  it.each(["layer-norm", "l2"])("%s gives every token numbers of about 1", (kind) => {
    const { feeds, fused } = started(alone(kind));
    const large = Tensor.f32(
      feeds["sd-u"]!.dims,
      feeds["sd-u"]!.toFloat32().map((x) => 50 * x + 10),
    );
    const data = run(fused, { "sd-u": large });
    for (let row = 0; row < 32; row++) {
      const numbers = data.slice(row * 12, (row + 1) * 12);
      expect(Math.sqrt(numbers.reduce((total, x) => total + x * x, 0) / 12)).toBeCloseTo(1, 3);
    }
  });

  it("whitening leaves channels of variance 1 that say nothing of one another, and is never trained", () => {
    const random = new TorchGenerator(5);
    const mixing = random.randn([12, 12]).toFloat32();
    const plain = random.randn([400, 12]).toFloat32();
    const rows = Float32Array.from({ length: 400 * 12 }, (_, at) => {
      const [row, i] = [Math.floor(at / 12), at % 12];
      let total = 3 * i;
      for (let j = 0; j < 12; j++) total += mixing[i * 12 + j]! * plain[row * 12 + j]!;
      return total;
    });
    const { weight, bias } = whitening(Tensor.f32([400, 12], rows), { shrinkage: 0 });
    const key = "fusion.normalisation.sd-u.whitening";
    const weights = new Map([
      [`${key}.weight`, weight],
      [`${key}.bias`, bias],
    ]);
    const program = planFusion(alone("whitening"), { "sd-u": { tokens: 400, width: 12, grid: undefined } });
    expect(program.layout.map((one) => one.key).every(isStatistic)).toBe(true);
    const fused = program.fuse(scopeOf(weights), { "sd-u": input("sd-u", [1, 400, 12]) });
    const data = run(fused, { "sd-u": Tensor.f32([1, 400, 12], rows) });
    for (let i = 0; i < 12; i++) {
      for (let j = 0; j < 12; j++) {
        let product = 0;
        for (let row = 0; row < 400; row++) product += (data[row * 12 + i]! * data[row * 12 + j]!) / 399;
        expect(product).toBeCloseTo(i === j ? 1 : 0, 3);
      }
    }
    const parameters = topologicalOrder([fused]).filter(({ op }) => op === "parameter");
    const loss = reshape(sum(reshape(fused, [1, -1]), 1), []);
    const slopes = gradients(loss, parameters);
    const found = evaluate(Object.fromEntries(slopes.map((one, i) => [`${i}`, one])), {
      "sd-u": Tensor.f32([1, 400, 12], rows),
    });
    for (const { data: slope } of Object.values(found)) expect(slope.every((x) => x === 0)).toBe(true);
  });

  it("can be another for each encoder", () => {
    const config = fusionSchema.parse({
      type: "channel-concat",
      encoders: ["clip", "sd-u"],
      normalisation: { "sd-u": "layer-norm" },
    });
    const keys = planFusion(config, shapes).layout.map(({ key }) => key);
    expect(keys).toEqual([
      "fusion.normalisation.sd-u.layer_norm.bias",
      "fusion.normalisation.sd-u.layer_norm.weight",
    ]);
  });

  it("whitens encoders alone: what is trained before it cannot be measured before training", () => {
    const steps = fusionSchema.parse([
      { type: "guidance-ensemble", as: "guided", unconditional: "sd-u", conditional: "sd-c" },
      { type: "channel-concat", encoders: ["clip", "guided"], normalisation: { guided: "whitening" } },
    ]);
    expect(() => planFusion(steps, shapes)).toThrow(/"guided" is made by an earlier step/);
    const description = parseDescription({
      encoders: { clip: { kind: "vision", model: "clip", projector: { type: "linear", width: 8 } } },
      fusion: { type: "none", encoder: "clip", normalisation: "whitening" },
      projector: "linear",
      language: { model: "llm" },
    });
    expect(() => planSight(description, { clip: shapes.clip! }, 16)).toThrow(
      /what "clip" gives is changed by its projector/,
    );
  });

  it("refuses to measure what says nothing", () => {
    expect(() => whitening(Tensor.f32([1, 3]))).toThrow(/two rows or more, not on \[1, 3\]/);
    expect(() => whitening(Tensor.f32([4, 3]))).toThrow(/not all alike/);
    const broken = Tensor.f32([2, 1], [1, Number.NaN]);
    expect(() => whitening(broken)).toThrow(/finite/);
  });
});

describe("a fusion that does not fit", () => {
  it.each<[object | object[], RegExp]>([
    [{ type: "none", encoder: "dino" }, /none: there is no "dino"; there are clip, sd-u, sd-c, deep, asked/],
    [{ type: "token-concat", encoders: ["clip", "sd-u"] }, /"clip" has 8 channels, "sd-u" 12/],
    [{ type: "token-concat", encoders: ["clip", "clip"] }, /names "clip" twice/],
    [{ type: "interleaved", encoders: ["clip", "asked"] }, /"asked" are no grid/],
    [
      { type: "cross-attention", queries: "clip", context: "sd-u", heads: 3 },
      /width 8 does not divide into 3 heads/,
    ],
    [{ type: "class-token", classToken: "sd-u", diffusion: ["sd-c"] }, /"sd-u" has no class token/],
    [
      { type: "class-token", classToken: "clip", diffusion: ["sd-c", "deep"] },
      /"deep" and "sd-c" differ in width/,
    ],
    [
      { type: "guidance-ensemble", unconditional: "clip", conditional: "deep" },
      /"clip" has 10 tokens, "deep" 4/,
    ],
    [
      { type: "guidance-ensemble", unconditional: "sd-u", conditional: "sd-c", question: "clip" },
      /"clip" is 10 tokens, not one vector/,
    ],
    [
      { type: "none", encoder: "clip", normalisation: { deep: "l2" } },
      /normalisation of "deep", which it does not/,
    ],
    [{ type: "none", as: "a", encoder: "clip" }, /none "a": every step but the last is named/],
    [
      [
        { type: "none", encoder: "clip" },
        { type: "none", encoder: "deep" },
      ],
      /every step but the last is named/,
    ],
    [
      [
        { type: "none", as: "a", encoder: "clip" },
        { type: "none", encoder: "deep" },
      ],
      /No later step takes "a"/,
    ],
    [
      [
        { type: "none", as: "deep", encoder: "clip" },
        { type: "none", encoder: "deep" },
      ],
      /Two streams are called "deep"/,
    ],
  ])("%j is refused with the reason", (config, message) => {
    const plan = () => planFusion(fusionSchema.parse(config), shapes);
    expect(plan).toThrow(message);
    expect(plan).toThrow(expect.objectContaining({ code: "FUSION", misuse: true }));
  });

  it("names the stream whose shape is not the planned one", () => {
    const { program, w } = made(fusionSchema.parse({ type: "none", encoder: "clip" }));
    expect(() => program.fuse(w, {})).toThrow(/"clip" is missing, not \[B, 10, 8\]/);
    expect(() => program.fuse(w, { clip: input("clip", [1, 9, 8]) })).toThrow(/"clip" is \[1, 9, 8\], not/);
  });

  it("has names that tensors can have", () => {
    expect(fusionSchema.safeParse({ type: "none", encoder: "a.b" }).success).toBe(false);
    expect(fusionSchema.safeParse({ type: "none", encoder: "clip", heads: 3 }).success).toBe(false);
  });
});

describe("warnings", () => {
  const facts = {
    encoders: {
      clip: { kind: "vision", trained: false },
      sd: { kind: "diffusion", trained: false },
    },
    batch: 256,
    stage: 1,
  } as const;
  const codes = (config: object, more: object = {}) =>
    fusionWarnings(fusionSchema.parse(config), { ...facts, ...more }).map(({ code }) => code);
  const cross = { type: "cross-attention", queries: "clip", context: "sd" };

  it("are of the skill's pitfalls", () => {
    expect(codes(cross)).toEqual([]);
    expect(codes({ ...cross, normalisation: "none" })).toEqual(["NOT_NORMALISED"]);
    expect(codes({ ...cross, normalisation: { clip: "l2" } })).toEqual(["NOT_NORMALISED"]);
    expect(codes({ ...cross, normalisation: { sd: "l2" } })).toEqual([]);
    expect(codes({ ...cross, type: "gated-cross-attention" })).toEqual([]);
    const sd = { kind: "diffusion", trained: false };
    const both = { encoders: { u: sd, c: sd } };
    const ensemble = { type: "guidance-ensemble", unconditional: "u", conditional: "c" };
    expect(codes(ensemble, both)).toEqual([]);
    const loose = fusionSchema.parse({ ...ensemble, unitLength: false });
    const told = fusionWarnings(loose, { ...facts, encoders: { u: sd, c: sd } as never });
    expect(told.map(({ code }) => code)).toEqual(["NOT_NORMALISED", "NOT_NORMALISED"]);
    expect(told[0]!.message).toMatch(/`unitLength` makes them alike/);
    expect(codes({ type: "none", encoder: "clip" }, { batch: 32 })).toEqual(["SMALL_BATCH"]);
    expect(codes({ type: "none", encoder: "clip" }, { batch: 32, stage: 2 })).toEqual([]);
    const trained = { encoders: { clip: { kind: "vision", trained: true } } };
    expect(codes({ type: "none", encoder: "clip" }, trained)).toEqual(["VISION_NOT_FROZEN"]);
    const skill = {
      type: "class-token",
      classToken: "clip",
      diffusion: ["sd"],
      dropout: 0,
      normalisation: "none",
    };
    expect(codes(skill)).toEqual(["NOT_NORMALISED", "NO_DROPOUT"]);
    expect(codes({ type: "transformer", encoders: ["clip", "sd"], normalisation: "l2", layers: 6 })).toEqual([
      "DEEP_FUSION",
    ]);
  });
});
