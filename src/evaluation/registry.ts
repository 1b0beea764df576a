/** @file Everything that recipes can name, whichever verb has written them. */

import type { Registry } from "../training/index.js";
import { judgeRegistry } from "./answers/registry.js";
import { probeRegistry } from "./probe/registry.js";

export const everyRegistry: Registry = {
  tasks: { ...probeRegistry.tasks, ...judgeRegistry.tasks },
  producers: { ...probeRegistry.producers, ...judgeRegistry.producers },
};
