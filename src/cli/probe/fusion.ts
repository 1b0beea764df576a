/** @file `diffsight probe fusion`: which way of joining CLIP and diffusion tells most, before a language model is trained. */

import type { Command } from "commander";
import type { ProbePlan, ReportOptions } from "../../evaluation/index.js";
import { misuse } from "../../tensor/index.js";
import { examples, list, oneOf, outputFlags, realNumber, threadsFlag, wholeNumber } from "../flags.js";
import type { Shell } from "../shell.js";
import { type AmountFlags, amountFlags, amountsOf, runHeads } from "./amounts.js";
import { publish } from "./publish.js";

interface FusionFlags extends AmountFlags {
  model: string;
  clip: string;
  control?: string;
  tap: string;
  timestep: number;
  guidance: number;
  fusion?: string[];
  positions: Positions;
  normalisation?: Normalisation[];
  json?: boolean;
}

const everyPositions = ["none", "learned", "alibi"] as const;
type Positions = (typeof everyPositions)[number];

const normalisations = ["none", "layer-norm", "l2", "whitening"] as const;
type Normalisation = (typeof normalisations)[number];

type Fusion = NonNullable<ProbePlan["fused"]>[string];
type FusionStep = Exclude<Fusion, readonly unknown[]>;

/** Ways of joining two ways of seeing, whatever the widths of their tokens. */
const kinds: Readonly<Record<string, (first: string, second: string, positions: Positions) => FusionStep>> = {
  "channel-concat": (first, second) => ({ type: "channel-concat", encoders: [first, second] }),
  "cross-attention": (queries, context, positions) => ({
    type: "cross-attention",
    queries,
    context,
    positions,
  }),
  "gated-cross-attention": (queries, context, positions) => ({
    type: "gated-cross-attention",
    queries,
    context,
    positions,
  }),
  pyramid: (first, second) => ({ type: "pyramid", encoders: [first, second] }),
  transformer: (first, second) => ({ type: "transformer", encoders: [first, second] }),
};

const usual = ["channel-concat", "cross-attention", "gated-cross-attention"];

export function define(command: Command, shell: Shell): void {
  command
    .usage("[-o <folder>] [flags]")
    .description(
      "Teaches each fusion of CLIP and diffusion together with a small head that answers two-option questions: which tells " +
        "most, in minutes where a language model takes hours. Beside them stand CLIP, a second CLIP and diffusion alone, " +
        "and both CLIPs joined. Writes a page with intervals and comparisons by pattern. Call it again after an " +
        "interruption: what is done is left alone.",
    )
    .optionsGroup("What:")
    .option("-o, --out <folder>", "where features, heads and fusion.html go", "runs/fusion")
    .option("-m, --model <path>", "folder of a diffusers pipeline", "embedded:sd")
    .option("--clip <path>", "the CLIPModel that is joined with it", "embedded:clip")
    .option("--control <path>", "a second CLIPModel (default: embedded:control where it is there)")
    .option("--tap <name>", "what is read of the U-Net", "U-L2-R2-Res-Out")
    .option("--timestep <t>", "how much noise it is read at", wholeNumber, 100)
    .option("--guidance <s>", "how strongly diffusion is told the question", realNumber, 4)
    .option(
      "--fusion <type>",
      `${Object.keys(kinds).join(", ")}; repeatable (default: ${usual.join(", ")})`,
      list(oneOf(Object.keys(kinds))),
    )
    .option(
      "--positions <kind>",
      `how cross-attention knows which places belong together: ${everyPositions.join(", ")}`,
      oneOf([...everyPositions]),
      "alibi",
    )
    .option(
      "--normalisation <kind>",
      `how features, as encoders give them, are brought to one scale before they are joined: ${normalisations.join(", ")}; repeatable (default: every channel has mean 0 and deviation 1)`,
      list(oneOf([...normalisations])),
    );
  amountFlags(command, { seeds: 3 });
  threadsFlag(command);
  outputFlags(command, { json: "print the numbers as JSON" });
  examples(
    command,
    ["probe fusion", "the usual fusions on the embedded models"],
    ["probe fusion --fusion pyramid,transformer --guidance 1.5 --tuning", "others, while you choose"],
    ["probe fusion --normalisation none,layer-norm,l2,whitening --tuning", "how to bring them to one scale"],
  );
  command.action((flags: FusionFlags) => fusion(flags, shell));
}

const rawNote =
  "Fusions get features as encoders give them; clip and sd alone have every channel at mean 0 and deviation 1.";

interface FusionPlan {
  plan: ProbePlan;
  contrasts: NonNullable<ReportOptions["contrasts"]>;
}

