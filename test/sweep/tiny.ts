/** @file A sweep so small that a test can run it: CLIP alone, and CLIP beside a diffusion model that hears the question. */

const scenes = (name: string, config: object) => ({ name, kind: "data", producer: "scenes", config });

const settings = {
  steps: 6,
  batch: 8,
  parts: 2,
  optimizer: { lr: 5e-3 },
  validation: { every: 6, batches: 1 },
};

const network = {
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 256,
  tie_word_embeddings: true,
};

/** @param assets the folder of the package's assets, or a path to it from the plan's */
export function tinyPlan(assets: string) {
  const [clip, sd] = [`${assets}/micro/clip`, `${assets}/micro/sd`];
  return {
    name: "tiny",
    title: "A tiny sweep",
    description: "Two models.",
    base: [
      scenes("scenes", { count: 24 }),
      scenes("scenes-validation", { count: 8, split: "validation", seed: 1 }),
      {
        name: "texts",
        kind: "train",
        task: "speaker",
        config: { network, length: 40 },
        data: { train: "scenes", validation: "scenes-validation" },
        ...settings,
      },
      {
        name: "speaker",
        kind: "train",
        task: "speaker",
        config: {
          network,
          length: 40,
          sight: {
            encoders: { clip: { kind: "vision", model: clip } },
            language: { model: "./llm" },
          },
        },
        data: { train: "scenes", validation: "scenes-validation" },
        init: [{ from: "texts", keys: "language.*" }],
        ...settings,
      },
      { name: "vlm", kind: "export", from: ["speaker"], layout: "model", title: "Speaker" },
    ],
    variants: {
      clip: { title: "CLIP", cell: { row: "CLIP", column: "alone" }, printed: { MMVP: 24.7 } },
      both: {
        title: "CLIP & SD",
        cell: { row: "CLIP", column: "with SD" },
        set: {
          "speaker.config.sight.encoders.sd": { kind: "diffusion", model: sd },
          "speaker.config.sight.fusion": { type: "channel-concat", encoders: ["clip", "sd"] },
        },
      },
    },
    seeds: { stages: ["speaker"], values: [1, 2] },
    model: "vlm",
    judge: {
      scenes: 2,
      twins: 1,
      unseen: 1,
      options: false,
      clip,
      leakage: { pictures: 5, guidances: [0, 4], maxTokens: 6 },
    },
    baseline: "clip",
    printed: { source: "A paper", chance: { MMVP: 25 } },
  };
}
