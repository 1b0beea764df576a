/** @file Unit tests of the schedulers; the golden comparison with diffusers is in test/scheduler.test.ts. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DiffsightError, Tensor } from "../../tensor/index.js";
import {
  addNoise,
  createScheduler,
  noiseSchedule,
  parseSchedulerConfig,
  type SchedulerConfig,
  type SchedulerName,
  schedulerNames,
  velocity,
} from "./index.js";

const stable = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear", steps_offset: 1 };

/** Stands for a network. */
function model(x: Tensor, t: number): Tensor {
  return Tensor.f32(
    x.dims,
    x.toFloat32().map((v) => Math.sin(3 * v) * 0.5 + 0.3 * v + t * 0.001 - 0.4),
  );
}

function walk(config: SchedulerConfig, name: SchedulerName, steps: number) {
  const scheduler = createScheduler(config, name);
  const timesteps = scheduler.timesteps(steps);
  const unit = Float32Array.from({ length: 24 }, (_, i) => -1 + (2 * i) / 23);
  let x = Tensor.f32(
    [24],
    unit.map((v) => v * scheduler.initNoiseSigma),
  );
  timesteps.forEach((t, i) => {
    x = scheduler.step(model(scheduler.scaleInput(x, i), t), i, x);
  });
  return { timesteps, x };
}

describe("a whole walk ends where diffusers' does", () => {
  // First and last timestep; elements 0, 9 and 23 of the last sample, as diffusers 0.42 prints them.
  it.each<[SchedulerName, SchedulerConfig, number, [number, number], number[]]>([
    ["ddim", { ...stable, clip_sample: true }, 12, [914, 1], [0.136397, 0.137163, 1]],
    [
      "ddim",
      {
        ...stable,
        set_alpha_to_one: true,
        clip_sample: false,
        prediction_type: "sample",
        timestep_spacing: "trailing",
      },
      7,
      [999, 142],
      [-0.831596, -0.750312, 0.389543],
    ],
    ["pndm", { ...stable, skip_prk_steps: false }, 10, [901, 1], [-4.93965, 0.039082, 2.523318]],
    [
      "pndm",
      { ...stable, skip_prk_steps: false, timestep_spacing: "trailing", prediction_type: "v_prediction" },
      9,
      [999, 110],
      [-0.137726, 0.091395, 0.216133],
    ],
    [
      "pndm",
      { ...stable, skip_prk_steps: true, timestep_spacing: "linspace", set_alpha_to_one: true },
      2,
      [999, 0],
      [0.601351, 0.360329, 1.254804],
    ],
    [
      "pndm",
      { ...stable, skip_prk_steps: true, steps_offset: 0 },
      1000,
      [999, 0],
      [-8.08827, -1.351844, 3.087177],
    ],
    [
      "euler",
      { ...stable, use_exponential_sigmas: true, final_sigmas_type: "sigma_min" },
      8,
      [999, 0],
      [-8.838247, -3.938141, 2.341119],
    ],
    [
      "euler",
      { beta_schedule: "squaredcos_cap_v2", timestep_spacing: "trailing", prediction_type: "sample" },
      9,
      [999, 110],
      [-0.880528, -0.656341, 0.376206],
    ],
    [
      "euler",
      { ...stable, use_karras_sigmas: true, sigma_min: 0.1, sigma_max: 8, prediction_type: "v_prediction" },
      6,
      [891.896363, 10.382169],
      [-0.182751, 0.095194, 0.158051],
    ],
    [
      "dpm++",
      {
        ...stable,
        solver_order: 3,
        solver_type: "heun",
        lower_order_final: false,
        timestep_spacing: "trailing",
      },
      11,
      [999, 90],
      [-8.218949, -1.926201, 2.610458],
    ],
    [
      "dpm++",
      {
        ...stable,
        algorithm_type: "dpmsolver",
        solver_order: 3,
        final_sigmas_type: "sigma_min",
        timestep_spacing: "leading",
      },
      16,
      [929, 59],
      [-5.59697, -0.018214, 2.572526],
    ],
    [
      "dpm++",
      { ...stable, use_lu_lambdas: true, euler_at_final: true, solver_type: "heun" },
      9,
      [999, 0],
      [-6.588412, -1.896913, 2.576582],
    ],
    [
      "dpm++",
      { beta_schedule: "squaredcos_cap_v2", lambda_min_clipped: -5.1, prediction_type: "v_prediction" },
      20,
      [995, 50],
      [-0.4542, 0.043889, 0.16677],
    ],
  ])("%s %j in %i steps", (name, config, steps, ends, expected) => {
    const { timesteps, x } = walk(config, name, steps);
    expect(timesteps[0]).toBeCloseTo(ends[0], 3);
    expect(timesteps.at(-1)).toBeCloseTo(ends[1], 3);
    [0, 9, 23].forEach((at, i) => {
      expect(x.toFloat32()[at]).toBeCloseTo(expected[i]!, 4);
    });
  });
});

