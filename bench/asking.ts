/** @file How soon the embedded vision-language model answers, once it is loaded. */

import { example, World } from "../src/diorama/index.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { duration, type Summary, summarize, table } from "./measure.js";

export interface AskingTimes {
  /** Seconds until everything is ready. */
  load: number;
  /** Seconds to the first token: about a picture that is new, and with another question about the same one. */
  first: Summary;
  again: Summary;
  /** Seconds to the end of the answer about a new picture. */
  whole: Summary;
  pictures: number;
}

/** Seconds that the first token may take. */
const soon = 0.3;

export async function measureAsking(rounds: number, threads: number): Promise<AskingTimes> {
  const world = await World.open();
  const count = 10 * rounds;
  const pictures = Array.from({ length: count }, (_, index) => {
    const { rendering, questions } = example(world, index, { split: "test", seed: 4711 });
    return {
      image: { data: rendering.rgb, width: 64, height: 64, channels: 3 } as const,
      question: questions[0]!.question,
    };
  });
  const begin = performance.now();
  await using model = await VisionLanguageModel.fromPretrained("embedded:vlm", { device: "cpu", threads });
  await model.prepare();
  const load = (performance.now() - begin) / 1000;
  /** Seconds to the first token, and to the end. */
  const asked = async (image: (typeof pictures)[number]["image"], question: string) => {
    const start = performance.now();
    const answer = model.ask(image, question)[Symbol.asyncIterator]();
    let { done } = await answer.next();
    const first = (performance.now() - start) / 1000;
    while (!done) ({ done } = await answer.next());
    return { first, whole: (performance.now() - start) / 1000 };
  };
  const times = { first: [] as number[], again: [] as number[], whole: [] as number[] };
  await asked(pictures[0]!.image, "where is this?");
  for (const { image, question } of pictures.slice(1)) {
    const { first, whole } = await asked(image, question);
    times.first.push(first);
    times.whole.push(whole);
    times.again.push((await asked(image, "what is in the picture?")).first);
  }
  return {
    load,
    first: summarize(times.first),
    again: summarize(times.again),
    whole: summarize(times.whole),
    pictures: count - 1,
  };
}

export function writeAsking({ load, first, again, whole, pictures }: AskingTimes): string {
  const both = ({ median, rounds }: Summary) => `${duration(median)} (${duration(Math.max(...rounds))})`;
  const rows = [
    ["load everything", duration(load), ""],
    [
      "first token, new picture",
      both(first),
      `${first.median <= soon ? "reached" : "missed"} (<= ${duration(soon)})`,
    ],
    ["first token, another question about it", both(again), ""],
    ["whole answer, new picture", both(whole), ""],
  ];
  return `${table(["asking", "median (maximum)", "target"], rows)}\n\n${pictures} pictures.`;
}
