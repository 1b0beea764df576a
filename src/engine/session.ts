/** @file Session options of each memory preset, for onnxruntime-node and onnxruntime-web alike. */

import type { InferenceSession } from "onnxruntime-common";
import type { SessionRequest } from "./host.js";

/**
 * `fast` lets the runtime fold, reorder and prepack weights; `mmap` computes from the file's own pages;
 * `low` does so too and also gives memory back after every operation.
 */
export function sessionOptions(request: SessionRequest): InferenceSession.SessionOptions {
  const { device, preset, packs = false, asWritten, threads, folder, profile } = request;
  const inPlace = preset !== "fast" && device === "cpu" && !packs;
  const session: Record<string, string> = {};
  const optimization: Record<string, string> = {};
  if (folder !== undefined) session.model_external_initializers_file_folder_path = folder;
  if (inPlace) {
    session.disable_prepacking = "1";
    optimization.disable_specified_optimizers = "ConstantFolding";
  }
  const level = asWritten ? "disabled" : !inPlace ? "all" : preset === "low" ? "disabled" : "extended";
  return {
    executionProviders: device === "cpu" ? ["cpu"] : [device, "cpu"],
    graphOptimizationLevel: level,
    intraOpNumThreads: threads,
    enableCpuMemArena: preset !== "low",
    // Planned ahead, training would hold the memory of its first run besides that of the others.
    enableMemPattern: preset !== "low" && !asWritten,
    logSeverityLevel: 3,
    ...(profile !== undefined && { enableProfiling: true, profileFilePrefix: profile }),
    extra: { session, optimization },
  };
}