describe("a run", () => {
  it("begins anew with timesteps()", () => {
    for (const name of schedulerNames) {
      const scheduler = createScheduler(stable, name);
      const x = Tensor.f32([2], [0.5, -1]);
      const run = () => {
        const timesteps = scheduler.timesteps(5);
        return timesteps.reduce((sample, t, i) => scheduler.step(model(sample, t), i, sample), x).data;
      };
      expect(run(), name).toEqual(run());
    }
  });

  it("needs steps that the schedule has", () => {
    for (const name of schedulerNames) {
      const scheduler = createScheduler(stable, name);
      for (const steps of [0, -1, 2.5, 1001, Number.NaN]) {
        expect(() => scheduler.timesteps(steps), name).toThrow(
          expect.objectContaining({ code: "STEPS", misuse: true }),
        );
      }
      scheduler.timesteps(4);
      expect(() => scheduler.step(Tensor.f32([1]), 40, Tensor.f32([1]))).toThrow(/no step 40/);
    }
    for (const name of ["ddim", "pndm"] as const) {
      // diffusers, too, looks up ᾱ at 1000 there, and fails.
      expect(() => createScheduler({ ...stable, skip_prk_steps: true }, name).timesteps(1000)).toThrow(
        /^1000 steps visit timestep 1000, outside 0 to 999/,
      );
    }
    expect(() => createScheduler(stable, "dpm++").timesteps(1000)).toThrow(/two of them would be the same/);
  });

  it("of 61 trailing steps leaves out the timestep -1 that rounding would add", () => {
    const timesteps = createScheduler({ ...stable, timestep_spacing: "trailing" }, "ddim").timesteps(61);
    expect(timesteps).toHaveLength(61);
    expect(timesteps.at(-1)).toBe(15);
  });

  it("refuses a prediction of another shape", () => {
    const scheduler = createScheduler(stable, "ddim");
    scheduler.timesteps(3);
    expect(() => scheduler.step(Tensor.f32([3]), 0, Tensor.f32([2]))).toThrow(/\[2\] and \[3\]/);
  });
});

describe("noise at a timestep", () => {
  const schedule = noiseSchedule(stable);
  const latent = Tensor.f32([2, 1, 1, 2], [1, 2, 3, 4]);
  const noise = Tensor.f32([2, 1, 1, 2], [-1, 0.5, 0, 1]);

  it("mixes latent and noise by the schedule's share", () => {
    const alpha = schedule.alphasCumprod[50]!;
    const mixed = addNoise(latent, noise, 50, schedule).toFloat32();
    expect(mixed[0]).toBeCloseTo(Math.sqrt(alpha) - Math.sqrt(1 - alpha), 6);
    const toward = velocity(latent, noise, 50, schedule).toFloat32();
    expect(toward[0]).toBeCloseTo(-Math.sqrt(alpha) - Math.sqrt(1 - alpha), 6);
  });

  it("may differ from image to image", () => {
    const both = addNoise(latent, noise, [50, 999], schedule).toFloat32();
    expect(both.slice(0, 2)).toEqual(addNoise(latent, noise, 50, schedule).toFloat32().slice(0, 2));
    expect(both.slice(2)).toEqual(addNoise(latent, noise, 999, schedule).toFloat32().slice(2));
    expect(() => addNoise(latent, noise, [50], schedule)).toThrow(/1 timesteps do not fit a batch of 2/);
  });

  it.each([-1, 1000, 0.5, Number.NaN])("has no timestep %s", (t) => {
    const refusal = expect.objectContaining({ code: "TIMESTEP", misuse: true });
    expect(() => addNoise(latent, noise, t, schedule)).toThrow(refusal);
    expect(() => addNoise(latent, noise, [t, 1], schedule)).toThrow(refusal);
  });
});

