/** @file What the diorama asks of a browser. */

import { failure } from "../tensor/index.js";
import type * as node from "./node.js";

/** Fetches the pack; by default "world.bin" under "diorama/" beside the page. */
export const readWorld: typeof node.readWorld = async (source = "diorama/world.bin") => {
  const response = await fetch(source).catch((cause) => {
    throw failure("NETWORK", `Cannot fetch the diorama's pack ${source}.`, cause);
  });
  if (!response.ok) {
    throw failure("FILE_NOT_FOUND", `Cannot fetch the diorama's pack ${source}: status ${response.status}.`);
  }
  return new Uint8Array(await response.arrayBuffer());
};
