/** @file What a run of the tiny task needs. */

import { contentKey } from "../../src/data/index.js";
import { randomAt, type Settings, type TrainingRequest } from "../../src/training/index.js";
import { task } from "./tiny-task.js";

export type TinyConfig = { hidden: number; spoiled?: number; slow?: number };

export function tiny(
  folder: string,
  settings: Settings,
  config: TinyConfig = { hidden: 16 },
): TrainingRequest<TinyConfig> & { onNotice: (message: string) => void } {
  return {
    name: "tiny",
    module: new URL("./tiny-task.ts", import.meta.url).href,
    task: task as TrainingRequest<TinyConfig>["task"],
    config,
    data: {},
    settings,
    initial: task.initial(config, randomAt("initial", settings.seed)),
    key: contentKey({ settings, hidden: config.hidden }),
    folder,
    threads: 2,
    onNotice: () => {},
  };
}
