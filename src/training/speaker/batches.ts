/** @file Batches of conversations with what is seen of their pictures. */

import { modalityGroupedOrder, type Store, type Stores } from "../../data/index.js";
import { DiffsightError, failure, firstOf, misuse, Tensor } from "../../tensor/index.js";
import {
  ignoredLabel,
  imageTokenIndex,
  type LabelledConversation,
  labelConversation,
} from "../../text/index.js";
import { conditionOn, planSplice, spliceIndex } from "../../vlm/index.js";
import { type ConversationLine, wordsColumn } from "../lines.js";
import { holdsConversations, pictureOf, type Subject, subjectOf } from "../subjects.js";
import type { BatchRequest, Examples } from "../task.js";
import { roles } from "../tasks/pictures.js";
import { rowsOf, type Seeing, type SpeakerTraining, seeingOf, textLength } from "./config.js";
import { fixedIds, type Speech, speechOf } from "./language.js";
import { drawSaid, type Said, templateOf } from "./said.js";
import { openStreams, type Place, type Split, type Stream, type Told } from "./streams.js";

/** One split's rows, those that can be used, and what encoders see of them. */
interface Rows {
  store: Store;
  usable: readonly number[];
  /** Words of each usable row, negative of text alone; of scenes they are not counted. */
  words: readonly number[] | undefined;
  /** What the user is to be told of rows that are left out. */
  leftOut: string | undefined;
  streams: ReadonlyMap<string, Stream>;
}

/** An example of a batch. */
interface Example {
  row: number;
  subject: Subject;
  said: Said;
  labelled: LabelledConversation;
}

/**
 * Needs the data `train`, scenes or conversations, and if there is any `validation`; and the stores that `openStreams`
 * names.
 */
export async function openExamples(config: SpeakerTraining, data: Stores): Promise<Examples> {
  const { train } = roles(data, "train");
  const seeing = seeingOf(config);
  const rowsFrom = (split: Split, store: Store): Rows => ({
    ...usableRows(store, config),
    store,
    streams: openStreams(config, data, split, store),
  });
  const splits = {
    train: rowsFrom("train", train),
    validation: data.validation && rowsFrom("validation", data.validation),
  };
  const { words, usable } = splits.train;
  if (usable.length === 0) throw misuse("STORE_ROWS", `${train.folder} has no row that can be used.`);
  const batches = new Batches(config, await speechOf(config), seeing, splits);
  const isGrouped = (config.order ?? (config.phase === "stage1" ? "random" : "grouped")) === "grouped";
  const order: NonNullable<Examples["order"]> = (random, sizes) =>
    modalityGroupedOrder(words!, random, sizes);
  return {
    train: usable.length,
    validation: splits.validation?.usable.length ?? 0,
    batch: (request) => batches.make(request),
    ...(words && isGrouped && { order }),
    release: () => batches.release(),
  };
}

/** @throws misuse PICTURES where conversations have more pictures than there is room for, and are not to be skipped */
function usableRows(
  store: Store,
  { pictures, faulty }: SpeakerTraining,
): Pick<Rows, "usable" | "words" | "leftOut"> {
  const all = Array.from({ length: store.rows }, (_, row) => row);
  if (!holdsConversations(store)) return { usable: all, words: undefined, leftOut: undefined };
  const words = [...(store.gather(wordsColumn, all).data as Int32Array)];
  const crowded = new Map<number, string>();
  for (const row of all) {
    if (words[row]! <= 0) continue;
    const { images, ...line } = store.line(row) as ConversationLine;
    if (images.length > pictures) crowded.set(row, `${lineName(line)} has ${images.length}`);
  }
  const usable = all.filter((row) => words[row] !== 0 && !crowded.has(row));
  const kept = { usable, words: usable.map((row) => words[row]!) };
  if (crowded.size === 0) return { ...kept, leftOut: undefined };
  const named = firstOf([...crowded.values()], namedRows);
  const what = `${store.folder}: of ${all.length} rows ${crowded.size} show more pictures than \`pictures\` (${pictures}) allows`;
  if (faulty === "error")
    throw misuse(
      "PICTURES",
      `${what}: ${named}. Set \`pictures\` to the most that a row has, or \`faulty\` to "skip".`,
    );
  return { ...kept, leftOut: `${what}, and are left out: ${named}.` };
}

