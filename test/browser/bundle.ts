/** @file Builds a page with Vite as its author would, and tells what went into it. */

import path from "node:path";
import { build, type InlineConfig, mergeConfig, type Rolldown } from "vite";

export interface Bundle {
  /** Every module that went in, by id. */
  modules: string[];
  /** File name -> bytes. */
  files: Map<string, number>;
  /** The code of all chunks. */
  code: string;
  warnings: string[];
}

/** Builds the page of a folder (its index.html, or what `config` names) into another. */
export async function bundle(page: string, outDir: string, config: InlineConfig = {}): Promise<Bundle> {
  const warnings: string[] = [];
  const onLog: Rolldown.InputOptions["onLog"] = (level, { code, message }) => {
    // That the machine was slow is no fault of the bundle.
    if (level === "warn" && code !== "PLUGIN_TIMINGS") warnings.push(message);
  };
  const common: InlineConfig = {
    root: page,
    logLevel: "silent",
    build: { outDir, emptyOutDir: true, rolldownOptions: { onLog } },
  };
  const built = (await build(mergeConfig(common, config))) as Rolldown.RolldownOutput;
  const chunks = built.output.filter((file) => file.type === "chunk");
  return {
    modules: chunks.flatMap(({ moduleIds }) => moduleIds),
    files: new Map(
      built.output.map((file) => [
        path.posix.basename(file.fileName),
        Buffer.byteLength(file.type === "chunk" ? file.code : file.source),
      ]),
    ),
    code: chunks.map(({ code }) => code).join("\n"),
    warnings,
  };
}
