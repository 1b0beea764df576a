/** @file Leakage: who gets whose caption, what comes back of a prompt, where it starts; and the command. */

import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compareLeakage,
  conversationPictures,
  findLeakage,
  leakageReport,
  measureLeakage,
  mismatch,
  type PictureRecords,
  type Said,
  type ToldPicture,
} from "../src/evaluation/index.js";
import { VisionLanguageModel } from "../src/vlm/index.js";
import { run, temporaryFolder } from "./cli.js";
import { writeVlmFolder } from "./vlm-folder.js";

const folder = temporaryFolder();
const image = { data: new Uint8Array(3 * 16 * 16), width: 16, height: 16, channels: 3 as const };

const nouns = ["dog", "cat", "box", "ball", "rabbit", "chair", "table", "car"];
const places = ["park", "hall", "street", "kitchen", "garden"];
const captioned = Array.from({ length: 40 }, (_, i) => ({
  id: `${i}`,
  image,
  caption: `a ${nouns[i % 8]} in the ${places[i % 5]}`,
}));

describe("mismatched captions", () => {
  it("are another picture's, and the same for a seed", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { minLength: 2, maxLength: 30 }), fc.nat(1000), (kinds, seed) => {
        fc.pre(new Set(kinds).size > 1);
        const pictures = kinds.map((kind, i) => ({ id: `${i}`, image, caption: `caption ${kind}` }));
        const told = mismatch(pictures, seed);
        expect(told.map(({ caption }) => caption)).toEqual(pictures.map(({ caption }) => caption));
        for (const { caption, mismatched } of told) expect(mismatched).not.toBe(caption);
        expect(mismatch(pictures, seed)).toEqual(told);
      }),
    );
  });

  it("are everybody's once where all differ", () => {
    const told = mismatch(captioned, 3);
    expect(new Set(told.map(({ mismatched }) => mismatched))).toEqual(
      new Set(captioned.map(({ caption }) => caption)),
    );
    expect(told).not.toEqual(mismatch(captioned, 4));
  });

  it("do not exist where all are alike", () => {
    expect(() => mismatch([captioned[0]!, captioned[0]!])).toThrow("All captions are alike");
  });
});

const pictures = mismatch(captioned);
const guidances = [0, 1, 4];

/** What a model would say that repeats its prompt from some guidance on, by layers; else it sees the thing alone. */
function parrot(from: Record<string, number>): PictureRecords {
  const says = ({ caption, mismatched }: ToldPicture, said: Omit<Said, "text" | "likelihood">): Said => {
    const repeats = said.told !== "none" && said.guidance >= from[said.layers]!;
    const seen = `${caption.split(" ").slice(0, 2).join(" ")} in the dark`;
    const text = repeats ? (said.told === "truth" ? caption : mismatched) : seen;
    return {
      ...said,
      text,
      likelihood: {
        truth: repeats && said.told === "truth" ? -0.1 : -2,
        mismatched: repeats && said.told === "mismatched" ? -0.1 : -3,
      },
    };
  };
  return pictures.map((picture) => [
    says(picture, { told: "none", guidance: 0, layers: "" }),
    ...Object.keys(from).flatMap((layers) =>
      (["truth", "mismatched"] as const).flatMap((told) =>
        guidances.map((guidance) => says(picture, { told, guidance, layers })),
      ),
    ),
  ]);
}

const find = (name: string, from: Record<string, number>) =>
  findLeakage(name, parrot(from), pictures, { world: true });

