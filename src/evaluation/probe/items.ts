/** @file What is asked of stores of features, and the features that a head sees with each question. */

import type { Store } from "../../data/index.js";
import { failure, misuse, type Tensor } from "../../tensor/index.js";
import { type AskedRow, askedSchema, type Question } from "../../training/index.js";

/** A store's questions, one after another: several may be about one row. */
export interface Items {
  store: Store;
  questions: readonly { row: number; question: Question; line: AskedRow }[];
}

/** @throws DiffsightError STORE_LINE when a line holds no questions */
export function itemsOf(store: Store): Items {
  const questions: Items["questions"][number][] = [];
  for (let row = 0; row < store.rows; row++) {
    const { success, data } = askedSchema.safeParse(store.line(row));
    if (!success) throw failure("STORE_LINE", `${store.folder}: row ${row} asks nothing.`);
    for (const question of data.questions) questions.push({ row, question, line: data });
  }
  if (questions.length === 0) throw misuse("DATA_EMPTY", `${store.folder} holds no question.`);
  return { store, questions };
}

/** Stores that ask the same questions, by stream: one that was told them has a row for each question, others for each picture. */
export class Sources {
  readonly #items: ReadonlyMap<string, Items>;
  /** What is asked. */
  readonly items: Items;

  /** @throws DiffsightError STORE_LINE; misuse DATA_EMPTY, STORE_ROWS where two ask different questions */
  constructor(readonly stores: Readonly<Record<string, Store>>) {
    this.#items = new Map(Object.entries(stores).map(([stream, store]) => [stream, itemsOf(store)]));
    const [first, ...others] = this.#items.values();
    this.items = first!;
    const stranger = others.find(({ questions }) => !isSame(questions, first!.questions));
    if (!stranger) return;
    throw misuse("STORE_ROWS", `${stranger.store.folder} does not ask what ${first!.store.folder} asks.`);
  }

  /** Features that a stream has for some of the questions: [questions, T, C]. */
  features(stream: string, column: string, chosen: readonly number[]): Tensor {
    const { store, questions } = this.#items.get(stream)!;
    const rows = chosen.map((i) => questions[i]!.row);
    return store.gather(column, rows);
  }
}

function isSame(one: Items["questions"], other: Items["questions"]): boolean {
  return (
    one.length === other.length &&
    one.every(({ question }, i) => question.question === other[i]!.question.question)
  );
}