/** How many rows are named at once. */
const namedRows = 5;

class Batches {
  #cut = false;

  constructor(
    readonly config: SpeakerTraining,
    readonly speech: Speech,
    readonly seeing: Seeing | undefined,
    readonly splits: Record<"train", Rows> & Record<"validation", Rows | undefined>,
  ) {}

  async release(): Promise<void> {
    for (const rows of Object.values(this.splits))
      for (const stream of rows?.streams.values() ?? []) await stream.source.release();
  }

  async make({ split, rows, random, warn }: BatchRequest): Promise<Record<string, Tensor>> {
    const { config, seeing } = this;
    const { store, usable, streams, leftOut } = this.splits[split]!;
    if (leftOut !== undefined) warn(leftOut);
    // 1. What is said, and with it what is to be learnt
    const drawn = rows.map((example) => {
      const row = usable[example]!;
      const subject = subjectOf(store, row);
      return { row, subject, said: drawSaid(subject, config, seeing !== undefined, random) };
    });
    const examples = drawn.map((one): Example => ({ ...one, labelled: this.#label(one, store, warn) }));
    // 2. What is seen
    const draw = Math.floor((random.rand([1], "f64").data as Float64Array)[0]! * 2 ** 31);
    const seen = seeing && (await this.#see(examples, store, streams, draw, warn));
    // 3. Side by side
    const length = rowsOf(config, seeing);
    const plan = planSplice(
      examples.map(({ labelled }) => labelled.ids),
      {
        imageToken: imageTokenIndex,
        imageLengths: examples.flatMap(({ labelled }) => shownIn(labelled).map(() => seeing!.plan.tokens)),
        labels: examples.map(({ labelled }, i) =>
          seen?.lost.has(i) ? labelled.labels.map(() => ignoredLabel) : labelled.labels,
        ),
        padToken: config.network ? fixedIds.pad_token_id : 0,
        minLength: length,
        maxLength: length,
      },
    );
    // Each position is to predict the next one's label.
    const labels = plan.labels!.flatMap((row) => row.slice(1));
    const dims = [rows.length, length - 1];
    return {
      ids: Tensor.i64([rows.length, length], plan.ids.flat()),
      labels: Tensor.i64(
        dims,
        labels.map((label) => Math.max(0, label)),
      ),
      weights: Tensor.f32(
        dims,
        labels.map((label) => Number(label !== ignoredLabel)),
      ),
      ...(seen && { index: spliceIndex(plan), ...seen.feeds }),
    };
  }

  #label(
    { row, subject, said }: Omit<Example, "labelled">,
    store: Store,
    warn: BatchRequest["warn"],
  ): LabelledConversation {
    const { config, speech } = this;
    const what = nameOf(subject, row, store);
    const length = textLength(config);
    const labelled = labelConversation(speech.tokenizer, templateOf(said, speech), said.turns, {
      maxLength: length,
      hasImages: said.pictures > 0 && this.seeing !== undefined,
    });
    if (labelled.mismatch !== undefined) {
      const message = `${what}: its answers cannot be found among its tokens (${labelled.mismatch})`;
      if (config.mismatch === "error") throw failure("TOKENIZATION_MISMATCH", `${message}.`);
      warn(`${message}; nothing of it is learnt.`);
    }
    if (labelled.cut > 0 && subject.kind === "conversation" && !this.#cut) {
      this.#cut = true;
      warn(
        `${what} has ${labelled.ids.length + labelled.cut} tokens: what is longer than ${length} is cut off.`,
      );
    }
    return labelled;
  }

  /** Each encoder's tokens of all pictures, one after another; and which examples have lost theirs. */
  async #see(
    examples: readonly Example[],
    store: Store,
    streams: ReadonlyMap<string, Stream>,
    draw: number,
    warn: BatchRequest["warn"],
  ): Promise<{ feeds: Record<string, Tensor>; lost: ReadonlySet<number> }> {
    const { config } = this;
    const places = examples.length * config.pictures;
    const lost = new Set<number>();
    const unread = new WeakSet<Error>();
    const read = async (row: number, image: number) => {
      try {
        return await pictureOf(store, row, image);
      } catch (error) {
        if (isAboutPicture(error)) unread.add(error);
        throw error;
      }
    };
    const feeds: Record<string, Tensor> = {};
    const shown = examples.flatMap(({ row, subject, labelled }, example) =>
      shownIn(labelled).map((image): Place & { example: number } => ({
        example,
        row,
        image,
        name: subject.pictures[image]!,
        picture: once(() => read(row, image)),
      })),
    );
    for (const [name, stream] of streams) {
      const { tokens, width } = config.streams[name]!;
      const all = new Float32Array(places * tokens * width);
      for (const [i, place] of shown.entries()) {
        const { row, subject, said } = examples[place.example]!;
        if (lost.has(place.example)) continue;
        try {
          const told = this.#told(name, row, subject, said, draw);
          all.set((await stream.row(place, told)).toFloat32(), i * tokens * width);
        } catch (error) {
          // What the encoder itself cannot do is no fault of the row.
          const isUnread = error instanceof DiffsightError && unread.has(error);
          if (config.faulty === "error" || !isUnread) throw error;
          lost.add(place.example);
          warn(`${nameOf(subject, row, store)} is left out: ${error.message}`);
        }
      }
      stream.notices.forEach(warn);
      feeds[`see.${name}`] = Tensor.f32([places, tokens, width], all);
    }
    return { feeds, lost };
  }

  /** Which text, at which guidance, an encoder is given with a row. */
  #told(
    name: string,
    row: number,
    { captions, questions, pseudoCaption }: Subject,
    said: Said,
    draw: number,
  ): Told | undefined {
    const encoder = this.seeing!.description.encoders[name]!;
    const questionAt = (question: number, guidance: number): Told => ({
      kind: "question",
      question,
      text: questions[question]!,
      guidance,
    });
    if (encoder.kind === "vision") return undefined;
    if (encoder.kind === "text")
      return said.questions[0] === undefined ? undefined : questionAt(said.questions[0], 1);
    const conditioning = encoder.conditioning[this.config.phase];
    // What is asked comes first; a caption's picture has questions too, of which any may be told.
    const asked = said.questions.length === 0 ? [...questions.keys()] : said.questions;
    const { prompt, guidance } = conditionOn(
      conditioning,
      { id: String(row), caption: captions.full, questions: asked.map(String), pseudoCaption },
      { seed: this.config.seed, epoch: draw },
    );
    if (prompt === "" || conditioning.text === "none") return undefined;
    const isQuestion = conditioning.text === "question" || conditioning.text === "random-question";
    if (isQuestion) return questionAt(Number(prompt), guidance);
    return { kind: conditioning.text as Told["kind"], text: prompt, guidance };
  }
}

/** The pictures whose tokens were not cut off. */
function shownIn({ ids }: LabelledConversation): number[] {
  return ids.filter((id) => id === imageTokenIndex).map((_, image) => image);
}

function nameOf(subject: Subject, row: number, { folder }: Store): string {
  if (subject.kind === "scene") return `Row ${row} of ${folder}`;
  return lineName(subject.line);
}

/** By its place in the file, and its id. */
const lineName = ({ row, id }: Pick<ConversationLine, "row" | "id">): string =>
  `Row ${row}${id === undefined ? "" : ` (id ${JSON.stringify(id)})`}`;

/** Faults of files and pictures, as opposed to those of stores and models. */
function isAboutPicture(error: unknown): error is DiffsightError {
  return error instanceof DiffsightError && /^(IMAGE_|FILE_)/.test(error.code);
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
