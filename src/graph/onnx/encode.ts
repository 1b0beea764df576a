/** @file Values to an ONNX model whose initializers point into the user's own weight files. */

import { type Dims, type DType, failure } from "../../tensor/index.js";
import {
  type FileRange,
  isOp,
  type OpName,
  type Storage,
  storedIn,
  topologicalOrder,
  type Value,
} from "../value.js";
import { type DerivedPart, Emitter } from "./emitter.js";
import { type Kernels, plainKernels } from "./kernels.js";
import { type Lowering, lowerings } from "./lowering.js";
import { encodeModel, type OnnxModel, type OnnxValue } from "./proto.js";

export interface EncodeOptions {
  /** Values that are given at run time under a name, whatever computes them: the cut of a graph in parts. */
  given?: ReadonlyMap<Value, string>;
  kernels?: Kernels;
  /** Where a weight file is, seen from the folder that the runtime is told. */
  locate?: (file: string) => string;
  /** For a runtime that opens no files: each range has a location of its own, `rangeLocation`, to be handed over. */
  handed?: boolean;
  /** Where the runtime will find derived weights. */
  derivedLocation?: string;
  /** Files that weights in memory have been given, for a runtime that opens files. */
  placed?: ReadonlyMap<Uint8Array, string>;
}

export interface EncodedGraph {
  model: Uint8Array;
  /** What the model's bytes say. */
  onnx: OnnxModel;
  inputs: OnnxValue[];
  outputs: OnnxValue[];
  /** Every range of a weight file that the model points to. */
  ranges: FileRange[];
  /** Weights in memory, under the location that the model names. */
  buffers: { location: string; bytes: Uint8Array }[];
  /** Weights to be computed before the model is loaded, one after another at `derivedLocation`. */
  derived: { bytes: number; parts: DerivedPart[] };
  /** Bytes of the parameters as stored. */
  parameterBytes: number;
  /** Whether some of the weights must be packed by the runtime to be computed with at all fast. */
  packs: boolean;
}

/** Up to so many bytes a weight in memory is written into the model itself. */
const inlineBytes = 1024;

/** What a model calls a range that the runtime is handed. */
export function rangeLocation({ file, offset, length }: FileRange): string {
  return `${file}#${offset}+${length}`;
}

/** The same table where weights that are given have nothing derived beforehand from what the parameter was. */
function forGiven(kernels: Kernels, given: ReadonlyMap<Value, string>): Kernels {
  const convolution: Kernels["convolution"] = (value) => {
    const algorithm = kernels.convolution(value);
    return typeof algorithm === "object" && given.has(value.inputs[1]!) ? "direct" : algorithm;
  };
  return { ...kernels, convolution };
}

/**
 * Writes the values as one ONNX model. Only what they need is in it.
 * @param outputs name of each output -> its value
 */
export function encodeGraph(
  outputs: Readonly<Record<string, Value>>,
  {
    given = new Map(),
    kernels: table = plainKernels,
    locate = (file) => file,
    handed = false,
    derivedLocation = "derived",
    placed = new Map(),
  }: EncodeOptions = {},
): EncodedGraph {
  const kernels = forGiven(table, given);
  const to = new Emitter(derivedLocation, kernels.merges);
  const inputs: OnnxValue[] = [];
  const ranges: FileRange[] = [];
  const buffers: EncodedGraph["buffers"] = [];
  let parameterBytes = 0;
  let packs = false;

  const named = new Set<string>();
  const claim = (name: string) => {
    if (named.has(name)) throw failure("GRAPH", `Two inputs or outputs of a graph are named "${name}".`);
    named.add(name);
  };

  const declare = (value: Value, name: string) => {
    claim(name);
    inputs.push({ name, dtype: value.dtype, dims: value.dims });
    to.bind(value, name);
  };

  const weight = (key: string, stored: DType, dims: Dims, storage: Storage): string => {
    const name = to.fresh(key);
    parameterBytes += ("file" in storage ? storage : storage.bytes).length;
    if ("file" in storage) {
      const { file, offset, length } = storage;
      ranges.push(storage);
      const data = handed
        ? { location: rangeLocation(storage), offset: 0, length }
        : { location: locate(file), offset, length };
      to.initializers.push({ name, dtype: stored, dims, data });
    } else if (storage.bytes.length <= inlineBytes) {
      to.initializers.push({ name, dtype: stored, dims, data: { raw: storage.bytes } });
    } else {
      const { bytes } = storage;
      const file = placed.get(bytes);
      const location = file === undefined ? `memory/${buffers.length}` : locate(file);
      if (file === undefined) buffers.push({ location, bytes });
      to.initializers.push({
        name,
        dtype: stored,
        dims,
        data: { location, offset: 0, length: bytes.length },
      });
    }
    return name;
  };

  const nameOf = (value: Value, i: number): string => {
    const source = value.inputs[i]!;
    // Winograd's weights are derived from the parameter itself.
    if (i === 1 && isOp(value, "conv2d") && typeof kernels.convolution(value) === "object") return "";
    const isTable = isOp(value, "gather") && isOp(source, "parameter") && !kernels.castTables;
    const isPacked = isOp(value, "quantizedLinear") && i === 1;
    return isTable || isPacked ? to.stored(source) : to.name(source);
  };

  for (const value of topologicalOrder(Object.values(outputs), new Set(given.keys()))) {
    const name = given.get(value);
    // Rows of a parameter that is given are those of what is given.
    const weights = value.inputs.some((input) => given.has(input)) ? undefined : storedIn(value);
    if (name !== undefined) declare(value, name);
    else if (isOp(value, "input")) declare(value, value.attributes.name);
    else if (isOp(value, "constant")) to.bind(value, to.constant(value.attributes.tensor));
    else if (weights) {
      const { key, stored, storage } = weights;
      to.bindLater(value, stored !== "f32", () => weight(key, stored, value.dims, storage));
    } else {
      const lower = lowerings[value.op] as Lowering<OpName>;
      packs ||= isOp(value, "quantizedLinear");
      to.bind(
        value,
        lower(
          value,
          value.inputs.map((_, i) => nameOf(value, i)),
          to,
          kernels,
        ),
      );
    }
  }

  const results = Object.entries(outputs).map(([name, value]) => {
    claim(name);
    // An Identity gives the output its public name, and lets one value be wanted twice.
    to.nodes.push({
      opType: "Identity",
      domain: "",
      inputs: [to.name(value)],
      outputs: [name],
      attributes: {},
    });
    return { name, dtype: value.dtype, dims: value.dims };
  });
  const derived = { bytes: to.derivedBytes, parts: to.derivedParts };
  const onnx: OnnxModel = {
    nodes: [...to.casts, ...to.nodes],
    initializers: to.initializers,
    inputs,
    outputs: results,
  };
  const model = encodeModel(onnx);
  return { model, onnx, inputs, outputs: results, ranges, buffers, derived, parameterBytes, packs };
}
