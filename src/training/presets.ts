/** @file Settings by name, for a stage's `like`: LLaVA-1.5's. */

/** AdamW without decay, half a cosine after a short rise, gradients clipped as transformers' trainer does. */
const common = {
  steps: { epochs: 1 },
  schedule: { kind: "cosine", warmup: 0.03 },
};

const optimizer = { weightDecay: 0, clip: 1 };

/**
 * A part is what one thread computes at once: small, since all its activations are in memory.
 * @see https://github.com/haotian-liu/LLaVA/tree/main/scripts/v1_5
 */
export const presets: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  /** Projector and fusion alone. */
  "llava-stage1": { ...common, batch: 256, parts: 64, optimizer: { ...optimizer, lr: 1e-3 } },
  /** With the whole language model. */
  "llava-stage2": { ...common, batch: 128, parts: 64, optimizer: { ...optimizer, lr: 2e-5 } },
  /** With adapters in the language model; their task's `lora.sight` scales the rate of the rest. */
  "llava-lora": { ...common, batch: 128, parts: 64, optimizer: { ...optimizer, lr: 2e-4 } },
};
