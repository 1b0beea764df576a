/** @file A fusion as a whole: one step, or several of which each may take what earlier ones made. */

import { z } from "zod";
import type { Value } from "../../graph/index.js";
import { type Layout, LayoutBuilder } from "../../models/index.js";
import { formatDims, misuse } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";
import type { Fusion, FusionContext, NamedShape, Stream, StreamShape } from "./fusion.js";
import { type Normalisation, normalisationLayout, normalise } from "./normalisation.js";
import { type FusionStep, fusionStepSchema, fusions } from "./registry.js";

/** A step, or steps in order: all but the last are named by `as`. */
export const fusionSchema = z.union([
  fusionStepSchema.transform((step) => [step]),
  z.array(fusionStepSchema).min(1).max(16),
]);

export type FusionConfig = z.output<typeof fusionSchema>;

export interface FusionProgram {
  /** The encoders that are needed, in the order in which they are first named. */
  readonly encoders: readonly string[];
  /** Of streams that must keep the scale of another: that other one. */
  readonly scaledAs: Readonly<Record<string, string>>;
  /** Encoders whose tokens are whitened, with the key of the statistics: `whiteningOf` measures them before training. */
  readonly whitened: readonly { encoder: string; key: string }[];
  readonly output: StreamShape;
  /** All parameters, named `fusion.*`. */
  readonly layout: Layout;
  /**
   * @param w the root, in which `fusion.*` lie
   * @param streams each encoder's tokens [B, tokens, width]
   * @returns [B, tokens, width] as `output` says
   * @throws DiffsightError WEIGHT_MISSING, WEIGHT_SHAPE; misuse FUSION when a stream has not the planned shape
   */
  fuse(w: Scope, streams: Readonly<Record<string, Value>>, context?: FusionContext): Value;
}

interface PlannedStep {
  fusion: Fusion;
  /** "fusion", or "fusion.<name>" where the step has one. */
  key: string;
  as: string | undefined;
  normalisation: (encoder: string) => Normalisation;
  inputs: readonly NamedShape[];
}

/**
 * Checks a fusion against the shapes of the encoders that there are.
 * @throws misuse FUSION when they do not fit
 */
export function planFusion(
  config: FusionConfig,
  shapes: Readonly<Record<string, StreamShape>>,
): FusionProgram {
  const known = new Map(Object.entries(shapes));
  const used = new Set<string>();
  const layers = new LayoutBuilder();
  let output: StreamShape | undefined;
  const steps = config.map((step, i): PlannedStep => {
    const planned = planStep(step, known, i === config.length - 1);
    for (const { name } of planned.inputs) used.add(name);
    for (const { name, width } of planned.inputs) {
      const key = `${planned.key}.normalisation.${name}`;
      normalisationLayout(layers, key, planned.normalisation(name), width);
    }
    planned.fusion.layout?.(layers, planned.key, planned.inputs);
    output = planned.fusion.shape(planned.inputs);
    if (planned.as !== undefined) known.set(planned.as, output);
    return planned;
  });
  const idle = steps.find(({ as }) => as !== undefined && !used.has(as));
  if (idle) throw misuse("FUSION", `No later step takes "${idle.as}".`);
  return {
    encoders: [...used].filter((name) => Object.hasOwn(shapes, name)),
    whitened: steps.flatMap((step) => whitenedBy(step, shapes)),
    scaledAs: Object.assign({}, ...steps.map(({ fusion }) => fusion.scaledAs)),
    output: output!,
    layout: layers.build(),
    fuse: (w, streams, context = {}) => run(steps, w, streams, context),
  };
}

/** @throws misuse FUSION where there is nothing to measure before training */
function whitenedBy(
  { inputs, key, normalisation }: PlannedStep,
  shapes: Readonly<Record<string, StreamShape>>,
) {
  const names = inputs.map(({ name }) => name).filter((name) => normalisation(name) === "whitening");
  const made = names.find((name) => !Object.hasOwn(shapes, name));
  if (made !== undefined)
    throw misuse(
      "FUSION",
      `Whitening is measured on an encoder's tokens; "${made}" is made by an earlier step.`,
    );
  return names.map((encoder) => ({ encoder, key: `${key}.normalisation.${encoder}.whitening` }));
}

function planStep(
  step: FusionStep,
  known: ReadonlyMap<string, StreamShape>,
  isLast: boolean,
): Omit<PlannedStep, "output"> {
  const { as, type } = step;
  if (isLast !== (as === undefined)) {
    const rule = "every step but the last is named by `as`, and the last is not";
    throw misuse("FUSION", `${type}${as === undefined ? "" : ` "${as}"`}: ${rule}.`);
  }
  if (as !== undefined && known.has(as)) throw misuse("FUSION", `Two streams are called "${as}".`);
  const fusion = fusions.get(type)!.make(step);
  const inputs = fusion.encoders.map((name) => {
    const shape = known.get(name);
    if (shape) return { ...shape, name };
    throw misuse("FUSION", `${type}: there is no "${name}"; there are ${[...known.keys()].join(", ")}.`);
  });
  const twice = fusion.encoders.find((name, i) => fusion.encoders.indexOf(name) !== i);
  if (twice !== undefined) throw misuse("FUSION", `${type} names "${twice}" twice.`);
  const { normalisation: wanted } = step;
  const stray =
    typeof wanted === "string"
      ? undefined
      : Object.keys(wanted).find((name) => !fusion.encoders.includes(name));
  if (stray !== undefined)
    throw misuse("FUSION", `${type}: normalisation of "${stray}", which it does not take.`);
  const normalisation = (name: string) => (typeof wanted === "string" ? wanted : (wanted[name] ?? "none"));
  return { fusion, inputs, as, normalisation, key: as === undefined ? "fusion" : `fusion.${as}` };
}

function run(
  steps: readonly PlannedStep[],
  w: Scope,
  given: Readonly<Record<string, Value>>,
  context: FusionContext,
): Value {
  const values = new Map(Object.entries(given));
  let last: Value | undefined;
  for (const { fusion, inputs, key, as, normalisation } of steps) {
    const own = w.at(...key.split("."));
    const streams = inputs.map((shape): Stream => {
      const value = values.get(shape.name);
      const [, tokens, width] = value?.dims ?? [];
      if (!value || tokens !== shape.tokens || width !== shape.width) {
        const wanted = `[B, ${shape.tokens}, ${shape.width}]`;
        throw misuse(
          "FUSION",
          `"${shape.name}" is ${value ? formatDims(value.dims) : "missing"}, not ${wanted}.`,
        );
      }
      return {
        ...shape,
        value: normalise(own.at("normalisation", shape.name), normalisation(shape.name), value),
      };
    });
    last = fusion.fuse(own, streams, {
      dropout: context.dropout && ((name, dims, rate) => context.dropout!(`${key}.${name}`, dims, rate)),
    });
    if (as !== undefined) values.set(as, last);
  }
  return last!;
}
