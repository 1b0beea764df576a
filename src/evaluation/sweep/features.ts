/**
 * @file The stages of features that a model learns from, where a plan names none: each encoder of its description sees
 * the pictures once, whatever variants and seeds look through it.
 */

import { parseDescription } from "../../vlm/index.js";
import { featuresOf, type StoredText, storedText } from "../answers/streams.js";
import type { StageJson } from "./overrides.js";

interface TrainJson extends StageJson {
  config: { sight: Record<string, unknown>; phase?: "stage1" | "stage2" };
  data: Record<string, string>;
}

/**
 * Adds to each stage that teaches to see, for each of its encoders that has no store, one of its features without a
 * text, and one of those that were told what it is told in training. A text that is drawn anew each time has none.
 * @param model the stage of export
 */
export function withFeatures(stages: readonly StageJson[], model: string): StageJson[] {
  const sources = stages.find(({ name }) => name === model)?.from;
  const made = new Map<string, StageJson>();
  const changed = stages.map((stage) => {
    const isSource = Array.isArray(sources) && sources.includes(stage.name);
    return isSource && seesSomething(stage) ? { ...stage, data: withStores(stage, made) } : stage;
  });
  return [...changed, ...made.values()];
}

function seesSomething(stage: StageJson): stage is TrainJson {
  const { config, data } = stage as { config?: { sight?: unknown }; data?: unknown };
  return (
    typeof config?.sight === "object" && config.sight !== null && typeof data === "object" && data !== null
  );
}

function withStores({ config, data }: TrainJson, made: Map<string, StageJson>): Record<string, string> {
  const { encoders } = parseDescription(config.sight);
  const roles = { ...data };
  for (const [name, encoder] of Object.entries(encoders)) {
    const text = storedText(encoder, config.phase ?? "stage2");
    if (name in data || text === "noisy-caption") continue;
    const texts: (StoredText | undefined)[] = text ? [undefined, text] : [undefined];
    for (const prompt of texts) {
      for (const [role, pictures] of Object.entries({ "": data.train, "-validation": data.validation })) {
        if (pictures === undefined) continue;
        const stage = `${name}${prompt ? `-${prompt}` : ""}${role}`;
        roles[stage] = `features-${stage}`;
        made.set(stage, {
          name: `features-${stage}`,
          kind: "data",
          producer: "features",
          config: featuresOf(encoder, ".", prompt),
          data: { pictures },
        });
      }
    }
  }
  return roles;
}
