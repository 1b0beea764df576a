/** @file Fields of scheduler_config.json, with diffusers' names; what is not supported is refused by field. */

import { type DiffsightError, failure } from "../../tensor/index.js";

/** The parsed contents of scheduler_config.json. */
export type SchedulerConfig = Readonly<Record<string, unknown>>;

/**
 * Parses scheduler_config.json. Python also writes numbers that JSON does not have (`"lambda_min_clipped": -Infinity`).
 * @throws CONFIG when it is no JSON object
 */
export function parseSchedulerConfig(text: string): SchedulerConfig {
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/(:\s*-?)Infinity\b/g, "$11e999"));
  } catch (cause) {
    throw failure("CONFIG", "The scheduler's config is not valid JSON.", cause);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw failure("CONFIG", "The scheduler's config is no JSON object.");
  }
  return json as SchedulerConfig;
}

export function unsupported(field: string, value: unknown, allowed: string): DiffsightError {
  const found = typeof value === "number" ? value : (JSON.stringify(value)?.slice(0, 80) ?? "missing");
  return failure("CONFIG", `Scheduler config is not supported: ${field} is ${found}; allowed: ${allowed}.`);
}

/** One of several words; absent and null mean `usual`. */
export function choice<T extends string>(
  config: SchedulerConfig,
  field: string,
  allowed: readonly T[],
  usual: T,
): T {
  const value = config[field] ?? usual;
  if (!allowed.includes(value as T)) throw unsupported(field, value, allowed.join(", "));
  return value as T;
}

/** True or false; absent and null mean `usual`. */
export function flag(config: SchedulerConfig, field: string, usual: boolean): boolean {
  const value = config[field] ?? usual;
  if (typeof value !== "boolean") throw unsupported(field, value, "true, false");
  return value;
}

/** A number in [least, most]; absent and null mean `usual`. */
export function number(
  config: SchedulerConfig,
  field: string,
  usual: number,
  [least, most]: readonly [number, number] = [-Number.MAX_VALUE, Number.MAX_VALUE],
): number {
  const value = config[field] ?? usual;
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw unsupported(field, value, `numbers from ${least} to ${most}`);
  }
  return value;
}

/** As `number`, without fraction. */
export function integer(
  config: SchedulerConfig,
  field: string,
  usual: number,
  range: readonly [number, number],
): number {
  const value = number(config, field, usual, range);
  if (!Number.isInteger(value)) throw unsupported(field, value, `integers from ${range[0]} to ${range[1]}`);
  return value;
}

/** Refuses switches that would change the mathematics: each must be off (absent, null or false). */
export function refuse(config: SchedulerConfig, ...fields: string[]): void {
  for (const field of fields) {
    const value = config[field] ?? false;
    if (value !== false) throw unsupported(field, value, "false, null");
  }
}
