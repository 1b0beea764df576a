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
  json?: boolean;
}

type Fusion = NonNullable<ProbePlan["fused"]>[string];
type FusionStep = Exclude<Fusion, readonly unknown[]>;

/** Ways of joining two ways of seeing, whatever the widths of their tokens. */
const kinds: Readonly<Record<string, (first: string, second: string) => FusionStep>> = {
  "channel-concat": (first, second) => ({ type: "channel-concat", encoders: [first, second] }),
  "cross-attention": (queries, context) => ({ type: "cross-attention", queries, context }),
  "gated-cross-attention": (queries, context) => ({ type: "gated-cross-attention", queries, context }),
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
    );
  amountFlags(command, { seeds: 3 });
  threadsFlag(command);
  outputFlags(command, { json: "print the numbers as JSON" });
  examples(
    command,
    ["probe fusion", "the usual fusions on the embedded models"],
    ["probe fusion --fusion pyramid,transformer --guidance 1.5 --tuning", "others, while you choose"],
  );
  command.action((flags: FusionFlags) => fusion(flags, shell));
}

interface FusionPlan {
  plan: ProbePlan;
  contrasts: NonNullable<ReportOptions["contrasts"]>;
}

/** The ways of seeing, what joins them, and what is held against what. */
function planOf(flags: FusionFlags, control: string | undefined): FusionPlan {
  const { model, clip, tap, timestep, guidance } = flags;
  const encoder = "diffusion" as const;
  const diffusion = { encoder, model, taps: [tap], timesteps: [timestep] };
  const types = flags.fusion ?? usual;
  // Any guidance is weighed from the same two: u + s (c - u).
  const guided = (guidances: number[], unitLength: boolean) => {
    const pair = { unconditional: "sd", conditional: "sd-s1" };
    return { type: "guidance-ensemble", ...pair, guidances, unitLength } as const;
  };
  const strongly = guided([guidance], false);
  const joined = types.flatMap((type): [string, Fusion][] => [
    [`${type}-s0`, kinds[type]!("clip", "sd")],
    [type, [{ ...strongly, as: "told" }, kinds[type]!("clip", "told")]],
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
      ...(control !== undefined && { "two-clips": kinds["channel-concat"]!("clip", "control") }),
      ...Object.fromEntries(joined),
      ensemble: [
        { ...guided([0, 1, guidance], true), as: "told" },
        kinds["cross-attention"]!("clip", "told"),
      ],
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
  const { plan, contrasts } = planOf(flags, control);
  const findings = await runHeads(plan, clip, flags, shell);
  const { probeReport } = await import("../../evaluation/index.js");
  const report = probeReport(findings, {
    title: "CLIP and diffusion, joined",
    contrasts,
    tuning: flags.tuning ?? false,
    notes: [
      "Where several ways are joined, what joins them is trained with the head.",
      `Diffusion is read at ${tap}, t = ${timestep}: sd is told nothing, sd-s1 the question with s = 1, sd-told with s = ${guidance}; so are fusions, but those that end in s0. The ensemble weighs s = 0, 1 and ${guidance} by what it learns.`,
    ],
  });
  await publish(report, "fusion", flags, shell);
}
