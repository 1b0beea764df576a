/** @file `diffsight probe linear`: what frozen features tell, held against CLIP's, in the embedded world. */

import { type Command, InvalidArgumentError } from "commander";
import type { ProbePlan } from "../../evaluation/index.js";
import { examples, list, outputFlags, realNumber, threadsFlag, wholeNumber } from "../flags.js";
import type { Shell } from "../shell.js";
import { type AmountFlags, amountFlags, amountsOf, runHeads } from "./amounts.js";
import { publish } from "./publish.js";

interface LinearFlags extends AmountFlags {
  model: string;
  clip?: [string, string][];
  tap?: string[];
  timestep?: number[];
  prompt?: string[];
  guidance?: number[];
  looks: number;
  json?: boolean;
}

const prompts = ["none", "question", "full", "loose"] as const;

/** CLIPs that come with the package, by name; the control is with the source code alone. */
const ownClips = ["clip", "control"].map((name): [string, string] => [name, `embedded:${name}`]);

export function define(command: Command, shell: Shell): void {
  command
    .usage("[-o <folder>] [flags]")
    .description(
      "Teaches one small head to answer two-option questions from each way of seeing the same pictures: from the words " +
        "alone, from clean latents, from CLIP, from an untrained U-Net and from the diffusion model. Writes a page with " +
        "intervals and paired tests by pattern. Call it again after an interruption: what is done is left alone.",
    )
    .optionsGroup("What:")
    .option("-o, --out <folder>", "where features, heads and linear.html go", "runs/probe")
    .option("-m, --model <path>", "folder of a diffusers pipeline", "embedded:sd")
    .option(
      "--clip <name=path>",
      "a CLIPModel to hold it against; repeatable (default: the embedded ones)",
      named,
    )
    .option("--tap <name>", "repeatable (default: U-L1-R1-B0-Cross-Q)", list(String))
    .option(
      "--timestep <t>",
      "repeatable; with several taps or timesteps a heat map (default: 50)",
      list(wholeNumber),
    )
    .option(
      "--prompt <kind>",
      `what the U-Net is told beside nothing: ${prompts.slice(1).join(", ")}; none for no more; repeatable (default: question)`,
      list(promptKind),
    )
    .option("--guidance <s>", "of features with a prompt; repeatable (default: 1, 4)", list(realNumber))
    .option("--looks <n>", "scenes in which to see where the model looks; 0 for none", wholeNumber, 200);
  amountFlags(command, { seeds: 1 });
  threadsFlag(command);
  outputFlags(command, { json: "print the numbers as JSON" });
  examples(
    command,
    ["probe linear", "the embedded diffusion model beside both CLIPs and the controls"],
    [
      "probe linear --tap U-L0-R1-B0-Cross-Q,U-L1-R1-B0-Cross-Q,U-L1-R1-Res-Out --timestep 10,50,250,500 --prompt none --tuning",
      "which tap at which timestep",
    ],
  );
  command.action((flags: LinearFlags) => linear(flags, shell));
}

function named(text: string, before: [string, string][] = []): [string, string][] {
  const [, name, path] = /^([a-z0-9]+(?:-[a-z0-9]+)*)=(.+)$/.exec(text) ?? [];
  if (!name || !path) throw new InvalidArgumentError('A CLIP is "name=folder", the name in lower case.');
  return [...before, [name, path]];
}

function promptKind(text: string): string {
  if ((prompts as readonly string[]).includes(text)) return text;
  throw new InvalidArgumentError(`Allowed are ${prompts.join(", ")}.`);
}

const placesOf = ({ tap, timestep }: LinearFlags) => ({
  taps: tap ?? ["U-L1-R1-B0-Cross-Q"],
  timesteps: timestep ?? [50],
});

/** The ways of seeing that the flags ask for. */
function planOf(flags: LinearFlags, clips: readonly [string, string][]): ProbePlan {
  const { model } = flags;
  const { taps, timesteps } = placesOf(flags);
  const { prompt = ["question"], guidance: strengths = [1, 4] } = flags;
  const diffusion = { encoder: "diffusion", model, taps, timesteps } as const;
  const told = prompt
    .filter((kind) => kind !== "none")
    .flatMap((kind) =>
      strengths.map((guidance) => {
        const name = `sd-${kind}-s${String(guidance).replace("-", "m").replace(".", "p")}`;
        return [name, { ...diffusion, prompt: kind as (typeof prompts)[number], guidance }] as const;
      }),
    );
  return {
    ...amountsOf(flags),
    features: {
      words: { encoder: "words" },
      latent: { encoder: "latent", model },
      ...Object.fromEntries(clips.map(([name, path]) => [name, { encoder: "clip", model: path } as const])),
      untrained: { ...diffusion, taps: taps.slice(0, 1), timesteps: timesteps.slice(0, 1), untrained: 0 },
      sd: diffusion,
      ...Object.fromEntries(told),
    },
  };
}

async function linear(flags: LinearFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { embeddedModels } = await import("../../weights/index.js");
  const clips = flags.clip ?? ownClips.filter(([, path]) => embeddedModels().includes(path));
  const plan = planOf(flags, clips);
  const findings = await runHeads(plan, clips[0]?.[1], flags, shell);
  const looks = flags.looks > 0 ? await lookAround(flags, shell) : undefined;
  const ways = Object.keys(plan.features).filter((name) => name !== "sd" && name !== "words");
  const { probeReport } = await import("../../evaluation/index.js");
  const report = probeReport(findings, {
    contrasts: ways.map((name): [string, string] => (name.startsWith("sd-") ? [name, "sd"] : ["sd", name])),
    ...(looks && { looks }),
    tuning: flags.tuning ?? false,
    notes: notesOf(flags),
  });
  await publish(report, "linear", flags, shell);
}

function notesOf(flags: LinearFlags): string[] {
  const { taps, timesteps } = placesOf(flags);
  if (taps.length * timesteps.length === 1) return [];
  return [`The untrained U-Net is read at the first place alone: ${taps[0]}, t = ${timesteps[0]}.`];
}

/** Where the model's words look, and what questions change. */
async function lookAround({ model, looks: scenes, ...flags }: LinearFlags, shell: Shell) {
  const { DiffusionEncoder } = await import("../../diffusion/index.js");
  const { looks } = await import("../../evaluation/index.js");
  const { tap: [tap] = [], timestep: [timestep] = [], threads } = flags;
  const device = { device: "cpu", memory: "fast", threads } as const;
  await using eye = await DiffusionEncoder.fromPretrained(model, { ...device, passes: scenes });
  return await looks(eye, {
    scenes,
    split: flags.tuning ? "validation" : "test",
    ...(tap !== undefined && { tap }),
    ...(timestep !== undefined && { timestep }),
    signal: shell.signal,
    onScene: (done) => shell.progress.show(`looks: ${done} of ${scenes} scenes`),
  });
}
