/**
 * @file Angles and the sRGB curve from + - * / and square roots alone: `Math.sin` and its like may differ between
 * hosts in their last bit, these cannot.
 */

import { fullTurn } from "./stage.js";

/** sin(x) for |x| <= Math.PI / 4 by Taylor's series, exact to the last bits of a double. */
function smallSine(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 2; n < 20; n += 2) {
    term = (-term * x * x) / (n * (n + 1));
    sum += term;
  }
  return sum;
}

function smallCosine(x: number): number {
  let term = 1;
  let sum = 1;
  for (let n = 1; n < 20; n += 2) {
    term = (-term * x * x) / (n * (n + 1));
    sum += term;
  }
  return sum;
}

/** Cosine and sine of an angle in steps; fractions of a step are allowed. */
export function turned(steps: number): readonly [cosine: number, sine: number] {
  const wrapped = steps - fullTurn * Math.floor(steps / fullTurn);
  const eighths = Math.floor(wrapped / (fullTurn / 8));
  // Angle from the nearest quarter turn, at most an eighth of a turn.
  const quarters = (eighths + 1) >> 1;
  const rest = ((wrapped - quarters * (fullTurn / 4)) * 2 * Math.PI) / fullTurn;
  const [c, s] = [smallCosine(rest), smallSine(rest)];
  switch (quarters & 3) {
    case 0:
      return [c, s];
    case 1:
      return [-s, c];
    case 2:
      return [-c, -s];
    default:
      return [s, -c];
  }
}

/** The angle of (x, y) from the x axis in radians, -Math.PI to Math.PI; within 1e-5. */
export function angleOf(y: number, x: number): number {
  const ax = x < 0 ? -x : x;
  const ay = y < 0 ? -y : y;
  const steep = ay > ax;
  const long = steep ? ay : ax;
  if (long === 0) return 0;
  const t = (steep ? ax : ay) / long;
  const q = t * t;
  // Abramowitz and Stegun 4.4.49 (Hastings): an odd polynomial of degree 11.
  let angle =
    t *
    (0.99997726 +
      q * (-0.33262347 + q * (0.19354346 + q * (-0.11643287 + q * (0.05265332 - q * 0.0117212)))));
  if (steep) angle = Math.PI / 2 - angle;
  if (x < 0) angle = Math.PI - angle;
  return y < 0 ? -angle : angle;
}

/** The fifth root of 0 < x <= 1 by Newton's method. */
function fifthRoot(x: number): number {
  let root = 1;
  for (let i = 0; i < 40; i++) {
    const fourth = root * root * root * root;
    root = (4 * root + x / fourth) / 5;
  }
  return root;
}

/** Light of each sRGB byte, 0 to 1 (IEC 61966-2-1). */
export const decodeTable: Float64Array = Float64Array.from({ length: 256 }, (_, byte) => {
  const value = byte / 255;
  if (value <= 0.04045) return value / 12.92;
  const base = (value + 0.055) / 1.055;
  const root = fifthRoot(base);
  return base * base * root * root;
});

export const encodeSteps = 8192;

/** The sRGB byte nearest to light i / encodeSteps. */
export const encodeTable: Uint8Array = (() => {
  const table = new Uint8Array(encodeSteps + 1);
  let byte = 0;
  for (let i = 0; i <= encodeSteps; i++) {
    const light = i / encodeSteps;
    while (byte < 255 && light > (decodeTable[byte]! + decodeTable[byte + 1]!) / 2) byte++;
    table[i] = byte;
  }
  return table;
})();
