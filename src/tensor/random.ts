/** @file Random numbers as `torch.Generator("cpu")` draws them: same seed, same order of calls, same bits. */

import { misuse } from "./errors.js";
import { count, type Dims, formatDims, Tensor } from "./tensor.js";

/** Consecutive draws from one Mersenne twister; each call moves the state as the torch function of its name does. */
export class TorchGenerator {
  readonly #engine: MersenneTwister;
  /** The small algorithm of `randn` makes normal numbers in pairs and keeps the second for the next call. */
  #secondNormal: number | undefined;

  /**
   * @param seed -2^63 .. 2^64 - 1, as `manual_seed` takes it; only its low 32 bits count
   * @throws SEED when it is no integer or outside that range
   */
  constructor(seed: number | bigint) {
    if (typeof seed === "number" && !Number.isSafeInteger(seed)) {
      throw misuse(
        "SEED",
        `Seed ${seed} is not an integer that a number holds exactly; above 2^53 give a BigInt.`,
      );
    }
    const value = BigInt(seed);
    if (value < -(2n ** 63n) || value >= 2n ** 64n) {
      throw misuse("SEED", `Seed ${seed} does not fit 64 bits: it must lie in -2^63 .. 2^64 - 1.`);
    }
    this.#engine = new MersenneTwister(Number(BigInt.asUintN(32, value)));
  }

  /** Standard normal f32 numbers: `torch.randn(dims, generator=...)`. */
  randn(dims: Dims): Tensor {
    const data = new Float32Array(sizeOf(dims));
    if (data.length < 16) {
      for (let i = 0; i < data.length; i++) data[i] = this.#normal();
      return Tensor.f32(dims, data);
    }
    for (let i = 0; i < data.length; i++) data[i] = this.#uniform();
    for (let at = 0; at + 16 <= data.length; at += 16) boxMuller16(data, at);
    if (data.length % 16 !== 0) {
      // The rest is no block of its own: the last 16 numbers are drawn again, over the end of the last block.
      const tail = data.length - 16;
      for (let i = tail; i < data.length; i++) data[i] = this.#uniform();
      boxMuller16(data, tail);
    }
    return Tensor.f32(dims, data);
  }

  /** Uniform numbers in [0, 1): `torch.rand(dims, dtype=..., generator=...)`. */
  rand(dims: Dims, dtype: "f32" | "f64" = "f32"): Tensor {
    const data = dtype === "f32" ? new Float32Array(sizeOf(dims)) : new Float64Array(sizeOf(dims));
    for (let i = 0; i < data.length; i++) data[i] = dtype === "f32" ? this.#uniform() : this.#uniform53();
    return new Tensor(dtype, dims, data);
  }

