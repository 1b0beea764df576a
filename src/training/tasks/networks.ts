/** @file Networks in a stage's config: the very fields of their config.json, checked as the networks read them. */

import { z } from "zod";
import type { DiffsightError } from "../../tensor/index.js";

export type NetworkJson = Record<string, unknown>;

/** A config.json, of which `read` throws what is wrong. */
export function networkSchema(read: (json: NetworkJson) => unknown): z.ZodType<NetworkJson> {
  return z.record(z.string(), z.unknown()).superRefine((json, context) => {
    try {
      read(json);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as DiffsightError).message });
    }
  });
}
