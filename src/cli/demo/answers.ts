/** @file What the embedded vision-language model answers to every question of the demo's pictures. */

import { askedText, type SceneLine } from "../../training/index.js";
import { VisionLanguageModel } from "../../vlm/index.js";

/** A question with the model's answer. */
export interface Told {
  /** Which picture. */
  scene: number;
  /** With its two options. */
  question: string;
  answer: string;
  right: boolean;
  /** Milliseconds. */
  time: number;
}

/** @param pictures encoded, as many as scenes */
export async function answersOf(
  scenes: readonly Pick<SceneLine, "questions">[],
  pictures: readonly Uint8Array[],
  { threads, signal }: { threads: number; signal: AbortSignal },
): Promise<Told[]> {
  await using model = await VisionLanguageModel.fromPretrained("embedded:vlm", {
    device: "cpu",
    threads,
    signal,
  });
  await model.prepare();
  const told: Told[] = [];
  for (const [scene, { questions }] of scenes.entries()) {
    for (const { question, options, answer } of questions) {
      const text = askedText(question, options);
      const start = performance.now();
      const said = (await model.ask(pictures[scene]!, text, { signal }).whole()).trim();
      told.push({
        scene,
        question: text,
        answer: said,
        right: said === options[answer],
        time: performance.now() - start,
      });
    }
  }
  return told;
}
