/** @file Reads back the parts of an ONNX model that tests look at, straight from protobuf's wire format. */

import type { Dims } from "../../src/tensor/index.js";

export interface OnnxFacts {
  nodes: { opType: string; inputs: string[]; outputs: string[] }[];
  weights: {
    name: string;
    dims: Dims;
    location?: string;
    offset?: number;
    length?: number;
    raw?: Uint8Array;
  }[];
  inputs: string[];
  outputs: string[];
}

type Field = { number: number; value: number | Uint8Array };

/** The fields of one message; 64-bit numbers above 2^53 do not occur in what tests look at. */
function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const number = key >>> 3;
    const wire = key & 7;
    if (wire === 0) yield { number, value: varint() };
    else {
      const length = wire === 2 ? varint() : wire === 5 ? 4 : 8;
      yield { number, value: bytes.subarray(at, (at += length)) };
    }
  }
}

const text = new TextDecoder();

function all(bytes: Uint8Array, number: number): Uint8Array[] {
  return [...fieldsOf(bytes)].flatMap((field) =>
    field.number === number && typeof field.value !== "number" ? [field.value] : [],
  );
}

function strings(bytes: Uint8Array, number: number): string[] {
  return all(bytes, number).map((value) => text.decode(value));
}

function weightOf(bytes: Uint8Array): OnnxFacts["weights"][number] {
  const dims = [...fieldsOf(bytes)].flatMap(({ number, value }) => (number === 1 ? [value as number] : []));
  const place = Object.fromEntries(
    all(bytes, 13).map((entry) => [strings(entry, 1)[0], strings(entry, 2)[0]]),
  );
  const name = strings(bytes, 8)[0]!;
  return place.location === undefined
    ? { name, dims, raw: all(bytes, 9)[0]! }
    : { name, dims, location: place.location, offset: Number(place.offset), length: Number(place.length) };
}

export function readOnnx(model: Uint8Array): OnnxFacts {
  const graph = all(model, 7)[0]!;
  return {
    nodes: all(graph, 1).map((node) => ({
      opType: strings(node, 4)[0]!,
      inputs: strings(node, 1),
      outputs: strings(node, 2),
    })),
    weights: all(graph, 5).map(weightOf),
    inputs: all(graph, 11).map((value) => strings(value, 1)[0]!),
    outputs: all(graph, 12).map((value) => strings(value, 1)[0]!),
  };
}
