/** @file numpy's `.npy` format, versions 1 to 3. */

import { allocate, byteSize, type DType, viewBytes } from "./dtype.js";
import { type DiffsightError, failure } from "./errors.js";
import { fromStrides } from "./strided.js";
import { Tensor } from "./tensor.js";

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // "\x93NUMPY"

const descriptors: Partial<Record<DType, string>> = {
  f64: "<f8",
  f32: "<f4",
  f16: "<f2",
  i64: "<i8",
  i32: "<i4",
  i16: "<i2",
  i8: "|i1",
  u64: "<u8",
  u32: "<u4",
  u16: "<u2",
  u8: "|u1",
  bool: "|b1",
};

/** One-byte types may be written with any byte order. */
const dtypeOf = new Map(
  (Object.entries(descriptors) as [DType, string][]).map(([dtype, descr]) => [descr.slice(1), dtype]),
);

/** Encodes a tensor as `numpy.save` would (version 1, little endian, C order); bf16, which numpy lacks, as f32. */
export function encodeNpy(tensor: Tensor): Uint8Array {
  const { dtype, dims, data } = tensor.dtype === "bf16" ? tensor.to("f32") : tensor;
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(", ");
  const dictionary = `{'descr': '${descriptors[dtype]}', 'fortran_order': False, 'shape': (${shape}), }`;
  const start = Math.ceil((10 + dictionary.length + 1) / 64) * 64;
  const header = `${dictionary.padEnd(start - 11)}\n`;
  const bytes = allocate("u8", start + data.byteLength) as Uint8Array;
  bytes.set([...magic, 1, 0]);
  new DataView(bytes.buffer).setUint16(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
  return bytes;
}

/**
 * Decodes a `.npy` file; the tensor is a view of `bytes` where order and alignment allow it.
 * @throws FILE_CORRUPT, or DTYPE_UNSUPPORTED for big-endian, structured, text or object arrays
 * @see https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
export function decodeNpy(bytes: Uint8Array): Tensor {
  if (bytes.length < 12 || magic.some((byte, i) => bytes[i] !== byte))
    throw corrupt("it does not begin as one");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6]!;
  if (version < 1 || version > 3) throw corrupt(`version ${version} (1 to 3 are known)`);
  const headerStart = version === 1 ? 10 : 12;
  const start = headerStart + (version === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (start > bytes.length) throw corrupt("it ends within its header");
  // numpy itself stops here: it would otherwise hand any length to Python's parser.
  if (start - headerStart > 10_000) throw corrupt(`a header of ${start - headerStart} bytes`);
  const { descr, fortranOrder, dims } = parseHeader(
    new TextDecoder().decode(bytes.subarray(headerStart, start)),
  );

  const dtype = dtypeOf.get(descr.slice(1));
  if (!dtype || !(byteSize(dtype) === 1 ? "|<>=" : "<").includes(descr[0]!)) {
    const known = Object.values(descriptors).join(", ");
    throw failure("DTYPE_UNSUPPORTED", `The npy type "${descr}" is not supported; known are ${known}.`);
  }
  const count = dims.reduce((product, size) => product * size, 1);
  if (count * byteSize(dtype) !== bytes.length - start) {
    throw corrupt(`${descr} (${dims.join(", ")}) does not fill ${bytes.length - start} bytes`);
  }
  const data = viewBytes(dtype, bytes.subarray(start));
  if (!fortranOrder || dims.length < 2) return new Tensor(dtype, dims, data);
  const strides = dims.map((_, axis) => dims.slice(0, axis).reduce((product, size) => product * size, 1));
  return fromStrides(dtype, data, dims, strides);
}

/** The header is a Python dictionary of exactly three entries; only what numpy writes is read. */
function parseHeader(text: string): { descr: string; fortranOrder: boolean; dims: number[] } {
  const fields = new Map<string, string>();
  const field = /\s*['"](\w+)['"]\s*:\s*(?:['"]([<>=|][\w]+)['"]|(True|False)|\(([\d\sL,]*)\))\s*(,|(?=\}))/y;
  const open = /^\s*\{/.exec(text);
  if (!open) throw corrupt("its header is no dictionary");
  field.lastIndex = open[0].length;
  let end = field.lastIndex;
  for (let match = field.exec(text); match; match = field.exec(text)) {
    const [, name, descr, flag, shape] = match;
    if (fields.has(name!)) throw corrupt(`its header has ${name} twice`);
    fields.set(name!, descr ?? flag ?? `(${shape}`);
    end = field.lastIndex;
  }
  const descr = fields.get("descr");
  const order = fields.get("fortran_order");
  const shape = fields.get("shape");
  const wellFormed = /^\s*\}\s*$/.test(text.slice(end)) && fields.size === 3;
  if (
    !wellFormed ||
    !descr ||
    !/^[<>=|]/.test(descr) ||
    !/^(True|False)$/.test(order ?? "") ||
    !shape?.startsWith("(")
  ) {
    throw corrupt(`its header is ${JSON.stringify(text.slice(0, 120))}`);
  }
  const sizes = shape
    .slice(1)
    .split(",")
    .map((size) => size.trim());
  if (sizes.at(-1) === "") sizes.pop();
  const dims = sizes.map((size) => (/^\d+L?$/.test(size) ? Number.parseInt(size, 10) : Number.NaN));
  if (dims.length > 64 || !dims.every(Number.isSafeInteger))
    throw corrupt(`its shape is (${sizes.slice(0, 70).join(", ")})`);
  return { descr, fortranOrder: order === "True", dims };
}

function corrupt(what: string): DiffsightError {
  return failure("FILE_CORRUPT", `Not a valid npy file: ${what}.`);
}
