/** @file How far a recipe is, for whoever watches. */

import type { RecipeEvent } from "../training/index.js";
import { LiveCurve } from "./live-curve.js";
import { formatDuration } from "./progress.js";
import type { OutputFlags, Shell } from "./shell.js";

/** Milliseconds between two lines of a log. */
const relog = 15_000;

/** Turns events into a live curve on a terminal, and into lines elsewhere. */
export function recipeProgress(shell: Shell, { quiet = false }: OutputFlags) {
  const live = new LiveCurve(quiet ? undefined : process.stderr);
  let stage = "";
  let told = 0;
  const event = (event: RecipeEvent): void => {
    if (event.kind === "stage") {
      stage = `${event.name} (${event.index + 1} of ${event.stages})`;
      live.begin(stage);
      told = 0;
      if (event.done) shell.note(`${stage}: done already`);
      else if (!live.drawn) shell.note(`${stage}: begins`);
      return;
    }
    if (event.kind === "notice") {
      live.clear();
      if (event.warning) shell.warn(event.message);
      else shell.note(event.message);
      return;
    }
    const line = event.kind === "rows" ? rowsLine(event) : stepLine(event);
    if (live.drawn) {
      live.show(line, event.kind === "step" ? event.loss : undefined);
      return;
    }
    const last = event.kind === "rows" ? event.done === event.rows : event.step === event.steps;
    if (!last && Date.now() - told < relog) return;
    told = Date.now();
    shell.note(`${stage}: ${line}`);
  };
  return { event, end: () => live.end() };
}

function rowsLine({ done, rows, rowsPerSecond, secondsLeft }: RecipeEvent & { kind: "rows" }): string {
  return `${done} of ${rows} rows, ${rowsPerSecond.toFixed(0)} a second, ${formatDuration(1000 * secondsLeft)} left`;
}

function stepLine(event: RecipeEvent & { kind: "step" }): string {
  const { step, steps, loss, metrics, examplesPerSecond, secondsLeft, validation } = event;
  const named = (numbers: Record<string, number>) =>
    Object.entries(numbers).map(([name, value]) => `${name} ${value.toPrecision(3)}`);
  return [
    `step ${step} of ${steps}`,
    `${formatDuration(1000 * secondsLeft)} left`,
    `${examplesPerSecond.toPrecision(3)} images a second`,
    `loss ${loss.toPrecision(4)}`,
    ...named(metrics),
    ...(validation
      ? [`validation ${[validation.loss.toPrecision(4), ...named(validation.metrics)].join(" ")}`]
      : []),
  ].join(", ");
}
