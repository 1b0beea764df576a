/** @file Where the camera and the sun of a stage stand, in numbers ready for use. */

import type { Panorama } from "./panorama.js";
import type { Stage, Vector } from "./stage.js";
import { turned } from "./tables.js";

export interface View {
  eye: Vector;
  /** The camera's axes, of length 1. */
  forward: Vector;
  right: Vector;
  up: Vector;
  /** Half the picture over the tangent of half the field of view. */
  zoom: number;
  /** Cosine and sine by which the panorama is turned. */
  turn: readonly [number, number];
  /** Toward the sun, and the axes of its own picture. */
  sun: Vector;
  sunRight: Vector;
  sunUp: Vector;
}

const cross = (a: Vector, b: Vector): Vector => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

function unit([x, y, z]: Vector): Vector {
  const length = Math.sqrt(x * x + y * y + z * z);
  return [x / length, y / length, z / length];
}

export function viewOf({ camera, turn }: Stage, { toward }: Panorama): View {
  const { eye, target, fov } = camera;
  const forward = unit([target[0] - eye[0], target[1] - eye[1], target[2] - eye[2]]);
  const level = forward[0] * forward[0] + forward[2] * forward[2] > 1e-9;
  const right = unit(level ? [-forward[2], 0, forward[0]] : [1, 0, 0]);
  const [halfCosine, halfSine] = turned(fov / 2);
  const [c, s] = turned(turn);
  const sun: Vector = [toward[0] * c + toward[2] * s, toward[1], toward[2] * c - toward[0] * s];
  const sunRight = unit([-sun[2], 0, sun[0]]);
  return {
    eye,
    forward,
    right,
    up: cross(right, forward),
    zoom: halfCosine / halfSine,
    turn: [c, s],
    sun,
    sunRight,
    sunUp: cross(sunRight, sun),
  };
}
