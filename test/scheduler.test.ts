/** @file Noise schedules and samplers against diffusers'. */

import { describe, expect, it } from "vitest";
import {
  addNoise,
  createScheduler,
  noiseSchedule,
  type SchedulerName,
  velocity,
} from "../src/diffusion/schedulers/index.js";
import { Tensor } from "../src/tensor/index.js";
import { expectClose, Golden, type GoldenCase } from "./golden.js";

const golden = new Golden("scheduler");

/** The cases begin with the scheduler's name; those of flow matching have no sampler here. */
const kinds: Record<string, SchedulerName> = { ddim: "ddim", pndm: "pndm", euler: "euler", dpm: "dpm++" };
const kindOf = ({ name }: GoldenCase) => name.split("-")[0]!;
const betaCases = golden.cases.filter((one) => kindOf(one) === "betas");
const samplerCases = golden.cases.filter((one) => kindOf(one) in kinds);

/** Stands for the network, as in the golden cases. */
function model(x: Tensor, t: number): Tensor {
  const f = Math.fround;
  const shift = f(t * 0.001);
  const predict = (v: number) => {
    const wave = f(f(Math.sin(f(3 * v))) * 0.5);
    return f(f(f(wave + f(f(0.3) * v)) + shift) - f(0.4));
  };
  return Tensor.f32(x.dims, x.toFloat32().map(predict));
}

function image(stack: Tensor, i: number): Tensor {
  const dims = stack.dims.slice(1);
  const size = stack.size / stack.dims[0]!;
  return Tensor.f32(dims, stack.toFloat32().slice(i * size, (i + 1) * size));
}

describe("noise schedules equal diffusers'", () => {
  it.each(betaCases.map((one) => [one.name, one] as const))("%s", (_, one) => {
    const { timesteps, ...config } = one.args;
    const schedule = noiseSchedule(config);
    const zeroSnr = noiseSchedule({ ...config, rescale_betas_zero_snr: true });
    const x = golden.input(one, "x");
    const noise = golden.input(one, "noise");
    const found: Record<string, Tensor> = {
      betas: Tensor.f32([1000], schedule.betas),
      alphas_cumprod: Tensor.f32([1000], schedule.alphasCumprod),
      betas_zero_snr: Tensor.f32([1000], zeroSnr.betas),
      alphas_cumprod_zero_snr: Tensor.f32([1000], zeroSnr.alphasCumprod),
      add_noise: addNoise(x, noise, timesteps, schedule),
      velocity: velocity(x, noise, timesteps, schedule),
    };
    expect(Object.keys(found).sort()).toEqual(Object.keys(one.outputs).sort());
    for (const [name, output] of Object.entries(one.outputs)) {
      // torch takes these square roots with MKL, whose last bit is not the nearest; the betas of the last timesteps are
      // ratios of their differences, so that no exact arithmetic comes nearer.
      const times = name === "betas_zero_snr" ? 2 : 1;
      expectClose(found[name]!, golden.tensor(output), output.atol!, name, times);
    }
  });
});

describe("samplers walk as diffusers'", () => {
  it.each(samplerCases.map((one) => [one.name, one] as const))("%s", (_, one) => {
    const { num_inference_steps, init_noise_sigma, ...config } = one.args;
    const scheduler = createScheduler(config, kinds[kindOf(one)]);
    const timesteps = scheduler.timesteps(num_inference_steps);
    const expected = one.outputs;
    const t = golden.output(one, "timesteps");
    expectClose(Tensor.f32(t.dims, timesteps), t.to("f32"), expected.timesteps!.atol ?? 0, "timesteps");
    expect(scheduler.initNoiseSigma).toBeCloseTo(init_noise_sigma, 5);

    const inputs = golden.output(one, "model_inputs");
    const samples = golden.output(one, "samples");
    let x = golden.input(one, "x");
    for (let i = 0; i < samples.dims[0]!; i++) {
      const seen = scheduler.scaleInput(x, i);
      expectClose(seen, image(inputs, i), expected.model_inputs!.atol!, `input of step ${i}`);
      x = scheduler.step(model(seen, timesteps[i]!), i, x);
      expectClose(x, image(samples, i), expected.samples!.atol!, `sample after step ${i}`);
    }
  });

  it("and all cases but those of flow matching are covered", () => {
    const left = golden.cases.filter((one) => !betaCases.includes(one) && !samplerCases.includes(one));
    expect(left.map(kindOf).every((kind) => kind === "flow")).toBe(true);
    expect(samplerCases).toHaveLength(19);
  });
});
