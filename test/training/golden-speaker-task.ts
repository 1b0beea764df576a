/** @file The task `speaker` on the golden batches of a projector that learns in front of a frozen language model. */

import { Tensor } from "../../src/tensor/index.js";
import { ignoredLabel, imageTokenIndex } from "../../src/text/index.js";
import { defineTask } from "../../src/training/index.js";
import type { SpeakerTraining } from "../../src/training/speaker/config.js";
import { task as speaker } from "../../src/training/tasks/speaker.js";
import { planSplice, spliceIndex } from "../../src/vlm/index.js";
import { Golden } from "../golden.js";

export const golden = new Golden("projector-train");
export const [one] = golden.cases as [(typeof golden.cases)[0]];

export const task = defineTask<SpeakerTraining>({
  ...speaker,
  async open() {
    return {
      train: 2,
      validation: 0,
      batch({ step }) {
        const features = golden.input(one, `step${step}.features`);
        const { data, dims } = golden.input(one, `step${step}.input_ids`);
        const [batch, length] = dims as [number, number];
        const ids = Array.from({ length: batch }, (_, i) =>
          Array.from(data.subarray(i * length, (i + 1) * length) as BigInt64Array, Number),
        );
        const plan = planSplice(ids, {
          imageLengths: ids.map(() => one.args.image_tokens),
          labels: ids.map((row) =>
            row.map((id, i) => (i === 0 || id === imageTokenIndex ? ignoredLabel : id)),
          ),
        });
        const labels = plan.labels!.map((row) => row.slice(1));
        const shape = [batch, plan.length - 1];
        return {
          ids: Tensor.i64([batch, plan.length], plan.ids.flat()),
          labels: Tensor.i64(
            shape,
            labels.flat().map((label) => Math.max(0, label)),
          ),
          weights: Tensor.f32(
            shape,
            labels.flat().map((label) => Number(label !== ignoredLabel)),
          ),
          index: spliceIndex(plan),
          "see.clip": features,
        };
      },
    };
  },
});
