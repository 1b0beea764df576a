/** @file What a fusion is: tokens of several encoders in, tokens for the projector out. */

import type { z } from "zod";
import type { Value } from "../../graph/index.js";
import type { LayoutBuilder } from "../../models/index.js";
import { type Dims, misuse } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";

/** The shape of an encoder's tokens. */
export interface StreamShape {
  tokens: number;
  width: number;
  /** Rows and columns of its last tokens, when they are patches of a picture; before them may be a class token. */
  grid: readonly [number, number] | undefined;
}

/** An encoder's tokens under its name. */
export interface Stream extends StreamShape {
  name: string;
  /** [B, tokens, width] */
  value: Value;
}

export type NamedShape = Omit<Stream, "value">;

export interface FusionContext {
  /**
   * In training: a mask of 0 and 1 / (1 - rate) for the values of a dropout. Without it nothing is dropped.
   * @param name tells the dropouts of one fusion apart
   */
  dropout?: ((name: string, dims: Dims, rate: number) => Value) | undefined;
}

/** One way of joining encoders, with its config read. The same graph function serves training and inference. */
export interface Fusion {
  /** The streams that it takes, in this order. */
  readonly encoders: readonly string[];
  /** Of streams whose numbers are taken from another's, and so must share its scale: that other one. */
  readonly scaledAs?: Readonly<Record<string, string>>;
  /**
   * What comes out.
   * @throws misuse FUSION when the streams do not fit
   */
  shape(inputs: readonly NamedShape[]): StreamShape;
  /** Its parameters below `key`, with how they start. */
  layout?(layers: LayoutBuilder, key: string, inputs: readonly NamedShape[]): void;
  /** @returns [B, tokens, width] as `shape` says */
  fuse(w: Scope, inputs: readonly Stream[], context: FusionContext): Value;
}

/** An entry of the registry. */
export interface FusionKind<Schema extends z.ZodType = z.ZodType> {
  readonly schema: Schema;
  make(config: unknown): Fusion;
}

/** @param make is called with what the schema has read */
export function fusion<Schema extends z.ZodType>(
  schema: Schema,
  make: (config: z.output<Schema>) => Fusion,
): FusionKind<Schema> {
  return { schema, make: (config) => make(config as z.output<Schema>) };
}

/** The width that all streams have. @throws misuse FUSION when they differ */
export function commonWidth(inputs: readonly NamedShape[], type: string): number {
  const [first, ...others] = inputs;
  const other = others.find(({ width }) => width !== first!.width);
  if (!other) return first!.width;
  throw misuse(
    "FUSION",
    `${type} takes tokens of one width: "${first!.name}" has ${first!.width} channels, "${other.name}" ${other.width}. ` +
      "Give each encoder a projector to one width.",
  );
}

/** @throws misuse FUSION when the width does not divide into the heads */
export function checkHeads(width: number, heads: number, type: string): void {
  if (width % heads === 0) return;
  throw misuse("FUSION", `${type}: width ${width} does not divide into ${heads} heads.`);
}
