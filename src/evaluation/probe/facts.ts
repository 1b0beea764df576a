/**
 * @file What each place of a picture shows, as something to be learned beside the questions: a question tells a network one
 * bit of a picture, its masks and facts tell what everything in it is.
 */

import { z } from "zod";
import type { Store } from "../../data/index.js";
import { colours, facings, nouns, places, signWords, states, views } from "../../diorama/index.js";
import { add, crossEntropy, input, linear, mean, reshape, type Value } from "../../graph/index.js";
import type { LayoutBuilder } from "../../models/index.js";
import { failure, Tensor } from "../../tensor/index.js";
import type { Scope } from "../../weights/index.js";

/** The column of a store of scenes that says which object each pixel shows: u8 [S, S], 0 for none. */
export const maskColumn = "mask";

/** What may be true of a thing, and of a whole picture; number 0 stands for none of them. */
const thingFacts = {
  noun: [...Object.keys(nouns), "hat"],
  colour: Object.keys(colours),
  facing: Object.keys(facings),
  state: Object.keys(states),
  hat: ["true", "false"],
  says: [...signWords],
} satisfies Record<string, string[]>;

const pictureFacts = { place: Object.keys(places), view: Object.keys(views) } satisfies Record<
  string,
  string[]
>;

type ThingFact = keyof typeof thingFacts;
type PictureFact = keyof typeof pictureFacts;

const thingFactNames = Object.keys(thingFacts) as ThingFact[];
const pictureFactNames = Object.keys(pictureFacts) as PictureFact[];

const fact = z.union([z.string(), z.boolean()]).optional();

const lineSchema = z.object({
  objects: z.array(z.object({ noun: fact, colour: fact, facing: fact, state: fact, hat: fact, says: fact })),
  place: fact,
  view: fact,
});

/** Adds what reads the facts from features of so many channels. */
export function addFacts(plan: LayoutBuilder, channels: number): void {
  for (const name of thingFactNames) plan.linear(`facts.${name}`, channels, thingFacts[name].length + 1);
  for (const name of pictureFactNames) plan.linear(`facts.${name}`, channels, pictureFacts[name].length + 1);
}

/** Numbers of facts: of things [B, T] place by place, of the picture [B]. */
export function factInputs(batch: number, tokens: number): Record<string, Value> {
  const of = (name: string, dims: number[]) => [name, input(name, dims, "i64")] as const;
  return Object.fromEntries([
    ...thingFactNames.map((name) => of(`fact ${name}`, [batch, tokens])),
    ...pictureFactNames.map((name) => of(`fact ${name}`, [batch])),
  ]);
}

/** @param features [B, T, C] @returns the facts' mean surprises, summed: a number */
export function factsLoss(w: Scope, features: Value, inputs: Readonly<Record<string, Value>>): Value {
  const whole = reshape(mean(features, 1), [features.dims[0]!, features.dims[2]!]);
  const surprise = (name: string, seen: Value) => {
    const own = w.at("facts", name);
    const logits = linear(seen, own.parameter("weight"), own.parameter("bias"));
    const each = crossEntropy(logits, inputs[`fact ${name}`]!);
    return reshape(mean(reshape(each, [-1]), 0), []);
  };
  const all = [
    ...thingFactNames.map((name) => surprise(name, features)),
    ...pictureFactNames.map((name) => surprise(name, whole)),
  ];
  return all.reduce((sum, one) => add(sum, one));
}

/** A cell shows the thing that covers most of it, where that is at least this share. */
const leastCover = 0.2;

/** Which object each cell shows, from 1; 0 where none covers enough. */
export function cellObjects(mask: Uint8Array, side: number, grid: number): Uint8Array {
  const cell = side / grid;
  const shown = new Uint8Array(grid * grid);
  for (let at = 0; at < shown.length; at++) {
    const counts = new Map<number, number>();
    const [top, left] = [Math.floor(at / grid) * cell, (at % grid) * cell];
    for (let y = top; y < top + cell; y++)
      for (let x = left; x < left + cell; x++) {
        const object = mask[y * side + x]!;
        if (object > 0) counts.set(object, (counts.get(object) ?? 0) + 1);
      }
    const [most] = [...counts].sort(([, a], [, b]) => b - a);
    if (most && most[1] >= leastCover * cell * cell) shown[at] = most[0];
  }
  return shown;
}

/** Numbers for the inputs of some rows. */
export function readFacts(
  store: Store,
  rows: readonly number[],
  { side, grid }: { side: number; grid: number },
): Record<string, Tensor> {
  const masks = store.gather(maskColumn, rows).data as Uint8Array;
  const scenes = rows.map((row, i) => {
    const { success, data } = lineSchema.safeParse(store.line(row));
    if (!success) throw failure("STORE_LINE", `${store.folder}: row ${row} does not say what is in it.`);
    return {
      ...data,
      shown: cellObjects(masks.subarray(i * side * side, (i + 1) * side * side), side, grid),
    };
  });
  const ofThings = (name: ThingFact) =>
    scenes.flatMap(({ objects, shown }) =>
      Array.from(shown, (object) => numberOf(thingFacts[name], objects[object - 1]?.[name])),
    );
  const ofPicture = (name: PictureFact) => scenes.map((scene) => numberOf(pictureFacts[name], scene[name]));
  return Object.fromEntries([
    ...thingFactNames.map((name) => [`fact ${name}`, Tensor.i64([rows.length, grid * grid], ofThings(name))]),
    ...pictureFactNames.map((name) => [`fact ${name}`, Tensor.i64([rows.length], ofPicture(name))]),
  ]);
}

/** 0 for nothing. */
const numberOf = (values: readonly string[], value: string | boolean | undefined) =>
  value === undefined ? 0 : values.indexOf(String(value)) + 1;
