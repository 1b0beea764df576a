/**
 * @file Conversations about pictures, in LLaVA's JSON: every picture is looked at once, and what cannot be used is named.
 * A row of the store is a row of the file.
 */

import { readFile } from "node:fs/promises";
import { z } from "zod";
import { type Conversation, ConversationSet, hashBytes, hashFile } from "../../data/index.js";
import { decodeImage } from "../../image/index.js";
import { type DiffsightError, failure, firstOf, Tensor } from "../../tensor/index.js";
import { imageMark } from "../../text/index.js";
import { type ConversationLine, wordsColumn } from "../lines.js";
import { defineProducer } from "../producer.js";

const configSchema = z.strictObject({
  /** A JSON list, or JSON lines. */
  file: z.string().min(1),
  /** The folder that the rows' pictures are named from. */
  images: z.string().default("."),
  /** Rows that cannot be used are an error that names them, or left out, each with a warning. */
  faulty: z.enum(["error", "skip"]).default("error"),
  /** Whether every picture is decoded, or its file only read. */
  decode: z.boolean().default(true),
});

/** How many faults are named at once; all of them stand in the store's lines. */
const namedFaults = 20;

export const producer = defineProducer<z.infer<typeof configSchema>>({
  version: 2,
  config: configSchema,
  source: ({ file }) => hashFile(file),

  async open({ config: { file, images, faulty, decode } }) {
    const set = await ConversationSet.open(file, { images, faulty });
    // A row of the file -> its place among the usable ones.
    const places = new Map(set.places.map(({ row }, i) => [row, i]));
    const faults = new Map(set.skipped.map((fault) => [fault.row, fault]));
    const lineOf = async (row: number): Promise<ConversationLine> => {
      const place = places.get(row);
      if (place === undefined) return faultyLine(row, faults.get(row)?.id, faults.get(row)!.reason);
      const { images, turns, id, ...rest } = set.get(place);
      const named = { row, ...(id !== undefined && { id }) };
      try {
        const seen = await Promise.all(images.map((path) => look(path, decode)));
        return { ...named, images: seen, turns: turns as ConversationLine["turns"], ...captions(rest) };
      } catch (error) {
        const { message } = error as DiffsightError;
        if (faulty === "error") throw failure("DATA_CORRUPT", `Row ${row} of ${file}: ${message}`, error);
        return faultyLine(row, id, message);
      }
    };
    return {
      count: places.size + faults.size,
      columns: { [wordsColumn]: { dtype: "i32", dims: [] } },
      lines: true,
      warnings: [...named(file, set.skipped), ...unpictured(file, set)],
      async make(from, to, warn) {
        const lines: ConversationLine[] = [];
        for (let row = from; row < to; row++) lines.push(await lineOf(row));
        for (const { row, fault } of lines)
          if (fault !== undefined && places.has(row)) warn(`Row ${row} of ${file} is left out: ${fault}`);
        const words = lines.map(({ row, fault }) =>
          fault === undefined ? set.lengths[places.get(row)!]! : 0,
        );
        const column = new Tensor("i32", [to - from], Int32Array.from(words));
        return { columns: { [wordsColumn]: column }, lines };
      },
      release: async () => set.close(),
    };
  },
});

/** @returns its path, and a hash by which a later change is noticed */
async function look(path: string, decode: boolean): Promise<ConversationLine["images"][number]> {
  const bytes = await readFile(path);
  if (decode) await decodeImage(bytes, { name: path });
  return { path, sha256: hashBytes(bytes) };
}

const captions = ({ caption, pseudoCaption }: Pick<Conversation, "caption" | "pseudoCaption">) => ({
  ...(caption !== undefined && { caption }),
  ...(pseudoCaption !== undefined && { pseudoCaption }),
});

function faultyLine(row: number, id: string | undefined, fault: string): ConversationLine {
  return { row, ...(id !== undefined && { id }), fault, images: [], turns: [] };
}

function named(file: string, faults: ConversationSet["skipped"]): string[] {
  const first = faults
    .slice(0, namedFaults)
    .map(({ row, reason }) => `Row ${row} of ${file} is left out: ${reason}`);
  const rest = faults.length - first.length;
  return rest > 0 ? [...first, `${rest} more rows of ${file} are left out; its store names them.`] : first;
}

/** What is most likely a picture whose field has another name. */
function unpictured(file: string, { unpictured: rows }: ConversationSet): string[] {
  if (rows.length === 0) return [];
  const which = `${rows.length === 1 ? "Row" : "Rows"} ${firstOf(rows.map(String), namedFaults)} of ${file}`;
  return [
    `${which}: the turns say "${imageMark}", but no picture is named (\`image\`, \`images\`): the mark is learnt as text.`,
  ];
}