describe("configs", () => {
  it.each<[SchedulerConfig, SchedulerName | undefined, RegExp]>([
    [{ _class_name: "FlowMatchEulerDiscreteScheduler" }, undefined, /_class_name is "FlowMatchEulerDiscrete/],
    [{ _class_name: "FlowMatchEulerDiscreteScheduler" }, "euler", /_class_name is "FlowMatchEulerDiscrete/],
    [{ _class_name: "UniPCMultistepScheduler" }, undefined, /name one of ddim, pndm, euler, dpm\+\+/],
    [{}, undefined, /_class_name is missing/],
    [{ beta_schedule: "sigmoid" }, "ddim", /beta_schedule is "sigmoid"; allowed: linear, scaled_linear/],
    [{ prediction_type: "flow_prediction" }, "dpm++", /prediction_type is "flow_prediction"/],
    [{ prediction_type: "sample" }, "pndm", /prediction_type is "sample"; allowed: epsilon, v_prediction/],
    [{ thresholding: true }, "ddim", /thresholding is true; allowed: false/],
    [{ timestep_spacing: "sideways" }, "euler", /timestep_spacing is "sideways"/],
    [{ use_beta_sigmas: true }, "euler", /use_beta_sigmas/],
    [{ timestep_type: "continuous" }, "euler", /timestep_type is "continuous"/],
    [{ use_karras_sigmas: true, use_exponential_sigmas: true }, "euler", /use_exponential_sigmas is true/],
    [{ use_flow_sigmas: true }, "dpm++", /use_flow_sigmas/],
    [{ algorithm_type: "sde-dpmsolver++" }, "dpm++", /algorithm_type is "sde-dpmsolver\+\+"/],
    [{ algorithm_type: "dpmsolver" }, "dpm++", /final_sigmas_type is "zero"; allowed: sigma_min/],
    [{ solver_order: 4 }, "dpm++", /solver_order is 4; allowed: numbers from 1 to 3/],
    [{ rescale_betas_zero_snr: true }, "pndm", /rescale_betas_zero_snr/],
    [{ num_train_timesteps: 0 }, "ddim", /num_train_timesteps is 0/],
    [{ trained_betas: [0.1, 2] }, "ddim", /trained_betas/],
    [{ clip_sample: "yes" }, "ddim", /clip_sample is "yes"; allowed: true, false/],
  ])("%j for %s are refused by field", (config, name, message) => {
    expect(() => createScheduler(config, name)).toThrow(message);
    expect(() => createScheduler(config, name)).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });

  it("of zero terminal SNR cannot predict the noise from noise alone", () => {
    const config = { ...stable, rescale_betas_zero_snr: true, timestep_spacing: "trailing" };
    expect(() => createScheduler(config, "ddim").timesteps(5)).toThrow(/prediction_type is "epsilon"/);
    expect(createScheduler({ ...config, prediction_type: "v_prediction" }, "ddim").timesteps(5)[0]).toBe(999);
  });

  it("choose the sampler of their class, or the one that is named", () => {
    const config = { ...stable, _class_name: "PNDMScheduler", skip_prk_steps: true };
    expect(createScheduler(config).name).toBe("pndm");
    expect(createScheduler(config, "euler").name).toBe("euler");
    expect(() => createScheduler(config, "heun" as SchedulerName)).toThrow(/Unknown scheduler "heun"/);
  });

  it("may hold trained betas", () => {
    const { betas } = noiseSchedule({ num_train_timesteps: 3, trained_betas: [0.1, 0.2, 0.3] });
    expect(betas).toEqual(Float32Array.of(0.1, 0.2, 0.3));
  });

  it("are read with the infinities that Python writes", () => {
    const text = '{"lambda_min_clipped": -Infinity, "sigma_max": Infinity, "note": "to Infinity"}';
    expect(parseSchedulerConfig(text)).toEqual({
      lambda_min_clipped: Number.NEGATIVE_INFINITY,
      sigma_max: Number.POSITIVE_INFINITY,
      note: "to Infinity",
    });
    expect(() => parseSchedulerConfig("[]")).toThrow(/no JSON object/);
    expect(() => parseSchedulerConfig("{")).toThrow(/not valid JSON/);
  });

  it("of any content are refused, or walk without a number lost", () => {
    const junk = fc.constantFrom<unknown>(null, undefined, "x", -1, 1e300, Number.NaN, [], {});
    const rarely = (usual: fc.Arbitrary<unknown>) =>
      fc.oneof({ weight: 30, arbitrary: usual }, { weight: 1, arbitrary: junk });
    const configs = fc.record(
      {
        num_train_timesteps: rarely(fc.constantFrom(20, 100)),
        beta_start: rarely(fc.double({ min: 1e-5, max: 0.001, noNaN: true })),
        beta_end: rarely(fc.double({ min: 0.002, max: 0.02, noNaN: true })),
        beta_schedule: rarely(fc.constantFrom("linear", "scaled_linear", "squaredcos_cap_v2")),
        prediction_type: rarely(fc.constantFrom("epsilon", "v_prediction", "sample")),
        timestep_spacing: rarely(fc.constantFrom("leading", "trailing", "linspace")),
        steps_offset: rarely(fc.constantFrom(0, 1)),
        clip_sample: rarely(fc.boolean()),
        set_alpha_to_one: rarely(fc.boolean()),
        skip_prk_steps: rarely(fc.boolean()),
        use_karras_sigmas: rarely(fc.boolean()),
        use_exponential_sigmas: rarely(fc.constant(false)),
        solver_order: rarely(fc.constantFrom(1, 2, 3)),
        solver_type: rarely(fc.constantFrom("midpoint", "heun")),
        algorithm_type: rarely(fc.constantFrom("dpmsolver++", "dpmsolver")),
        final_sigmas_type: rarely(fc.constantFrom("zero", "sigma_min")),
        lower_order_final: rarely(fc.boolean()),
        rescale_betas_zero_snr: rarely(fc.boolean()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        configs,
        fc.constantFrom(...schedulerNames),
        fc.integer({ min: 1, max: 8 }),
        (config, name, steps) => {
          try {
            const { timesteps, x } = walk(config, name, steps);
            expect(timesteps.every((t) => t >= 0 && t < 1000)).toBe(true);
            expect(x.toFloat32().every(Number.isFinite)).toBe(true);
          } catch (error) {
            if (!(error instanceof DiffsightError)) throw error;
            expect(["CONFIG", "STEPS"]).toContain(error.code);
          }
        },
      ),
      { numRuns: 10_000 },
    );
  });
});
