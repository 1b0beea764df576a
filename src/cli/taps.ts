/** @file `diffsight taps`: the places in a model whose features can be taken. */

import type { Command } from "commander";
import type { TapInfo } from "../diffusion/index.js";
import { misuse } from "../tensor/index.js";
import { examples, type ModelFlags, modelFlags, outputFlags, size } from "./flags.js";
import { openEncoder } from "./open.js";
import { formatBytes } from "./progress.js";
import type { Shell } from "./shell.js";

interface TapsFlags extends ModelFlags {
  grep?: string;
  classic?: boolean;
  size?: number | readonly [number, number];
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("[filter] [flags]")
    .description(
      "The places in a model whose features can be taken, in the order in which they are computed, with their shape for " +
        "one image, their memory, and the share of the whole U-Net's work that it takes to get there.",
    )
    .argument("[filter]", "only names that hold this, in either spelling")
    .optionsGroup("What:")
    .option("--grep <pattern>", "only names that match this regular expression")
    .option("--classic", "only those that generic-diffusion-feature names too")
    .option("--size <px|WxH>", "of the image (default: the model's own)", size);
  modelFlags(command);
  outputFlags(command, { json: "print them as JSON" });
  examples(
    command,
    ["taps cross-q", "the queries of all cross-attentions of the embedded model"],
    [
      "taps --model path/or/id --size 768 --grep '^up-level[12].*out$' --json",
      "chosen ones of a real model, as JSON",
    ],
  );
  command.action((filter: string | undefined, flags: TapsFlags) => taps(filter, flags, shell));
}

async function taps(filter: string | undefined, flags: TapsFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const matches = matcher(filter, flags.grep);
  // Nothing is computed: no device needs to be sought.
  await using encoder = await openEncoder({ ...flags, device: "cpu" }, shell, 1);
  const all = await encoder.taps(flags.size === undefined ? {} : { size: flags.size });
  const chosen = all.filter((tap) => matches(tap) && (!flags.classic || tap.classic));
  if (flags.json) return shell.json(chosen);
  if (chosen.length === 0) throw misuse("UNKNOWN_TAP", `None of the ${all.length} taps fits.`);
  table(chosen, shell);
  const classic = all.filter((tap) => tap.classic).length;
  shell.line(
    shell.dim(
      `${chosen.length} of ${all.length} taps (${classic} classic: named in generic-diffusion-feature too; ` +
        "text-free: no text can change it).",
    ),
  );
}

/** @throws misuse PATTERN */
function matcher(filter: string | undefined, pattern: string | undefined): (tap: TapInfo) => boolean {
  const part = filter?.toLowerCase() ?? "";
  let expression: RegExp;
  try {
    expression = new RegExp(pattern ?? "", "i");
  } catch (cause) {
    throw misuse("PATTERN", `--grep: ${(cause as Error).message}.`);
  }
  return ({ id, short }) =>
    (id.includes(part) || short.toLowerCase().includes(part)) &&
    (expression.test(id) || expression.test(short));
}

function table(taps: readonly TapInfo[], shell: Shell): void {
  const rows = taps.map((tap) => [
    tap.id,
    tap.short,
    `[${tap.dims.join(", ")}]`,
    formatBytes(tap.bytes),
    `${(100 * tap.cost).toFixed(1)}%`,
    [tap.classic && "classic", tap.textFree && "text-free", tap.kind !== "grid" && tap.kind]
      .filter(Boolean)
      .join(", "),
  ]);
  const head = ["tap", "short", "shape", "memory", "cost", "marks"];
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const right = [3, 4];
  const layOut = (row: readonly string[]) =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd();
  shell.line(shell.bold(layOut(head)));
  for (const row of rows) shell.line(layOut(row));
}
