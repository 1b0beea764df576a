/** @file A model's answers to the questions of a store of pictures: a row a question, made from stores of features. */

import { z } from "zod";
import { hashFolder, type Stores } from "../../data/index.js";
import { Engine } from "../../engine/index.js";
import { misuse, Tensor } from "../../tensor/index.js";
import { defineProducer, sceneSchema } from "../../training/index.js";
import { readDescription, type VlmDescription } from "../../vlm/index.js";
import { openModel } from "../../weights/index.js";
import { type Seen, Speaker } from "./speaker.js";
import { type EncoderStream, hearsQuestion, streamOf, tokensAt } from "./streams.js";

export const answersConfig = z.strictObject({
  /** A folder with diffsight.json. */
  model: z.string().min(1),
  /** Whether the question names its two options. */
  options: z.boolean().default(true),
});

export type AnswersConfig = z.infer<typeof answersConfig>;

/** The line of a row. */
export const answeredSchema = z.object({
  /** The picture's row. */
  row: z.number().int(),
  pattern: z.string(),
  /** The right option. */
  answer: z.union([z.literal(0), z.literal(1)]),
  pair: z.number().int().optional(),
  unseen: z.array(z.string()).optional(),
});

export type AnsweredLine = z.infer<typeof answeredSchema>;

/** In the column `said`: the greedy answer is neither option. */
export const neither = 2;

/** Pictures that are read side by side: more fill a run of the language model, but every row looks past all of them. */
const together = 3;

/** @throws DiffsightError DATA_MISSING, STORE_ROWS */
function streamsOf(
  { encoders }: VlmDescription,
  data: Stores,
  rows: { pictures: number; questions: number },
): Record<string, EncoderStream> {
  const store = (role: string, wanted: number) => {
    const found = data[role];
    if (!found) throw misuse("DATA_MISSING", `data: "${role}" is missing: the features of that encoder.`);
    if (found.rows === wanted) return found;
    throw misuse("STORE_ROWS", `${found.folder} has ${found.rows} rows where ${wanted} are needed.`);
  };
  return Object.fromEntries(
    Object.entries(encoders).map(([name, encoder]): [string, EncoderStream] => {
      const question = hearsQuestion(encoder) ? store(`${name}-question`, rows.questions) : undefined;
      return [name, streamOf(encoder, store(name, rows.pictures), question)];
    }),
  );
}

/**
 * Needs the data `pictures`, for each encoder its features under its name, and those that were told the questions under
 * its name with `-question`.
 */
export const producer = defineProducer<AnswersConfig>({
  version: 1,
  config: answersConfig,
  source: ({ model }) => hashFolder(model),

  async open({ config: { model, options }, data }) {
    const { pictures } = data;
    if (!pictures) throw misuse("DATA_MISSING", 'data: "pictures" is missing: answers are about pictures.');
    const lineOf = (row: number) => sceneSchema.parse(pictures.line(row));
    const planned = Array.from({ length: pictures.rows }, (_, row) =>
      lineOf(row).questions.map((_, question) => ({ row, question })),
    ).flat();
    if (planned.length === 0) throw misuse("DATA_EMPTY", `${pictures.folder} holds no question.`);
    const folder = await openModel(model);
    const streams = streamsOf(await readDescription(folder), data, {
      pictures: pictures.rows,
      questions: planned.length,
    });
    const isTold = Object.values(streams).some(({ question }) => question);
    const engine = await Engine.open({ device: "cpu", memory: "fast", threads: 1, host: "here" });
    const speaker = await Speaker.open(folder, { engine, options });

    /** Questions from .. to - 1, those that see the same together. */
    const groups = (from: number, to: number): number[][] => {
      const found: number[][] = [];
      for (let i = from; i < to; i++) {
        const last = found.at(-1);
        const isSame = last && !isTold && planned[last[0]!]!.row === planned[i]!.row;
        if (isSame) last.push(i);
        else found.push([i]);
      }
      return found;
    };
    const seenBy = (those: readonly number[]): Seen => {
      const { row } = planned[those[0]!]!;
      const { questions } = lineOf(row);
      return {
        streams: Object.fromEntries(
          Object.entries(streams).map(([name, stream]) => [name, tokensAt(stream, row, those[0]!)]),
        ),
        questions: those.map((i) => questions[planned[i]!.question]!),
      };
    };

    return {
      count: planned.length,
      columns: {
        logProbabilities: { dtype: "f32", dims: [2] },
        said: { dtype: "u8", dims: [1] },
      },
      lines: true,
      async make(from, to) {
        const all = groups(from, to);
        const [likely, said]: [number[], number[]] = [[], []];
        for (let i = 0; i < all.length; i += together) {
          const spoken = await speaker.answer(all.slice(i, i + together).map(seenBy));
          for (const one of spoken.flat()) {
            likely.push(...one.logProbabilities);
            said.push(one.said ?? neither);
          }
        }
        const lines = planned.slice(from, to).map(({ row, question }): AnsweredLine => {
          const { questions, pair, unseen } = lineOf(row);
          const { pattern, answer } = questions[question]!;
          return { row, pattern, answer, ...(pair !== undefined && { pair }), ...(unseen && { unseen }) };
        });
        return {
          columns: {
            logProbabilities: Tensor.f32([to - from, 2], likely),
            said: new Tensor("u8", [to - from, 1], Uint8Array.from(said)),
          },
          lines,
        };
      },
      async release() {
        await speaker.release();
        await engine.dispose();
      },
    };
  },
});
