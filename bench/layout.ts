/** @file The tensors of the published checkpoints that the benchmarks imitate: files from 2022, with their names and buffers. */

import { clipTextLayout, clipVisionLayout, type Layout, unetLayout, vaeLayout } from "../src/models/index.js";

export { type Layout, type PlannedTensor, parameterCount } from "../src/models/index.js";

export const unetTensors = (json: unknown): Layout => unetLayout(json);

export const vaeTensors = (json: unknown): Layout => vaeLayout(json, { early: true });

export const textTensors = (json: unknown): Layout => clipTextLayout(json, { early: true });

export const visionTensors = (json: unknown): Layout => clipVisionLayout(json, { early: true });