describe("leakage", () => {
  const found = find("parrot", { all: 1, down: 4, up: 9 });
  const at = (told: string, guidance: number, layers = "all") =>
    found.outcomes.find((one) => one.told === told && one.guidance === guidance && one.layers === layers)!;

  it("starts at the smallest guidance at which what was told comes back, by layers", () => {
    expect(found.starts).toEqual([
      { layers: "all", guidance: 1 },
      { layers: "down", guidance: 4 },
      { layers: "up", guidance: null },
    ]);
  });

  it("is a gap where the truth was told, and a mismatch score where another caption was", () => {
    expect(at("truth", 4).scores.cider.value).toBeCloseTo(10, 5);
    expect(at("truth", 4).gain.cider.low).toBeGreaterThan(0);
    expect(at("truth", 4).gain.tuples!.low).toBeGreaterThan(0);
    expect(at("truth", 0).gain.cider).toMatchObject({ value: 0, low: 0, high: 0 });
    expect(at("mismatched", 4).scores.otherCider.value).toBeCloseTo(10, 5);
    expect(at("mismatched", 4).scores.otherRun.value).toBe(1);
    expect(at("mismatched", 4).gain.cider.high).toBeLessThan(0);
    expect(at("mismatched", 4).gain.otherLikelihood.value).toBeCloseTo(2.9, 9);
    expect(at("truth", 4).gain.likelihood.value).toBeCloseTo(1.9, 9);
    expect(at("mismatched", 4, "up").gain.otherCider.value).toBe(0);
  });

  it("differs between models by picture", () => {
    const honest = find("honest", { all: 9, down: 9, up: 9 });
    const differences = compareLeakage(found, honest);
    const of = (score: string, guidance: number) =>
      differences.find((one) => one.score === score && one.guidance === guidance && one.layers === "all")!;
    expect(of("otherCider", 4).difference.low).toBeGreaterThan(0);
    expect(of("otherCider", 0).difference.value).toBe(0);
    expect(of("cider", 4).difference.value).toBeCloseTo(at("truth", 4).gain.cider.value, 9);
    expect(new Set(differences.map(({ score }) => score))).toEqual(
      new Set(["cider", "tuples", "otherCider"]),
    );
  });

  it("is told on one page, with its numbers beside it", async () => {
    const records = { parrot: parrot({ all: 1 }), honest: parrot({ all: 9 }) };
    const measured = Object.entries(records).map(([name, records]) => ({
      findings: findLeakage(name, records, pictures, { world: false }),
      records,
    }));
    const { html, json, csv } = await leakageReport(measured, pictures, {
      examples: 2,
      request: { seed: 0 },
    });
    for (const title of ["Where leakage starts", "Between models", "What was said"])
      expect(html).toContain(`<h2>${title}</h2>`);
    expect(html).not.toContain("tuple F1");
    expect(html).not.toMatch(/NaN|undefined|src="http/);
    expect(html.match(/<img /g)).toHaveLength(2);
    const told = JSON.parse(json);
    expect(told.models.map(({ name }: { name: string }) => name)).toEqual(["parrot", "honest"]);
    expect(told.models[1].starts).toEqual([{ layers: "all", guidance: null }]);
    expect(told.pictures).toHaveLength(40);
    const lines = csv.trim().split("\n");
    expect(lines[0]).toBe("model,told,guidance,layers,score,kind,value,low,high,n");
    // Two models, control and six conditions, five scores, each with its gain.
    expect(lines).toHaveLength(1 + 2 * 7 * 5 * 2);
  });
});

const scenes = fileURLToPath(new URL("../assets/scenes", import.meta.url));

describe("pictures with captions of one's own", () => {
  const set = () => path.join(folder, "own.json");
  const row = (image: string, id: string) => ({
    id,
    image,
    conversations: [
      { from: "human", value: "<image>" },
      { from: "gpt", value: `It is ${id}.` },
    ],
  });
  const first = async (count: number, rows: object[], more: object = {}) => {
    writeFileSync(set(), JSON.stringify(rows));
    const found = await conversationPictures(set(), { count, images: scenes, ...more });
    return found.map(({ id }) => id);
  };
  const rows = [row("box.png", "a"), row("gone.png", "b"), row("box.png", "c"), row("lost.png", "d")];

  it("need no more rows of their file than are asked for", async () => {
    expect(await first(1, rows)).toEqual(["a"]);
    await expect(first(2, rows)).rejects.toThrow(
      /A row of .* row 1 \(id "b"\): image: there is no file .*gone\.png/,
    );
    await expect(first(5, rows)).rejects.toThrow(/2 rows .* row 3 .*lost\.png/);
  });

  it("leave rows out by choice, and say which", async () => {
    const warnings: string[] = [];
    const more = { faulty: "skip", onWarning: (message: string) => warnings.push(message) };
    expect(await first(2, rows, more)).toEqual(["a", "c"]);
    expect(warnings).toEqual([expect.stringMatching(/left out: row 1 \(image: .*gone\.png\)\.$/)]);
  });
});

describe("a model's leakage", () => {
  it("is measured once, and seen alike where the prompt is not heard", async () => {
    const set = path.join(folder, "captions.json");
    const rows = ["box", "ball-rabbit"].map((name) => ({
      id: name,
      image: `${name}.png`,
      conversations: [
        { from: "human", value: "<image>\nWhat is it?" },
        { from: "gpt", value: `It is a ${name}.` },
      ],
    }));
    writeFileSync(set, JSON.stringify(rows));
    const told = mismatch(await conversationPictures(set, { count: 5, images: scenes }));
    expect(told.map(({ id, mismatched }) => [id, mismatched])).toEqual([
      ["box", "It is a ball-rabbit."],
      ["ball-rabbit", "It is a box."],
    ]);
    const at = await writeVlmFolder(path.join(folder, "sd"), { alone: "sd" });
    const request = {
      pictures: told,
      guidances: [0, 3],
      layers: { all: undefined, up: ["up"] },
      maxTokens: 4,
      ledger: path.join(folder, "records.jsonl"),
    };
    const options = { threads: 1, device: "cpu", template: "plain" } as const;
    await using model = await VisionLanguageModel.fromPretrained(at, options);
    const records = await measureLeakage(model, request);
    expect(records).toHaveLength(2);
    for (const said of records) {
      const [none, ...others] = said as [Said, ...Said[]];
      expect(said.map(({ told, guidance, layers }) => `${told} ${guidance} ${layers}`)).toEqual([
        "none 0 ",
        ...["all", "up"].flatMap((layers) =>
          ["truth", "mismatched"].flatMap((kind) => [`${kind} 0 ${layers}`, `${kind} 3 ${layers}`]),
        ),
      ]);
      for (const { guidance, text, likelihood } of others) {
        if (guidance === 0)
          expect({ text, likelihood }).toEqual({ text: none.text, likelihood: none.likelihood });
        else expect(likelihood).not.toEqual(none.likelihood);
      }
    }
    // A second call asks nothing: everything is in the ledger.
    const asked: unknown[] = [];
    const deaf = Object.assign(Object.create(model), {
      told: () => model.told(""),
      steered: () => "",
      answerBatch: (...args: unknown[]) => asked.push(args),
    });
    expect(await measureLeakage(deaf, request)).toEqual(records);
    expect(asked).toEqual([]);
  });

  it("needs a diffusion encoder", async () => {
    const at = await writeVlmFolder(path.join(folder, "blind"));
    await using model = await VisionLanguageModel.fromPretrained(at, { threads: 1, device: "cpu" });
    const request = { pictures: [], guidances: [1], layers: { all: undefined }, maxTokens: 4 };
    await expect(measureLeakage(model, request)).rejects.toMatchObject({ code: "LEAKAGE", misuse: true });
  });

  it("is told by the command", async () => {
    const at = path.join(folder, "sd");
    const out = path.join(folder, "out");
    const flags = ["--pictures", "2", "--guidance", "0,4", "--max-tokens", "4", "--threads", "1", "-o", out];
    const found = await run(["probe", "leakage", "-m", `one=${at}`, "-m", `two=${at}`, ...flags]);
    expect(found).toMatchObject({ status: 0, stdout: `${path.join(out, "leakage.html")}\n` });
    const told = JSON.parse(readFileSync(path.join(out, "leakage.json"), "utf8"));
    expect(told.models.map(({ name }: { name: string }) => name)).toEqual(["one", "two"]);
    expect(told.pictures.map(({ id }: { id: string }) => id)).toEqual(["validation 0", "validation 1"]);
    expect(
      told.differences.every(({ difference }: { difference: { value: number } }) => difference.value === 0),
    );

    const twice = await run(["probe", "leakage", "-m", `a=${at}`, "-m", `a=${at}`]);
    expect(twice).toMatchObject({ status: 2 });
    expect(twice.stderr).toContain("Two models are called alike");
  });
});
