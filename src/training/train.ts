/** @file The training loop: steps, validation, checkpoints and the log of one stage. */

import { appendFileSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { aborted, DiffsightError, decodeSafetensors, encodeSafetensors, failure } from "../tensor/index.js";
import { type Checkpoint, writeFileAtomic } from "../weights/index.js";
import { type LoggedStep, toCsv, toSvg } from "./curve.js";
import { clipFactor } from "./optimizer.js";
import { loadCheckpoint, type RunProgress, saveCheckpoint } from "./run-checkpoint.js";
import { rateAt } from "./schedule.js";
import type { Settings } from "./settings.js";
import { loggedSteps, stepLog } from "./step-log.js";
import { planTraining } from "./step-program.js";
import type { Task, Weights } from "./task.js";
import { type Scores, type StepScores, sharedArrays, Team, workersOf } from "./team.js";
import { flatten, unflatten } from "./weights.js";

export interface TrainingEvent extends LoggedStep {
  steps: number;
  examplesPerSecond: number;
  secondsLeft: number;
  /** Milliseconds of this step. */
  times: StepScores["times"] & { update: number };
}

export interface TrainingRequest<Config> {
  /** For messages and titles. */
  name: string;
  /** URL of the module that exports `task`; each thread loads it. */
  module: string;
  task: Task<Config>;
  config: Config;
  /** Folders of the stores. */
  data: Readonly<Record<string, string>>;
  settings: Settings;
  /** The weights in memory before the first step: all that are trained, and others. */
  initial: Weights;
  /** More weights, in files, which are read in place. */
  base?: Checkpoint | undefined;
  /** Identifies the run, so that nothing goes on with the checkpoint of another. */
  key: string;
  /** Checkpoints, `metrics.jsonl`, `loss.csv` and `curve.svg` go there. */
  folder: string;
  threads: number;
  signal?: AbortSignal | undefined;
  onStep?: (event: TrainingEvent) => void;
  /** Told where the run goes on. */
  onNotice?: (message: string) => void;
  /** Told of damaged checkpoints, and of what is left out of batches. */
  onWarning?: (message: string) => void;
}

export interface TrainingResult {
  /** The moving average where there is one; the best ones where patience decides. */
  weights: Weights;
  steps: number;
  seconds: number;
  /** The last step's loss. */
  loss: number;
  validation: Scores | undefined;
}

/** Milliseconds between two drawings of the curve's file. */
const redraw = 15_000;

/** Milliseconds of work that a kill may cost at most, however long the steps are. */
const mostLost = 120_000;

/** Steps in a row of which nothing counts, after which training stops. */
const mostIdle = 10;

/** Steps over which the speed is measured. */
const recent = 30;

/** The log of a run; a run that goes on forgets what came after its checkpoint. */
class Log {
  #steps: LoggedStep[] = [];
  #drawn = 0;

  private constructor(
    readonly folder: string,
    readonly title: string,
  ) {}

  static async open(folder: string, title: string, step: number): Promise<Log> {
    const log = new Log(folder, title);
    log.#steps = (await loggedSteps(folder)).filter((one) => one.step <= step);
    await writeFileAtomic(log.#path, log.#steps.map((one) => `${JSON.stringify(one)}\n`).join(""));
    return log;
  }

  get #path(): string {
    return stepLog(this.folder);
  }

  get steps(): readonly LoggedStep[] {
    return this.#steps;
  }

  add(step: LoggedStep): void {
    this.#steps.push(step);
    try {
      appendFileSync(this.#path, `${JSON.stringify(step)}\n`);
    } catch (cause) {
      const full = (cause as NodeJS.ErrnoException).code === "ENOSPC";
      const what = full ? "no space is left on the disk" : (cause as Error).message;
      throw failure(full ? "DISK_FULL" : "FILE_WRITE", `${this.#path} could not be written: ${what}.`, cause);
    }
  }

  async draw({ now = false } = {}): Promise<void> {
    if (!now && Date.now() - this.#drawn < redraw) return;
    await writeFileAtomic(join(this.folder, "loss.csv"), toCsv(this.#steps));
    await writeFileAtomic(join(this.folder, "curve.svg"), toSvg(this.#steps, this.title));
    this.#drawn = Date.now();
  }
}

function nothingCounts(name: string, step: number, steps = 1): string {
  const what = steps === 1 ? `step ${step}` : `${steps} steps in a row, the last of them ${step}`;
  return (
    `${name}, ${what}: no example of the batch counts, so that nothing is learnt. All were left out, or cut off before ` +
    "their answers begin; the warnings before say which."
  );
}

/**
 * Trains until the steps are done, patience is spent, or the signal fires; goes on from the folder's checkpoint.
 * @throws DiffsightError LOSS_NOT_FINITE with the last good state kept, NOTHING_LEARNT, ABORTED after saving, CHECKPOINT_BROKEN, DISK_FULL
 */
export async function train<Config>(request: TrainingRequest<Config>): Promise<TrainingResult> {
  const { module, task, config, data, settings, initial, base, key, folder, threads, signal } = request;
  const { steps, batch, optimizer, schedule, validation } = settings;
  const { onStep = () => {}, onNotice = () => {}, onWarning = () => {} } = request;
  const { layout } = planTraining(task, config, settings, initial, base);
  const arrays = sharedArrays(layout.length, workersOf(settings, threads), settings.ema !== undefined);
  const checkpoints = join(folder, "checkpoints");
  const bestFile = join(folder, "best.safetensors");
  await mkdir(checkpoints, { recursive: true });

  const run = { key, layout, arrays };
  let progress: RunProgress = { step: 0, seconds: 0, waited: 0 };
  const found = await loadCheckpoint(checkpoints, run, (broken) =>
    onWarning(`${broken}: taking the one before.`),
  );
  if (found) progress = found;
  else {
    flatten(layout, initial, arrays.weights);
    flatten(layout, initial, arrays.average ?? arrays.weights);
  }
  if (progress.step > 0 && progress.step < steps)
    onNotice(`${request.name}: going on after step ${progress.step}.`);
  const log = await Log.open(folder, request.name, progress.step);
  const weightsNow = () => unflatten(layout, arrays.average ?? arrays.weights, initial);

  let saved = progress.step;
  let savedAt = Date.now();
  const save = async () => {
    if (saved === progress.step) return;
    try {
      await saveCheckpoint(checkpoints, { ...run, progress });
    } catch (error) {
      if (!(error instanceof DiffsightError)) throw error;
      const last = saved > 0 ? `The checkpoint of step ${saved} is kept.` : "There is no earlier one.";
      throw failure(error.code, `Step ${progress.step} could not be saved: ${error.message} ${last}`, error);
    }
    saved = progress.step;
    savedAt = Date.now();
    await log.draw({ now: true });
  };

  const told = new Set<string>();
  const tell = (warnings: readonly string[]) => {
    for (const warning of warnings) {
      if (!told.has(warning)) onWarning(warning);
      told.add(warning);
    }
  };

  const exhausted = () => validation?.patience !== undefined && progress.waited >= validation.patience;
  if (progress.step < steps && !exhausted()) {
    const team = await Team.open({ module, config, data, settings, layout, initial, arrays, threads });
    try {
      const durations: number[] = [];
      let idle = 0;
      while (progress.step < steps && !exhausted()) {
        if (signal?.aborted) {
          await save();
          throw aborted();
        }
        const step = progress.step;
        const begin = performance.now();
        const scores = await team.gradients(step).catch(async (error) => {
          // A batch that cannot be made, or a thread that ends, costs no step before it.
          await save();
          throw error;
        });
        tell(scores.warnings);
        idle = scores.weight === 0 ? idle + 1 : 0;
        if (idle === 1) onWarning(nothingCounts(request.name, step + 1));
        if (idle === mostIdle) {
          await save();
          throw failure(
            "NOTHING_LEARNT",
            `${nothingCounts(request.name, step + 1, idle)} What came before is kept.`,
          );
        }
        if (!Number.isFinite(scores.loss) || !Number.isFinite(scores.norm)) {
          await save();
          const what = Number.isFinite(scores.loss)
            ? `the gradients' norm is ${scores.norm} (the loss ${scores.loss})`
            : `the loss is ${scores.loss}`;
          const last = step > 0 ? `The weights after step ${step} are kept in ${checkpoints}.` : "";
          throw failure(
            "LOSS_NOT_FINITE",
            `${request.name}, step ${step + 1}: ${what}. A lower learning rate, a warmup or clipping may help. ${last}`,
          );
        }
        const rate = optimizer.lr * rateAt(schedule, step, steps);
        const computed = performance.now();
        await team.update(step, { rate, clip: clipFactor(scores.norm, optimizer.clip) });
        const update = performance.now() - computed;
        progress = { ...progress, step: step + 1 };

        const due = validation && (progress.step % validation.every === 0 || progress.step === steps);
        const validated = due && team.batches > 0 ? await team.validate() : undefined;
        if (validated) tell(validated.warnings);
        const judged = validated && { loss: validated.loss, metrics: validated.metrics };
        if (judged) {
          const better = judged.loss < (progress.best?.loss ?? Number.POSITIVE_INFINITY);
          const best = better ? { step: progress.step, loss: judged.loss } : progress.best;
          progress = { ...progress, ...(best && { best }), waited: better ? 0 : progress.waited + 1 };
          if (better && validation?.patience !== undefined) {
            await writeFileAtomic(bestFile, encodeSafetensors(weightsNow()));
          }
        }
        const took = performance.now() - begin;
        progress = { ...progress, seconds: progress.seconds + took / 1000 };
        durations.push(took / 1000);
        if (durations.length > recent) durations.shift();
        const usual = durations.reduce((sum, one) => sum + one, 0) / durations.length;
        const logged: LoggedStep = {
          step: progress.step,
          loss: scores.loss,
          metrics: scores.metrics,
          rate,
          norm: scores.norm,
          seconds: progress.seconds,
          ...(judged && { validation: judged }),
        };
        log.add(logged);
        onStep({
          ...logged,
          steps,
          examplesPerSecond: batch / usual,
          secondsLeft: usual * (steps - progress.step),
          times: { ...scores.times, update },
        });
        if (progress.step % settings.checkpoint === 0 || Date.now() - savedAt > mostLost) await save();
        else await log.draw();
      }
      await save();
    } finally {
      await team.close();
    }
  }
  const best = validation?.patience !== undefined && progress.best !== undefined;
  const weights = best ? await readBest(bestFile, initial) : weightsNow();
  await log.draw({ now: true });
  return {
    weights,
    steps: progress.step,
    seconds: progress.seconds,
    loss: log.steps.at(-1)?.loss ?? Number.NaN,
    validation: log.steps.findLast((one) => one.validation)?.validation,
  };
}

/** The best weights, in the order of all. */
async function readBest(file: string, initial: Weights): Promise<Weights> {
  const { tensors } = decodeSafetensors(await readFile(file));
  return new Map([...initial.keys()].map((key) => [key, tensors.get(key)!]));
}

/** Removes what only a run in progress needs. */
export async function discardRun(folder: string): Promise<void> {
  await rm(join(folder, "checkpoints"), { recursive: true, force: true });
  await rm(join(folder, "best.safetensors"), { force: true });
}
