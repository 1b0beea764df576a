/** @file Trying a device out: whether it computes, and whether its attention is right. */

import { attention, encodeGraph, input } from "../graph/index.js";
import { Tensor } from "../tensor/index.js";
import type { Device, Host, Probe } from "./host.js";

/** More queries than one group of a graphics card's threads has, and keys that end inside one. */
const [queries, keys, heads, width] = [64, 88, 2, 32];

/** Share of the result's size: more than tensor cores round away, less than any wrong key counts. */
const tolerance = 1e-2;

/** Runs a small attention on a new host, which is ended. */
export async function tryOut(host: Host, device: Device): Promise<Probe> {
  const feeds = {
    q: scattered(queries, 1),
    k: scattered(keys, 2),
    v: scattered(keys, 3),
  };
  const [q, k, v] = [feeds.q, feeds.k, feeds.v].map(({ dims }, i) => input("qkv"[i]!, dims));
  const { model } = encodeGraph({ y: attention(q!, k!, v!, { heads, scale: width ** -0.5 }) });
  try {
    const session = await host.create({
      model,
      buffers: [],
      copies: [],
      ranges: [],
      device,
      preset: "fast",
      threads: 1,
    });
    const { y } = await host.run(session, feeds);
    await host.release(session);
    const expected = expectedAttention(feeds);
    const wrong = y!.toFloat32().map((value, i) => value - expected[i]!);
    return { fusedAttention: Math.hypot(...wrong) < tolerance * Math.hypot(...expected) };
  } catch (error) {
    return { obstacle: (error as Error).message, fusedAttention: false };
  } finally {
    host.kill();
  }
}

/** [1, length, heads * width], numbers from -1 to 1 without a pattern. */
function scattered(length: number, seed: number): Tensor {
  const data = Float32Array.from({ length: length * heads * width }, (_, i) => {
    return (Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(i + seed, 0x85ebca6b)) / 2 ** 31;
  });
  return Tensor.f32([1, length, heads * width], data);
}

/** softmax(q kᵀ / √width) v of each head. */
function expectedAttention({ q, k, v }: Record<"q" | "k" | "v", Tensor>): Float32Array {
  const [qs, ks, vs] = [q.toFloat32(), k.toFloat32(), v.toFloat32()];
  const out = new Float32Array(qs.length);
  const at = (token: number, head: number) => (token * heads + head) * width;
  for (let head = 0; head < heads; head++) {
    for (let query = 0; query < queries; query++) {
      const scores = Array.from({ length: keys }, (_, key) => {
        let score = 0;
        for (let i = 0; i < width; i++) score += qs[at(query, head) + i]! * ks[at(key, head) + i]!;
        return score * width ** -0.5;
      });
      const largest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - largest));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      weights.forEach((weight, key) => {
        for (let i = 0; i < width; i++) {
          out[at(query, head) + i]! += (weight / total) * vs[at(key, head) + i]!;
        }
      });
    }
  }
  return out;
}
