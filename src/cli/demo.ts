/** @file `diffsight demo`: the tour on the embedded model, as one self-contained page. */

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { examples, outputFlags, wholeNumber } from "./flags.js";
import type { OutputFlags, Shell } from "./shell.js";

interface DemoFlags extends OutputFlags {
  out: string;
  threads?: number;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("[flags]")
    .description(
      "Everything once, on the embedded model and eight small pictures: what a question changes, what a language model " +
        "answers, where words look, what features look like, which caption fits, a generated picture, and timings. One HTML " +
        "page that needs no network.",
    )
    .optionsGroup("What:")
    .option("-o, --out <folder>", "where index.html goes", "demo")
    .option("--threads <n>", "threads of the CPU (default: all)", wholeNumber);
  outputFlags(command);
  examples(
    command,
    ["demo", "writes demo/index.html"],
    ["demo -o /tmp/tour --threads 1", "elsewhere, on one thread"],
  );
  command.action((flags: DemoFlags) => demo(flags, shell));
}

async function demo({ out, threads, ...flags }: DemoFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  await shell.checkWritable(out, { folder: true });
  const [{ takeTour }, { pageOf }] = await Promise.all([import("./demo/tour.js"), import("./demo/page.js")]);
  const tour = await takeTour(shell, threads);
  const file = resolve(out, "index.html");
  const page = pageOf(tour);
  await shell.write(file, page);
  const [paper] = tour.scores.settings;
  const right = tour.answers.filter((one) => one.right).length;
  shell.line(file);
  shell.line(
    `Computed in ${tour.seconds.toFixed(1)} s on ${tour.threads} thread${tour.threads === 1 ? "" : "s"}: ` +
      `${right} of ${tour.answers.length} questions answered rightly, ` +
      `${paper!.right} of ${paper!.pairs} pairs of captions matched by the paper's score; the next question about a picture took ${tour.timings.nextQuestion.toFixed(0)} ms.`,
  );
  shell.line(`Open ${pathToFileURL(file).href}`);
}
