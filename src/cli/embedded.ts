/** @file Where the package keeps its own pictures. */

import { fileURLToPath } from "node:url";

export const scenesFolder = fileURLToPath(new URL("../../assets/scenes", import.meta.url));

/** What diffusers computes with that model of one of the pictures. */
export const selfTestFile = fileURLToPath(new URL("../../assets/micro/self-test.json", import.meta.url));
