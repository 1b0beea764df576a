/**
 * @file The optimizer: torch's AdamW, clipping by the global norm, and a moving average of the weights, in place on flat
 * arrays. Work is cut into chunks of one size, whoever does them, so that no sum depends on who did.
 */

export interface AdamW {
  betas: readonly [number, number];
  eps: number;
  /** Taken from the weights themselves, times the learning rate (Loshchilov and Hutter 2019). */
  weightDecay: number;
}

/** Numbers in a chunk: the unit of work that is divided among threads. */
export const chunkSize = 1 << 14;

/** A part of a flat array: begin .. end - 1. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

/** The chunks of a worker: in order, one after the other, the shares as equal as can be. */
export function shareOf(length: number, worker: number, workers: number): Span {
  const chunks = Math.ceil(length / chunkSize);
  const at = (share: number) => Math.min(length, Math.floor((chunks * share) / workers) * chunkSize);
  return { begin: at(worker), end: at(worker + 1) };
}

/** Which of a step's parts are added up at once. */
export interface Round {
  /** Whether these are the step's first parts. */
  begins: boolean;
  /** The weights of all parts together, when these are the last of them. */
  ends?: number | undefined;
}

/** A part's gradients, and how much they count in the step's mean. */
export interface WeightedGradients {
  gradients: Float32Array;
  weight: number;
}

/**
 * Adds gradients of some parts, in their order, times their weights, to the sum of those before; at the end of a step the
 * sum becomes the mean of all (zero where nothing counts), and each chunk's sum of squares is taken.
 */
export function reduceGradients(
  sum: Float32Array,
  parts: readonly WeightedGradients[],
  { begin, end }: Span,
  squares: Float64Array,
  { begins, ends }: Round,
): void {
  for (let chunk = begin; chunk < end; chunk += chunkSize) {
    const to = Math.min(chunk + chunkSize, end);
    if (begins) sum.fill(0, chunk, to);
    for (const { gradients, weight } of parts) {
      for (let i = chunk; i < to; i++) sum[i] = sum[i]! + gradients[i]! * weight;
    }
    if (ends === undefined) continue;
    const share = ends === 0 ? 0 : 1 / ends;
    let square = 0;
    for (let i = chunk; i < to; i++) {
      const value = Math.fround(sum[i]! * share);
      sum[i] = value;
      square += value * value;
    }
    squares[chunk / chunkSize] = square;
  }
}

/** The norm of all gradients, from the chunks' sums of squares. */
export function globalNorm(squares: Float64Array): number {
  let sum = 0;
  for (const square of squares) sum += square;
  return Math.sqrt(sum);
}

/** What `clip_grad_norm_` multiplies gradients with: min(1, max / (norm + 1e-6)). */
export function clipFactor(norm: number, max: number | undefined): number {
  return max === undefined ? 1 : Math.min(1, max / (norm + 1e-6));
}

/** Flat arrays of one length. */
export interface OptimizerState {
  weights: Float32Array;
  /** Moving average of the gradients. */
  first: Float32Array;
  /** Moving average of their squares. */
  second: Float32Array;
}

export interface StepSize {
  /** Learning rate of this step. */
  rate: number;
  /** Factor of the gradients. */
  clip: number;
  /** From 1. */
  step: number;
}

/**
 * One step of torch's AdamW over a part of the arrays:
 * w ← w (1 - rate λ); m ← m + (g - m)(1 - β₁); v ← β₂ v + (1 - β₂) g²;
 * w ← w - rate / (1 - β₁ᵗ) m / (√v / √(1 - β₂ᵗ) + ε)
 * @see https://pytorch.org/docs/stable/generated/torch.optim.AdamW.html
 */
export function adamwStep(
  { weights, first, second }: OptimizerState,
  gradients: Float32Array,
  { begin, end }: Span,
  { betas: [beta1, beta2], eps, weightDecay }: AdamW,
  { rate, clip, step }: StepSize,
): void {
  const kept = 1 - rate * weightDecay;
  const size = rate / (1 - beta1 ** step);
  const root = Math.sqrt(1 - beta2 ** step);
  for (let i = begin; i < end; i++) {
    const gradient = Math.fround(gradients[i]! * clip);
    const m = first[i]!;
    const mean = Math.fround(m + (gradient - m) * (1 - beta1));
    const square = Math.fround(second[i]! * beta2 + (1 - beta2) * gradient * gradient);
    first[i] = mean;
    second[i] = square;
    weights[i] = weights[i]! * kept - (size * mean) / (Math.sqrt(square) / root + eps);
  }
}

export interface Ema {
  /** Share of the old average that is kept each step. */
  decay: number;
  /** Keeps (1 + t) / (10 + t) at most, so that the first steps do not linger. */
  warmup: boolean;
}

/** The moving average of the weights: a ← a + (w - a)(1 - decay). @param step from 1 */
export function averageStep(
  average: Float32Array,
  weights: Float32Array,
  { begin, end }: Span,
  { decay, warmup }: Ema,
  step: number,
): void {
  const moved = 1 - (warmup ? Math.min(decay, (1 + step) / (10 + step)) : decay);
  for (let i = begin; i < end; i++) {
    const a = average[i]!;
    average[i] = a + (weights[i]! - a) * moved;
  }
}
