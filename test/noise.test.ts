/** @file Random numbers against torch's CPU generator. */

import { describe, expect, it } from "vitest";
import { type Tensor, TorchGenerator } from "../src/tensor/index.js";
import { Golden, type GoldenCase, maxDifference } from "./golden.js";

const golden = new Golden("noise");

/** What each kind of case draws, by output name. */
function draw({ name, args, outputs }: GoldenCase): Record<string, Tensor> {
  const generator = new TorchGenerator(args.seed);
  const kind = name.split("-")[0];
  if (kind === "randn") {
    const sizes = Object.values(outputs).map((output) => output.shape[0]!);
    return Object.fromEntries(sizes.map((n) => [`randn.${n}`, new TorchGenerator(args.seed).randn([n])]));
  }
  if (kind === "latent") return { randn: generator.randn(args.shape) };
  if (kind === "consecutive") {
    return {
      first: generator.randn([args.a]),
      second: generator.randn([args.b]),
      third: generator.randn([args.a]),
    };
  }
  if (kind === "randint64") return { randint: generator.randint(0, 2 ** 40, [4]) };
  return {
    rand: generator.rand([args.n]),
    randint: generator.randint(args.low, args.high, [args.m]),
    randperm: generator.randperm(args.k),
    "rand-after": generator.rand([3]),
    "rand-float64": new TorchGenerator(args.seed).rand([4], "f64").to("f32"),
  };
}

describe("noise equals torch's", () => {
  it.each(golden.cases.map((one) => [one.name, one] as const))("%s", (_, one) => {
    const drawn = draw(one);
    expect(Object.keys(drawn).sort()).toEqual(Object.keys(one.outputs).sort());
    for (const [name, output] of Object.entries(one.outputs)) {
      const expected = golden.tensor(output);
      expect(drawn[name]!.dims, name).toEqual(expected.dims);
      expect(drawn[name]!.dtype, name).toBe(expected.dtype);
      // The golden numbers come from an x86 processor, whose kernels the generator follows bit by bit.
      expect(maxDifference(drawn[name]!, expected), name).toBe(0);
    }
  });
});
