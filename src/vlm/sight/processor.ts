/** @file How a folder says that its encoder's pictures are prepared. */

import { finalSize, type PreprocessorConfig, readPreprocessorConfig } from "../../image/index.js";
import type { VisionEncoder } from "../../models/index.js";
import { failure } from "../../tensor/index.js";
import type { ModelFolder, OpenOptions } from "../../weights/index.js";

export interface ImageProcessor {
  config: PreprocessorConfig;
  /** The fields as they stand in the folder; none where it has no image processor. */
  stated: Record<string, unknown> | undefined;
}

/**
 * A folder's image processor: what `processor_config.json` holds under `image_processor`, as transformers 5 saves it, else
 * `preprocessor_config.json`. Where there is neither it is the usual one of the encoder's kind, and a notice says so.
 * @throws DiffsightError CONFIG, FILE_CORRUPT
 */
export async function readImageProcessor(
  folder: ModelFolder,
  { kind, preprocessor }: Pick<VisionEncoder, "kind" | "preprocessor">,
  onProgress?: OpenOptions["onProgress"],
): Promise<ImageProcessor> {
  const stated =
    (await processorPart(folder)) ??
    (await folder.json<Record<string, unknown>>("preprocessor_config.json", true));
  if (stated) return { config: readPreprocessorConfig(stated), stated };
  const { width, height } = finalSize(preprocessor);
  onProgress?.({
    status: "notice",
    name: folder.source,
    message:
      `${folder.source} does not say how its pictures are prepared (preprocessor_config.json, or image_processor in ` +
      `processor_config.json): they are as is usual for ${kind}, ${width} x ${height} with the mean ` +
      `${preprocessor.image_mean.join(", ")}.`,
  });
  return { config: preprocessor, stated: undefined };
}

async function processorPart(folder: ModelFolder): Promise<Record<string, unknown> | undefined> {
  const name = "processor_config.json";
  const part = (await folder.json(name, true))?.image_processor ?? undefined;
  if (part === undefined || (typeof part === "object" && !Array.isArray(part)))
    return part as Record<string, unknown> | undefined;
  throw failure("CONFIG", `${folder.source}: image_processor of ${name} is no object.`);
}
