/**
 * @file Memory whose address is a multiple of 64 bytes. Kernels begin their sums at an aligned address, so that the same
 * numbers elsewhere are added in another order.
 */

import {
  byteSize,
  count,
  type Dims,
  type DType,
  failure,
  Tensor,
  type TensorData,
  viewBytes,
} from "../tensor/index.js";

const alignment = 64;
const pageBytes = 2 ** 16;

/** Bytes that something of this length takes among aligned neighbours. */
export function alignedLength(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

/** Its address is a multiple of a page, as no other memory of JavaScript's is known to be. */
export class AlignedMemory {
  readonly #memory = new WebAssembly.Memory({ initial: 0 });

  /** At least so many bytes. What was handed out before lies elsewhere afterwards. */
  room(bytes: number): ArrayBuffer {
    const missing = Math.ceil((bytes - this.#memory.buffer.byteLength) / pageBytes);
    try {
      if (missing > 0) this.#memory.grow(missing);
    } catch (cause) {
      throw failure("OUT_OF_MEMORY", `There is no room for ${bytes} bytes in one piece.`, cause);
    }
    return this.#memory.buffer;
  }
}

/** Buffers of `alignedTensors`: what lies in them at a multiple of 64 bytes need not be copied. */
const known = new WeakSet<ArrayBufferLike>();

export function isAligned(data: TensorData): boolean {
  return known.has(data.buffer) && data.byteOffset % alignment === 0;
}

/**
 * Tensors of zeros in one piece of memory, for a program to read from and write to again and again without a copy: see
 * `RunOptions.into`.
 * @throws DiffsightError OUT_OF_MEMORY
 */
export function alignedTensors<Name extends string>(
  shapes: Readonly<Record<Name, { dtype: DType; dims: Dims }>>,
): Record<Name, Tensor> {
  const entries = Object.entries<{ dtype: DType; dims: Dims }>(shapes);
  const bytesOf = ({ dtype, dims }: { dtype: DType; dims: Dims }) => count(dims) * byteSize(dtype);
  const total = entries.reduce((sum, [, shape]) => sum + alignedLength(bytesOf(shape)), 0);
  const buffer = new AlignedMemory().room(total);
  known.add(buffer);
  let offset = 0;
  const tensors = entries.map(([name, shape]) => {
    const bytes = new Uint8Array(buffer, offset, bytesOf(shape));
    offset += alignedLength(bytes.length);
    return [name, new Tensor(shape.dtype, shape.dims, viewBytes(shape.dtype, bytes))];
  });
  return Object.fromEntries(tensors) as Record<Name, Tensor>;
}
