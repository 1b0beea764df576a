/** @file Graphs for any size: written at two sizes; what differs between the two is left open. */

import { type Dims, failure } from "../../tensor/index.js";
import type { Value } from "../value.js";
import { type EncodedGraph, type EncodeOptions, encodeGraph } from "./encode.js";
import { encodeModel, type OnnxInitializer, type OnnxModel, type OnnxValue } from "./proto.js";

/** Writes a graph for given sizes. */
export type GraphWriter<Name extends string> = (
  sizes: Readonly<Record<Name, number>>,
) => Readonly<Record<string, Value>>;

/** Sizes that networks hardly have, so that none is mistaken for one of theirs. */
const [first, second] = [
  [13, 17, 19, 23],
  [29, 31, 37, 41],
] as const;

/**
 * One model for every size. Operations whose nodes depend on a size are refused: those that read shapes where they could
 * leave them open do not.
 * @param names of the sizes that are open, up to four
 * @throws DiffsightError GRAPH that names the first operation that depends on a size
 */
export function encodeForAnySize<Name extends string>(
  names: readonly Name[],
  write: GraphWriter<Name>,
  options: EncodeOptions = {},
): EncodedGraph {
  const sizes = [first, second].map(
    (values) => Object.fromEntries(names.map((name, i) => [name, values[i]!])) as Record<Name, number>,
  ) as [Record<Name, number>, Record<Name, number>];
  const [a, b] = sizes.map((one) => encodeGraph(write(one), options)) as [EncodedGraph, EncodedGraph];
  expectAlike(a.onnx, b.onnx);
  const open = (values: readonly OnnxValue[], others: readonly OnnxValue[]): OnnxValue[] =>
    values.map((value, i) => ({
      ...value,
      dims: value.dims.map((size, axis) => {
        const other = others[i]!.dims[axis]!;
        if (size === other) return size;
        return names.find((name) => sizes[0][name] === size && sizes[1][name] === other) ?? "?";
      }),
    }));
  const inputs = open(a.inputs, b.inputs);
  const outputs = open(a.outputs, b.outputs);
  const onnx = { ...a.onnx, inputs, outputs };
  return { ...a, inputs, outputs, onnx, model: encodeModel(onnx) };
}

/** That both models have the same nodes, with the same constants. */
function expectAlike(a: OnnxModel, b: OnnxModel): void {
  const [constantsA, constantsB] = [a, b].map(
    ({ initializers }) => new Map(initializers.map(({ name, dims, data }) => [name, described(dims, data)])),
  ) as [Map<string, string>, Map<string, string>];
  const differs = a.nodes.find((node, i) => {
    const sameNode = JSON.stringify(node) === JSON.stringify(b.nodes[i]);
    return !sameNode || node.inputs.some((name) => constantsA.get(name) !== constantsB.get(name));
  });
  if (!differs && a.nodes.length === b.nodes.length) return;
  const { opType, inputs } = differs ?? b.nodes[a.nodes.length]!;
  throw failure("GRAPH", `${opType} of ${inputs.join(", ")} depends on a size that is to be left open.`);
}

function described(dims: Dims, data: OnnxInitializer["data"]): string {
  return JSON.stringify([dims, "raw" in data ? [...data.raw] : data]);
}
