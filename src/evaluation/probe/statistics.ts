/** @file What features are like before any head reads them: twins' cosines, lengths of tokens, and how alike two ways are. */

import type { Store } from "../../data/index.js";
import { Tensor } from "../../tensor/index.js";
import { askedSchema } from "../../training/index.js";
import { ckaMatrix, cosine, normStatistics } from "../similarity.js";
import { type Estimate, meanOf } from "../statistics.js";

/** Pictures that alignments and lengths are taken from. */
export const statisticsRows = 256;

export interface FeatureStatistics {
  features: string;
  column: string;
  /** Cosine of the features of twins: by pattern, and over `all`. */
  twins: Record<string, Estimate>;
  norms: {
    /** Standard deviation of the tokens' lengths in a picture, as a share of their mean. */
    spread: Estimate;
    /** Tokens of a picture that are longer than four times the median. */
    registers: Estimate;
  };
}

/**
 * @param twins features [T, C] of pairs, two rows with one `pair` each
 * @param pairs which are counted: those below this number
 * @param rows of `pictures`, one a picture
 */
export function featureStatistics(
  { features, column }: { features: string; column: string },
  { twins, pairs, pictures, rows }: { twins: Store; pairs: number; pictures: Store; rows: readonly number[] },
): FeatureStatistics {
  const lengths = rows.map((row) => {
    const [tokens, channels] = pictures.columns[column]!.dims as [number, number];
    const grid = transposed(pictures.row(column, row).toFloat32(), tokens, channels);
    return normStatistics(grid);
  });
  return {
    features,
    column,
    twins: twinCosines(twins, column, pairs),
    norms: {
      spread: meanOf(lengths.map(({ deviation, mean }) => (mean > 0 ? deviation / mean : 0))),
      registers: meanOf(lengths.map(({ registers }) => registers.length)),
    },
  };
}

/** [T, C] -> [C, T, 1] */
function transposed(values: Float32Array, tokens: number, channels: number): Tensor {
  const grid = new Float32Array(values.length);
  for (let t = 0; t < tokens; t++)
    for (let c = 0; c < channels; c++) grid[c * tokens + t] = values[t * channels + c]!;
  return Tensor.f32([channels, tokens, 1], grid);
}

function twinCosines(twins: Store, column: string, pairs: number): Record<string, Estimate> {
  const firsts = new Map<number, number>();
  const found = new Map<string, number[]>([["all", []]]);
  for (let row = 0; row < twins.rows; row++) {
    const { pair, questions } = askedSchema.parse(twins.line(row));
    if (pair === undefined || pair >= pairs) continue;
    const first = firsts.get(pair);
    if (first === undefined) {
      firsts.set(pair, row);
      continue;
    }
    const value = cosine(twins.row(column, first), twins.row(column, row));
    const pattern = questions[0]!.pattern;
    found.set(pattern, [...(found.get(pattern) ?? []), value]);
    found.get("all")!.push(value);
  }
  return Object.fromEntries(
    [...found].filter(([, values]) => values.length > 0).map(([name, values]) => [name, meanOf(values)]),
  );
}

/** Debiased CKA of every two ways of seeing, over the same pictures; nothing from fewer than four. */
export interface Alikeness {
  ways: { features: string; column: string }[];
  cka: number[][];
}

/** @param ways each way's features and its rows of the same pictures, in the same order */
export function alikeness(
  ways: readonly { features: string; column: string; store: Store; rows: readonly number[] }[],
): Alikeness {
  if (ways.some(({ rows }) => rows.length < 4)) return { ways: [], cka: [] };
  const matrices = ways.map(({ features, column, store, rows }): [string, Tensor] => {
    const seen = store.gather(column, rows).to("f32");
    return [`${features} ${column}`, seen.reshape([rows.length, seen.size / rows.length])];
  });
  return {
    ways: ways.map(({ features, column }) => ({ features, column })),
    cka: ckaMatrix(Object.fromEntries(matrices), { debiased: true }),
  };
}