  /** Integers in [low, high) as i64: `torch.randint(low, high, dims, generator=...)`. */
  randint(low: number, high: number, dims: Dims): Tensor {
    if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low >= high) {
      throw misuse("RANGE", `randint needs integers low < high, not low ${low} and high ${high}.`);
    }
    const base = BigInt(low);
    const range = BigInt(high) - base;
    const data = new BigInt64Array(sizeOf(dims));
    const narrow = range < 2n ** 28n; // wider ones take 64 bits (older releases: from 2^32 on)
    for (let i = 0; i < data.length; i++) {
      data[i] = base + ((narrow ? BigInt(this.#engine.next()) : this.#random64()) % range);
    }
    return new Tensor("i64", dims, data);
  }

  /** The integers 0 .. n - 1 in random order, as i64: `torch.randperm(n, generator=...)`. */
  randperm(n: number): Tensor {
    const order = Array.from({ length: sizeOf([n]) }, (_, i) => i);
    for (let i = 0; i < n - 1; i++) {
      const other = i + (this.#engine.next() % (n - i));
      const kept = order[i]!;
      order[i] = order[other]!;
      order[other] = kept;
    }
    return Tensor.i64([n], order);
  }

  /** 24 random bits: as many as a float's significand holds. */
  #uniform(): number {
    return (this.#engine.next() & 0xffffff) * 2 ** -24;
  }

  #uniform53(): number {
    const high = this.#engine.next() & 0x1fffff;
    return (high * 2 ** 32 + this.#engine.next()) * 2 ** -53;
  }

  #random64(): bigint {
    const high = BigInt(this.#engine.next());
    return (high << 32n) | BigInt(this.#engine.next());
  }

  /** Box and Muller in double precision, one pair in two calls (`at::normal_distribution<double>`). */
  #normal(): number {
    const kept = this.#secondNormal;
    if (kept !== undefined) {
      this.#secondNormal = undefined;
      return kept;
    }
    const theta = 2 * Math.PI * this.#uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-this.#uniform53()));
    this.#secondNormal = radius * Math.sin(theta);
    return radius * Math.cos(theta);
  }
}

function sizeOf(dims: Dims): number {
  if (!dims.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw misuse("SHAPE", `A shape needs integers from 0 on, not ${formatDims(dims)}.`);
  }
  return count(dims);
}

/** MT19937 (Matsumoto and Nishimura 1998), seeded as its authors' `init_genrand`. */
class MersenneTwister {
  readonly #state = new Uint32Array(624);
  #at = 624;

  constructor(seed: number) {
    const state = this.#state;
    state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const previous = state[i - 1]!;
      state[i] = Math.imul(1812433253, previous ^ (previous >>> 30)) + i;
    }
  }

  /** 32 random bits. */
  next(): number {
    if (this.#at === 624) this.#twist();
    let bits = this.#state[this.#at++]!;
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    return (bits ^ (bits >>> 18)) >>> 0;
  }

  #twist(): void {
    const state = this.#state;
    for (let i = 0; i < 624; i++) {
      const mixed = (state[i]! & 0x80000000) | (state[(i + 1) % 624]! & 0x7fffffff);
      state[i] = state[(i + 397) % 624]! ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.#at = 0;
  }
}

const f = Math.fround;
const twoPi = f(2 * Math.PI);

/**
 * Turns 16 uniform numbers into 16 normal ones in place: radii from the first eight, angles from the last eight.
 * In f32 with the logarithm, sine and cosine that torch's AVX2 kernel uses (Cephes' polynomials, products and sums
 * fused), so that the bits are those of torch on an x86 processor; elsewhere torch itself differs in the last place.
 */
function boxMuller16(data: Float32Array, at: number): void {
  for (let i = at; i < at + 8; i++) {
    const radius = f(Math.sqrt(f(-2 * log(f(1 - data[i]!)))));
    const [sine, cosine] = sineAndCosine(f(twoPi * data[i + 8]!));
    data[i] = radius * cosine + 0; // torch adds the mean, which makes -0 a 0
    data[i + 8] = radius * sine + 0;
  }
}

/** a * b + c rounded once to f32: the product of two f32 is exact in f64. */
function fma(a: number, b: number, c: number): number {
  return f(a * b + c);
}

/** Coefficients from the highest power down, each step fused. */
function polynomial(coefficients: Float32Array, x: number): number {
  let sum = coefficients[0]!;
  for (let i = 1; i < coefficients.length; i++) sum = fma(sum, x, coefficients[i]!);
  return sum;
}

const logCoefficients = Float32Array.of(
  7.0376836292e-2,
  -1.151461031e-1,
  1.167699874e-1,
  -1.2420140846e-1,
  1.4249322787e-1,
  -1.6668057665e-1,
  2.0000714765e-1,
  -2.4999993993e-1,
  3.3333331174e-1,
);
// ln 2 in two parts, so that exponent * lnTwoHigh is exact.
const lnTwoHigh = f(0.693359375);
const lnTwoLow = f(-2.1219444e-4);
const rootHalf = f(Math.SQRT1_2);
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Natural logarithm of a normal positive f32 (Cephes `logf`). */
function log(value: number): number {
  float[0] = value;
  let exponent = (bits[0]! >>> 23) - 126;
  bits[0] = (bits[0]! & 0x007fffff) | 0x3f000000; // the significand, in [0.5, 1)
  let x = float[0]!;
  if (x < rootHalf) {
    exponent -= 1;
    x = f(f(x - 1) + x);
  } else {
    x = f(x - 1);
  }
  const square = f(x * x);
  let y = f(polynomial(logCoefficients, x) * x);
  y = fma(y, square, f(exponent * lnTwoLow));
  y = fma(square, -0.5, y);
  return fma(exponent, lnTwoHigh, f(x + y));
}

const sineCoefficients = Float32Array.of(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1);
const cosineCoefficients = Float32Array.of(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2);
const fourOverPi = f(4 / Math.PI);
// -pi / 4 in three parts.
const minusQuarterPi = Float32Array.of(-0.78515625, -2.4187564849853516e-4, -3.774894977445941e-8);

/** Sine and cosine of an f32 angle in [0, 2 pi] (Cephes `sinf`, `cosf`). */
function sineAndCosine(angle: number): [sine: number, cosine: number] {
  const octant = (Math.trunc(f(angle * fourOverPi)) + 1) & ~1;
  let x = angle;
  for (const part of minusQuarterPi) x = fma(octant, part, x);
  const square = f(x * x);
  const c = f(polynomial(cosineCoefficients, square) * square);
  const cosine = f(f(c * square - f(square * 0.5)) + 1);
  const s = f(polynomial(sineCoefficients, square) * square);
  const sine = fma(s, x, x);
  const swapped = (octant & 2) !== 0;
  const sineSign = octant & 4 ? -1 : 1;
  const cosineSign = (octant + 2) & 4 ? -1 : 1;
  return [sineSign * (swapped ? cosine : sine), cosineSign * (swapped ? sine : cosine)];
}
