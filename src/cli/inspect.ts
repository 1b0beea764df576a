/** @file `diffsight inspect`: explains a model or a weight file from its headers. */

import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { Command } from "commander";
import { formatDims } from "../tensor/index.js";
import type { Checkpoint, ComponentInspection, Inspection, Misfit } from "../weights/index.js";
import { examples, type ModelFlags, outputFlags, sourceFlags } from "./flags.js";
import { openOptions } from "./open.js";
import { formatBytes } from "./progress.js";
import type { Shell } from "./shell.js";

interface InspectFlags extends ModelFlags {
  tensors?: boolean;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("<model> [flags]")
    .description(
      "Explains a pipeline, a component or a weight file (safetensors, torch): what it is, how large, what it is good for.\n\n" +
        "Only headers and configs are read; torch's pickles are never executed.",
    )
    .argument("<model>", "a folder, a file, or an id on the hub")
    .optionsGroup("What:")
    .option("--tensors", "list every tensor too");
  sourceFlags(command);
  outputFlags(command, { json: "print it as JSON" });
  examples(
    command,
    ["inspect path/to/stable-diffusion", "the components of a pipeline"],
    ["inspect photo.safetensors --tensors", "what an `extract` wrote, and from which request"],
  );
  command.action((model: string, flags: InspectFlags) => explain(model, flags, shell));
}

async function explain(model: string, flags: InspectFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { inspect } = await import("../weights/index.js");
  const options = openOptions(flags, shell);
  const { layoutOf } = await import("./layout.js");
  const found = await inspect(model, { ...options, layoutOf });
  const lists = flags.tensors ? await tensorLists(model, found, flags, shell) : [];
  if (flags.json) {
    const tensors = lists.map(([name, { entries }]) => [
      name,
      Object.fromEntries([...entries].map(([key, { dtype, dims }]) => [key, { dtype, shape: dims }])),
    ]);
    return shell.json(flags.tensors ? { ...found, tensorsOf: Object.fromEntries(tensors) } : found);
  }
  const { source, kind, className, components, parameters, bytes, notes } = found;
  shell.line(shell.bold(`${source}: ${className ?? (kind === "file" ? "a weight file" : "a component")}`));
  if (kind === "pipeline") shell.line(`${formatCount(parameters)} parameters, ${formatBytes(bytes)}`);
  for (const component of components) printComponent(component, shell);
  shell.line();
  for (const note of isFeatures(found) ? ["Features, written by diffsight."] : notes) shell.line(note);
  for (const [name, checkpoint] of lists) printTensors(name, checkpoint, shell);
}

function isFeatures({ components: [first] }: Inspection): boolean {
  return first?.weights?.metadata.diffsight !== undefined;
}

function printComponent(
  { name, className, config, weights, misfit, problem }: ComponentInspection,
  shell: Shell,
): void {
  shell.line();
  if (name) shell.line(shell.bold(`${name}: ${className ?? "unknown"}`));
  const row = (label: string, value: string) => shell.line(`  ${label.padEnd(11)} ${value}`);
  if (weights) {
    const { parameters, bytes, tensors, dtypes, format, variant, files, metadata } = weights;
    const types = Object.entries(dtypes).map(([dtype, numbers]) =>
      numbers === parameters ? dtype : `${dtype} ${formatCount(numbers)}`,
    );
    row(
      "weights",
      `${formatCount(parameters)} numbers in ${tensors} tensor${tensors === 1 ? "" : "s"}, ${formatBytes(bytes)}, ${types.join(", ")}`,
    );
    const [first] = files;
    const more = files.length > 1 ? ` and ${files.length - 1} more` : "";
    row(
      "stored",
      `${first ? basename(first.location) : ""}${more} (${format}${variant ? `, variant ${variant}` : ""})`,
    );
    for (const [key, value] of Object.entries(metadata)) {
      if (key === "diffsight") printRequest(value, row);
      // "pt", which torch's writers add to every file, says nothing.
      else if (key !== "format") row(key, value.length > 80 ? `${value.slice(0, 80)}…` : value);
    }
  }
  const settings = Object.entries(config).map(([key, value]) => `${key} ${formatValue(value)}`);
  for (const [i, line] of wrap(settings, 90).entries()) row(i === 0 ? "config" : "", line);
  if (misfit) printMisfit(misfit, row);
  if (problem) row("problem", problem);
}

/** Of a longer list the first few are named; --json has all. */
const shown = 3;

function printMisfit(
  { missing, unused, misshapen }: Misfit,
  row: (label: string, value: string) => void,
): void {
  const tell = (label: string, what: string, tensors: readonly string[]) => {
    if (tensors.length === 0) return;
    row(label, `${tensors.length} tensor${tensors.length === 1 ? "" : "s"} ${what}`);
    for (const tensor of tensors.slice(0, shown)) row("", `  ${tensor}`);
    if (tensors.length > shown) row("", `  and ${tensors.length - shown} more`);
  };
  tell("missing", "that the config asks for:", missing);
  tell("unused", "for which the config has no place:", unused);
  const shapes = misshapen.map(
    ({ key, dims, wanted }) => `${key}: ${formatDims(dims)}, asked for ${formatDims(wanted)}`,
  );
  tell("misshapen", "of other shapes than the config asks for:", shapes);
}

function printRequest(text: string, row: (label: string, value: string) => void): void {
  try {
    const request = JSON.parse(text) as Record<string, unknown>;
    for (const [key, value] of Object.entries(request)) if (value !== null) row(key, formatValue(value));
  } catch {
    row("diffsight", text.slice(0, 80));
  }
}

function formatValue(value: unknown): string {
  if (Array.isArray(value)) return value.map(formatValue).join(" ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** "865.9 M" */
function formatCount(numbers: number): string {
  for (const [unit, size] of [
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e3],
  ] as const) {
    if (numbers >= size) return `${(numbers / size).toPrecision(numbers >= 100 * size ? 4 : 3)} ${unit}`;
  }
  return String(numbers);
}

function wrap(parts: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const part of parts) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + part.length + 2 <= width)
      lines[lines.length - 1] = `${last}, ${part}`;
    else lines.push(part);
  }
  return lines;
}

/** The checkpoint of each component that has one. */
async function tensorLists(
  model: string,
  { components }: Inspection,
  flags: InspectFlags,
  shell: Shell,
): Promise<[name: string, checkpoint: Checkpoint][]> {
  const { openCheckpoint, openModel } = await import("../weights/index.js");
  const options = openOptions(flags, shell);
  if ((await stat(model).catch(() => undefined))?.isFile())
    return [[model, await openCheckpoint(model, options)]];
  const folder = await openModel(model, options);
  const weighty = components.filter(({ weights }) => weights);
  return Promise.all(
    weighty.map(async ({ name }): Promise<[string, Checkpoint]> => [name, await folder.checkpoint(name)]),
  );
}

function printTensors(name: string, { entries }: Checkpoint, shell: Shell): void {
  shell.line();
  if (name) shell.line(shell.bold(name));
  for (const [key, { dtype, dims }] of entries)
    shell.line(`  ${dtype.padEnd(4)} ${formatDims(dims).padEnd(22)} ${key}`);
}
