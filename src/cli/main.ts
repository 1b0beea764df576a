#!/usr/bin/env node
/** @file The command `diffsight`: finds the verb, loads it alone, and turns errors into a line and an exit status. */

import { Command, CommanderError, Option } from "commander";
import { DiffsightError } from "../tensor/index.js";
import { Shell } from "./shell.js";
import { version } from "./version.js";

/** A verb's module adds its arguments and flags to the command, and the action that does the work. */
type Define = (command: Command, shell: Shell) => void;

const verbs: readonly { name: string; summary: string; load: () => Promise<{ define: Define }> }[] = [
  {
    name: "demo",
    summary: "see everything once: a tour as one HTML page, on the embedded model",
    load: () => import("./demo.js"),
  },
  {
    name: "extract",
    summary: "features of images, given a text",
    load: () => import("./extract.js"),
  },
  {
    name: "attend",
    summary: "where each word of a text looks in an image",
    load: () => import("./attend.js"),
  },
  {
    name: "score",
    summary: "how well texts describe images",
    load: () => import("./score.js"),
  },
  {
    name: "ask",
    summary: "an answer to a question about images",
    load: () => import("./ask.js"),
  },
  {
    name: "generate",
    summary: "a picture from a text",
    load: () => import("./generate.js"),
  },
  {
    name: "diorama",
    summary: "pictures, captions and questions of the embedded world",
    load: () => import("./diorama.js"),
  },
  {
    name: "picture",
    summary: "a picture of extracted features",
    load: () => import("./picture.js"),
  },
  {
    name: "train",
    summary: "learn: data, training and models from a recipe",
    load: () => import("./train.js"),
  },
  {
    name: "eval",
    summary: "how often a vision-language model is right",
    load: () => import("./eval.js"),
  },
  {
    name: "probe",
    summary: "what features tell, what leaks, what is drawn",
    load: () => import("./probe.js"),
  },
  {
    name: "sweep",
    summary: "variants of a recipe, trained, judged and held against each other",
    load: () => import("./sweep.js"),
  },
  {
    name: "report",
    summary: "what a run has done so far, as a page",
    load: () => import("./report.js"),
  },
  {
    name: "taps",
    summary: "the places in a model whose features can be taken",
    load: () => import("./taps.js"),
  },
  {
    name: "inspect",
    summary: "explain a model or a weight file",
    load: () => import("./inspect.js"),
  },
  {
    name: "models",
    summary: "the models that are on this machine",
    load: () => import("./models.js"),
  },
  {
    name: "quantize",
    summary: "a language model in 4 or 8 bits, for faster answers",
    load: () => import("./quantize.js"),
  },
  {
    name: "doctor",
    summary: "check that everything works here",
    load: () => import("./doctor.js"),
  },
];

function program(shell: Shell): Command {
  const root = new Command("diffsight")
    .description("A frozen text-to-image diffusion model as a vision encoder that looks where a text points.")
    .usage("<verb> [arguments] [flags]")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand(false)
    .enablePositionalOptions()
    .commandsGroup("Verbs:")
    .configureHelp({ subcommandTerm: (command) => command.name(), optionDescription: describeOption })
    .configureOutput({
      writeOut: (text) => shell.out(text),
      writeErr: (text) => shell.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "diffsight: ")),
    })
    .exitOverride()
    .addHelpText(
      "after",
      `
Examples:
  $ diffsight demo
      what there is to see, as a page
  $ diffsight extract photo.jpg --model path/or/id --prompt "is the dog facing left?" -o photo.safetensors
      features of a photo, steered by a question

Results go to stdout, progress to stderr. Exit status: 0 done, 1 failed, 2 misused.
"diffsight <verb> --help" explains a verb.`,
    );
  for (const { name, summary } of verbs) {
    const help = new Option("-h, --help", "print this").helpGroup("Output:");
    root.command(name).summary(summary).addHelpOption(help);
  }
  root.hook("preSubcommand", async (_, command) => {
    const verb = verbs.find(({ name }) => name === command.name())!;
    (await verb.load()).define(command, shell);
    command.showHelpAfterError(`Try: diffsight ${verb.name} --help`);
  });
  return root;
}

/** commander's description of a flag, with its choices in fewer signs. */
function describeOption({ description, argChoices, defaultValue, ...option }: Option): string {
  const choices = argChoices ? [argChoices.join(", ")] : [];
  const value = option.defaultValueDescription ?? defaultValue;
  const preset = value === undefined || typeof value === "boolean" ? [] : [`default: ${value}`];
  const facts = [...choices, ...preset].join("; ");
  return facts ? `${description} (${facts})` : description;
}

/** `diffsight help`, `diffsight help extract` and a bare `diffsight` mean --help. */
function withHelp(args: readonly string[]): string[] {
  if (args.length === 0) return ["--help"];
  return args[0] === "help" ? [...args.slice(1, 2), "--help"] : [...args];
}

async function main(args: readonly string[]): Promise<void> {
  const shell = new Shell();
  try {
    await program(shell).parseAsync(withHelp(args), { from: "user" });
  } catch (error) {
    if (shell.interrupted) return shell.dieOfSignal();
    shell.endProgress();
    if (error instanceof CommanderError) {
      // commander has printed its sentence already.
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    shell.error(error);
    process.exitCode = error instanceof DiffsightError && error.misuse ? 2 : 1;
  }
  if (shell.interrupted) shell.dieOfSignal();
}

await main(process.argv.slice(2));
