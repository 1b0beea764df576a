/** @file `diffsight probe`: experiments on what is seen, in the embedded world. */

import { type Command, Option } from "commander";
import * as drawn from "./probe/drawn.js";
import * as fusion from "./probe/fusion.js";
import * as leakage from "./probe/leakage.js";
import * as linear from "./probe/linear.js";
import * as pixels from "./probe/pixels.js";
import type { Shell } from "./shell.js";

const probes = { linear, fusion, leakage, pixels, drawn };

const summaries: Readonly<Record<keyof typeof probes, string>> = {
  linear: "what frozen features tell, beside CLIP's",
  fusion: "which way of joining CLIP and diffusion tells most",
  leakage: "whether a model reads its answer from the text that diffusion was told",
  pixels: "what there is to be seen: a network taught on the pictures themselves",
  drawn: "whether a diffusion model draws what a caption says",
};

export function define(command: Command, shell: Shell): void {
  command
    .usage("<what> [flags]")
    .description(
      "Experiments on what is seen, in the embedded world. Each writes a page with its numbers beside it.",
    )
    .helpCommand(false)
    .commandsGroup("What:");
  for (const [name, { define }] of Object.entries(probes)) {
    const help = new Option("-h, --help", "print this").helpGroup("Output:");
    const one = command.command(name).addHelpOption(help);
    define(one, shell);
    one
      .summary(summaries[name as keyof typeof probes])
      .showHelpAfterError(`Try: diffsight probe ${name} --help`);
  }
  command.addHelpText("after", '\n"diffsight probe <what> --help" explains one.');
}