/** Each fusion with each normalisation, of features as encoders give them; diffusion is told nothing. */
function normalisedPlan(flags: FusionFlags, wanted: readonly Normalisation[]): FusionPlan {
  const { model, clip, tap, timestep, positions } = flags;
  const types = flags.fusion ?? ["channel-concat", "cross-attention"];
  const fused = types.flatMap((type) =>
    wanted.map(
      (normalisation) =>
        [`${type}-${normalisation}`, { ...kinds[type]!("clip", "sd", positions), normalisation }] as const,
    ),
  );
  const plan: ProbePlan = {
    ...amountsOf(flags),
    raw: true,
    features: {
      clip: { encoder: "clip", model: clip },
      sd: { encoder: "diffusion", model, taps: [tap], timesteps: [timestep] },
    },
    fused: Object.fromEntries(fused),
  };
  const contrasts = types.flatMap((type) =>
    wanted.slice(1).map((kind): [string, string] => [`${type}-${kind}`, `${type}-${wanted[0]}`]),
  );
  return { plan, contrasts };
}

/** The ways of seeing, what joins them, and what is held against what. */
function planOf(flags: FusionFlags, control: string | undefined): FusionPlan {
  const { model, clip, tap, timestep, guidance, positions } = flags;
  const encoder = "diffusion" as const;
  const diffusion = { encoder, model, taps: [tap], timesteps: [timestep] };
  const types = flags.fusion ?? usual;
  // Any guidance is weighed from the same two: u + s (c - u).
  const guided = (guidances: number[], unitLength: boolean) => {
    const pair = { unconditional: "sd", conditional: "sd-s1" };
    return { type: "guidance-ensemble", ...pair, guidances, unitLength } as const;
  };
  const strongly = guided([guidance], false);
  // Every channel has one scale here already.
  const join = (type: string, first: string, second: string) =>
    ({ ...kinds[type]!(first, second, positions), normalisation: "none" }) as const;
  const joined = types.flatMap((type): [string, Fusion][] => [
    [`${type}-s0`, join(type, "clip", "sd")],
    [type, [{ ...strongly, as: "told" }, join(type, "clip", "told")]],
  ]);
  const plan: ProbePlan = {
    ...amountsOf(flags),
    features: {
      clip: { encoder: "clip", model: clip },
      ...(control !== undefined && { control: { encoder: "clip", model: control } }),
      sd: diffusion,
      "sd-s1": { ...diffusion, prompt: "question", guidance: 1 },
    },
    fused: {
      "sd-told": strongly,
      ...(control !== undefined && { "two-clips": join("channel-concat", "clip", "control") }),
      ...Object.fromEntries(joined),
      ensemble: [{ ...guided([0, 1, guidance], true), as: "told" }, join("cross-attention", "clip", "told")],
    },
  };
  const pairs = [
    ...["control", "sd", "sd-s1", "sd-told", "two-clips", ...joined.map(([name]) => name), "ensemble"].map(
      (name) => [name, "clip"] as const,
    ),
    ...types.map((type) => [type, "two-clips"] as const),
    ...types.map((type) => [type, "sd-told"] as const),
    ...types.map((type) => [type, `${type}-s0`] as const),
    ["sd-told", "sd"] as const,
  ];
  const known = [...Object.keys(plan.features), ...Object.keys(plan.fused!)];
  return { plan, contrasts: pairs.filter((pair) => pair.every((name) => known.includes(name))) };
}

async function fusion(flags: FusionFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { guidance, clip, tap, timestep } = flags;
  if (guidance === 0 || guidance === 1)
    throw misuse("RANGE", `--guidance ${guidance} is among the others already: choose another.`);
  const { embeddedModels } = await import("../../weights/index.js");
  const own = "embedded:control";
  const control = flags.control ?? (embeddedModels().includes(own) ? own : undefined);
  const { plan, contrasts } = flags.normalisation
    ? normalisedPlan(flags, flags.normalisation)
    : planOf(flags, control);
  const findings = await runHeads(plan, clip, flags, shell);
  const { probeReport } = await import("../../evaluation/index.js");
  const report = probeReport(findings, {
    title: "CLIP and diffusion, joined",
    contrasts,
    tuning: flags.tuning ?? false,
    notes: flags.normalisation
      ? [`Diffusion is read at ${tap}, t = ${timestep}, and told nothing.`, rawNote]
      : [
          "Where several ways are joined, what joins them is trained with the head.",
          `Diffusion is read at ${tap}, t = ${timestep}: sd is told nothing, sd-s1 the question with s = 1, sd-told with s = ${guidance}; so are fusions, but those that end in s0. The ensemble weighs s = 0, 1 and ${guidance} by what it learns.`,
        ],
  });
  await publish(report, flags.normalisation ? "normalisation" : "fusion", flags, shell);
}
