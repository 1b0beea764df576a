/** @file `diffsight report`: what a run has done so far, as one page. */

import { join } from "node:path";
import type { Command } from "commander";
import { examples, outputFlags } from "./flags.js";
import type { OutputFlags, Shell } from "./shell.js";

interface ReportFlags extends OutputFlags {
  out?: string;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<run> [flags]")
    .description(
      "Writes a page about a run: which stages are done, their loss curves, what validation says, and the models that came " +
        "out, with the run's other pages. It reads files only, so the run may go on meanwhile.",
    )
    .argument("<run>", "the folder that train, probe, sweep or eval has written")
    .optionsGroup("What:")
    .option("-o, --out <file>", "the page (default: report.html in the run)");
  outputFlags(command, { json: "print the stages as JSON, and write nothing" });
  examples(
    command,
    ["report runs/diorama-quick", "a training, while it goes on or when it is done"],
    ["report runs/diorama-quick -o quick.html", "the page in another place"],
  );
  command.action((run: string, flags: ReportFlags) => report(run, flags, shell));
}

async function report(run: string, flags: ReportFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { json = false, out = join(run, "report.html") } = flags;
  if (!json) await shell.checkWritable(out);
  const { readRun } = await import("../training/index.js");
  const { evaluationRegistry } = await import("../evaluation/index.js");
  const found = await readRun(run, evaluationRegistry);
  if (json) {
    const stages = found.stages.map(({ steps, ...stage }) => ({
      ...stage,
      ...(steps?.length && { step: steps.length }),
    }));
    return shell.json({ recipe: found.recipe.name, stages });
  }
  const { runPage } = await import("./report/page.js");
  await shell.write(out, await runPage(run, found, out));
  if (out !== "-") shell.line(out);
}
