/**
 * @file The part of protobuf that writing an ONNX model needs: varints, fixed 32-bit floats, strings and messages.
 * Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
 */

import { byteSize, count, type Dims, type DType, type Tensor } from "../../tensor/index.js";

const text = new TextEncoder();

/** ONNX's numbers for element types (TensorProto.DataType). */
export const elementTypes: Record<DType, number> = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  u64: 13,
  bf16: 16,
};

class Message {
  #bytes = new Uint8Array(64);
  #length = 0;

  #room(extra: number): void {
    if (this.#length + extra <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + extra));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }

  #varint(value: number): void {
    // Negative numbers are ten bytes long, as 64-bit two's complement.
    let rest = BigInt.asUintN(64, BigInt(value));
    this.#room(10);
    while (rest > 127n) {
      this.#bytes[this.#length++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  int(field: number, value: number): this {
    this.#varint(field << 3);
    this.#varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.#varint((field << 3) | 5);
    this.#room(4);
    new DataView(this.#bytes.buffer).setFloat32(this.#length, value, true);
    this.#length += 4;
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint((field << 3) | 2);
    this.#varint(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  string(field: number, value: string): this {
    return this.bytes(field, text.encode(value));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

export type Attribute = number | string | readonly number[] | { float: number };

export interface OnnxNode {
  opType: string;
  domain: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes: Readonly<Record<string, Attribute>>;
}

export interface OnnxInitializer {
  name: string;
  dtype: DType;
  dims: Dims;
  /** The numbers themselves, or where they lie. */
  data: { raw: Uint8Array } | { location: string; offset: number; length: number };
}

/** Sizes, or names of those that are open. */
export type OpenDims = readonly (number | string)[];

export interface OnnxValue {
  name: string;
  dtype: DType;
  dims: OpenDims;
}

export interface OnnxModel {
  nodes: readonly OnnxNode[];
  initializers: readonly OnnxInitializer[];
  inputs: readonly OnnxValue[];
  outputs: readonly OnnxValue[];
}

function attribute(name: string, value: Attribute): Message {
  const message = new Message().string(1, name);
  if (typeof value === "number") return message.int(3, value).int(20, 2);
  if (typeof value === "string") return message.string(4, value).int(20, 3);
  if ("float" in value) return message.float(2, value.float).int(20, 1);
  for (const one of value) message.int(8, one);
  return message.int(20, 7);
}

function nodeMessage({ opType, domain, inputs, outputs, attributes }: OnnxNode): Message {
  const message = new Message();
  for (const name of inputs) message.string(1, name);
  for (const name of outputs) message.string(2, name);
  message.string(3, outputs[0]!).string(4, opType).string(7, domain);
  for (const [name, value] of Object.entries(attributes)) message.message(5, attribute(name, value));
  return message;
}

function entry(key: string, value: string): Message {
  return new Message().string(1, key).string(2, value);
}

function initializer({ name, dtype, dims, data }: OnnxInitializer): Message {
  const message = new Message();
  for (const size of dims) message.int(1, size);
  message.int(2, elementTypes[dtype]).string(8, name);
  if ("raw" in data) return message.bytes(9, data.raw);
  return message
    .message(13, entry("location", data.location))
    .message(13, entry("offset", String(data.offset)))
    .message(13, entry("length", String(data.length)))
    .int(14, 1);
}

function valueInfo({ name, dtype, dims }: OnnxValue): Message {
  const shape = new Message();
  for (const size of dims) {
    const dimension = new Message();
    shape.message(1, typeof size === "number" ? dimension.int(1, size) : dimension.string(2, size));
  }
  const tensorType = new Message().int(1, elementTypes[dtype]).message(2, shape);
  return new Message().string(1, name).message(2, new Message().message(1, tensorType));
}

/** Opset 21: the newest whose kernels are on every execution provider that diffsight runs on. */
const opset = 21;

/** The bytes of an ONNX model. */
export function encodeModel(model: OnnxModel): Uint8Array {
  const graph = new Message();
  for (const one of model.nodes) graph.message(1, nodeMessage(one));
  graph.string(2, "diffsight");
  for (const one of model.initializers) graph.message(5, initializer(one));
  for (const one of model.inputs) graph.message(11, valueInfo(one));
  for (const one of model.outputs) graph.message(12, valueInfo(one));
  return new Message()
    .int(1, 10)
    .string(2, "diffsight")
    .message(7, graph)
    .message(8, new Message().string(1, "").int(2, opset))
    .message(8, new Message().string(1, "com.microsoft").int(2, 1))
    .finish();
}

/** A tensor's numbers as little-endian bytes. */
export function rawBytes(tensor: Tensor): Uint8Array {
  const { data } = tensor;
  return new Uint8Array(data.buffer, data.byteOffset, count(tensor.dims) * byteSize(tensor.dtype));
}
