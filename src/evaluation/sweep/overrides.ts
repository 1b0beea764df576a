/** @file A variant's changes to the stages of a recipe, each by the path of what it changes. */

import { misuse } from "../../tensor/index.js";
import { matchKey } from "../../training/index.js";

/** A stage as JSON, not checked yet. */
export interface StageJson extends Record<string, unknown> {
  name: string;
}

/** "sd*.config.taps[0]" -> ["sd*", "config", "taps", 0] */
function parsePath(path: string, at: string): (string | number)[] {
  const parts = [...path.matchAll(/(?:^|\.)([^.[\]]+)|\[(\d+)\]/g)];
  if (parts.map(([whole]) => whole).join("") !== path || parts.length < 2) {
    throw misuse("PLAN", `${at}: a path is a stage's name and its fields, as "speaker.config.length"`);
  }
  return parts.map(([, field, index]) => field ?? Number(index));
}

/**
 * The stages with a variant's changes; what is given stays as it is.
 * @param set values by path, of which null removes
 * @param at where the changes stand in the plan, for messages
 * @throws DiffsightError PLAN that names the path
 */
export function overridden(
  stages: readonly StageJson[],
  set: Readonly<Record<string, unknown>>,
  at: string,
): StageJson[] {
  const changed = structuredClone(stages) as StageJson[];
  for (const [path, value] of Object.entries(set)) {
    const place = `${at}[${JSON.stringify(path)}]`;
    const [pattern, ...fields] = parsePath(path, place);
    const those = changed.filter(({ name }) => matchKey(String(pattern), name) !== undefined);
    if (those.length === 0) {
      const names = changed.map(({ name }) => name).join(", ");
      throw misuse("PLAN", `${place}: no stage is called "${pattern}" (${names})`);
    }
    if (fields[0] === "name") throw misuse("PLAN", `${place}: a stage keeps its name`);
    for (const stage of those) put(stage, fields, value, place);
  }
  return changed;
}

function put(stage: StageJson, fields: readonly (string | number)[], value: unknown, place: string): void {
  let target: Record<string | number, unknown> = stage;
  for (const [i, field] of fields.entries()) {
    if (
      Array.isArray(target) !== (typeof field === "number") ||
      (Array.isArray(target) && !(field in target))
    ) {
      throw misuse("PLAN", `${place}: ${stage.name} has no "${field}" there`);
    }
    if (i === fields.length - 1) {
      if (value !== null) target[field] = structuredClone(value);
      else if (Array.isArray(target)) target.splice(Number(field), 1);
      else delete target[field];
      return;
    }
    target[field] ??= {};
    const next = target[field];
    if (typeof next !== "object" || next === null) {
      throw misuse(
        "PLAN",
        `${place}: "${field}" of ${stage.name} is ${JSON.stringify(next)} and has no fields`,
      );
    }
    target = next as Record<string | number, unknown>;
  }
}
