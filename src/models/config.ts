/** @file Reading config.json: the field names are diffusers' and transformers'; what is not supported is refused by name. */

import { z } from "zod";
import { failure } from "../tensor/index.js";

/**
 * Reads a config with its defaults.
 * @throws DiffsightError CONFIG that names the fields that are wrong or not supported
 */
export function readConfig<T>(schema: z.ZodType<T>, json: unknown, what: string): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issues = result.error.issues.map(
    ({ path, message }) => `${path.join(".") || "the file"}: ${message}`,
  );
  throw failure("CONFIG", `${what} config is not supported: ${issues.join("; ")}`);
}

/** A field that may be absent, null or exactly one of these: anything else is another network. */
export function only<T extends string | number | boolean>(...allowed: readonly (T | null)[]) {
  const names = allowed.map((value) => JSON.stringify(value)).join(", ");
  return z
    .unknown()
    .optional()
    .refine((value) => value === undefined || (allowed as readonly unknown[]).includes(value), {
      error: (issue) => `${JSON.stringify(issue.input)} is not supported (only ${names})`,
    });
}

/** A field with a default, where the file may also say null. */
export function withDefault<T>(schema: z.ZodType<T>, value: T): z.ZodType<T> {
  return z.preprocess((given) => given ?? value, schema) as unknown as z.ZodType<T>;
}

export const size = z.number().int().positive();
