/** @file The page of probes: one head counts by Wilson and McNemar, several count as draws of training too. */

import { describe, expect, it } from "vitest";
import {
  type Answer,
  accuracy,
  crossedDifference,
  crossedMean,
  type ProbeFindings,
  type ProbeOutcome,
  pairsOf,
  probeReport,
} from "../src/evaluation/index.js";
import { TorchGenerator } from "../src/tensor/index.js";

const questions = 60;
const patterns = ["state", "count"];

/** A head that is right with a chance of its own. */
function outcome(features: string, seed: number, chance: number): ProbeOutcome {
  const random = new TorchGenerator(seed).rand([4 * questions]).toFloat32();
  const answers = (from: number, count: number, paired: boolean): Answer[] =>
    Array.from({ length: count }, (_, i) => {
      const right = random[from + i]! < chance;
      const probability = right ? 0.9 : 0.2;
      const pattern = patterns[(i >> 1) % 2]!;
      return { pattern, probability, right, row: i, ...(paired && { pair: i >> 1 }) };
    });
  const test = answers(0, questions, false);
  const twins = answers(questions, 2 * questions, true);
  return { features, column: "features", seed, answers: { test, twins, unseen: answers(0, 4, false) } };
}

const findings = (outcomes: ProbeOutcome[]): ProbeFindings => ({
  outcomes,
  firstTwins: questions,
  blind: Array.from({ length: questions }, (_, pair) => ({
    pair,
    pattern: patterns[pair % 2]!,
    blind: pair % 3 === 0,
    similarity: 0.99,
    changed: 0.1,
  })),
  statistics: [],
  alike: { ways: [], cka: [] },
});

const contrasts = [["sd", "clip"]] as const;
const heads = (seeds: number[]) =>
  seeds.flatMap((seed) => [outcome("sd", seed, 0.6 + 0.1 * seed), outcome("clip", seed + 10, 0.5)]);

describe("the page of probes", () => {
  it("counts one head's answers by Wilson, and pairs by McNemar", () => {
    const [sd, clip] = heads([1]);
    const { json, html } = probeReport(findings([sd!, clip!]), { contrasts });
    const told = JSON.parse(json);
    expect(told.ways[0].seeds).toBe(1);
    expect(told.ways[0].test).toEqual(accuracy(sd!.answers.test));
    expect(told.contrasts[0].twins.all.p).toBeGreaterThanOrEqual(0);
    expect(html).toContain("McNemar");
  });

  it("takes several heads as draws of training, which answer the same items", () => {
    const all = heads([1, 2, 3]);
    const { json, html } = probeReport(findings(all), { contrasts });
    const told = JSON.parse(json);
    const [sd, clip] = ["sd", "clip"].map((name) => all.filter(({ features }) => features === name));
    const right = (list: readonly { right: boolean }[]) => list.map((one) => Number(one.right));
    const kinds = sd![0]!.answers.test.map(({ pattern }) => pattern);
    const tests = (some: ProbeOutcome[]) => some.map(({ answers }) => right(answers.test));
    expect(told.ways[0]).toMatchObject({ seeds: 3, test: { macro: crossedMean(tests(sd!), kinds) } });

    const isBlind = ({ pair }: { pair: number }) => pair % 3 === 0;
    const blind = (some: ProbeOutcome[]) =>
      some.map(({ answers }) => right(pairsOf(answers.twins).filter(isBlind)));
    const items = blind(sd!)[0]!.map(() => "");
    expect(told.contrasts[0].blind.all).toEqual({
      difference: crossedDifference(blind(sd!), blind(clip!), items),
    });
    expect(told.contrasts[0].questions.state.difference.count).toBe(questions / 2);
    expect(html).toContain("3 heads of different seeds");
    expect(html).not.toContain("McNemar");

    expect(html).not.toContain("tap by timestep");

    // Heads that differ much are known badly: one alone looks surer than it is.
    const alone = accuracy(sd![1]!.answers.test).macro;
    const { low, high } = told.ways[0].test.macro;
    expect(high - low).toBeGreaterThan(alone.high - alone.low);
  });

  it("maps taps by timesteps, of all twins and of those that CLIP is blind to", () => {
    const at = (column: string, chance: number) => ({ ...outcome("sd", 1, chance), column });
    const cells = [at("up-level1-repeat1-res-out/t50", 0.5), at("up-level1-repeat1-res-out/t100", 0.9)];
    const { html } = probeReport(findings(cells), { notes: ["Of few, t < 100."], tuning: true });
    expect(html).toContain("no result");
    expect(html).toContain("what the features hold. Of few, t &lt; 100. <strong>Judged");
    const maps = html.slice(html.indexOf("sd: tap by timestep"));
    expect(maps).toContain("Twins of which both are right");
    expect(maps).toContain("Twins that CLIP is blind to of which both are right");
    expect(maps).toContain("U-L1-R1-Res-Out");
  });
});
