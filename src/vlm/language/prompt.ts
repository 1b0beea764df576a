/** @file What a language model reads: token ids, and features in the place of tokens. */

import { formatDims, misuse, type Tensor } from "../../tensor/index.js";

/** Token ids, or embeddings that stand for tokens [n, hidden_size], as projected image features are. */
export type PromptPart = readonly number[] | Tensor;

/** Parts, one after another. */
export type Prompt = readonly PromptPart[];

/** One row of the network's input: a token of the vocabulary, or an embedding. */
export type PromptRow = number | Float32Array;

/**
 * @throws DiffsightError PROMPT for ids outside the vocabulary and embeddings of another width
 */
export function promptRows(
  prompt: Prompt,
  { vocabSize, hiddenSize }: { vocabSize: number; hiddenSize: number },
): PromptRow[] {
  return prompt.flatMap((part): PromptRow[] => {
    if (Array.isArray(part)) {
      const wrong = (part as number[]).find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
      if (wrong !== undefined) {
        throw misuse("PROMPT", `There is no token ${wrong}: the vocabulary has 0 to ${vocabSize - 1}.`);
      }
      return part as number[];
    }
    const { dims } = part as Tensor;
    if (dims.length !== 2 || dims[1] !== hiddenSize) {
      throw misuse("PROMPT", `Embeddings must be [n, ${hiddenSize}], not ${formatDims(dims)}.`);
    }
    const numbers = (part as Tensor).toFloat32();
    return Array.from({ length: dims[0]! }, (_, row) =>
      numbers.subarray(row * hiddenSize, (row + 1) * hiddenSize),
    );
  });
}
