/** @file LLaVA whole against transformers: pictures and text to scores, tokens, the loss and the projector's gradients. */

import { afterAll, describe, expect, it } from "vitest";
import { Engine } from "../src/engine/index.js";
import {
  constant,
  gradients,
  input,
  isOp,
  reshape,
  topologicalOrder,
  type Value,
} from "../src/graph/index.js";
import {
  llama,
  llamaEmbeddings,
  llamaLogits,
  readLanguageConfig,
  rotaryTables,
} from "../src/models/index.js";
import { Tensor } from "../src/tensor/index.js";
import { ignoredLabel } from "../src/text/index.js";
import { languageLoss } from "../src/training/losses.js";
import {
  LanguageModel,
  llavaImageFeatures,
  openLlava,
  planSplice,
  splice,
  spliceIndex,
  spliceParts,
} from "../src/vlm/index.js";
import { openModel, Scope } from "../src/weights/index.js";
import { expectClose, Golden, type GoldenCase, goldenPath } from "./golden.js";

const golden = new Golden("llava");
const { image_token: imageToken, tokens_per_image: perImage } = golden.case("case0").args;
const llava = await openLlava(await openModel(goldenPath("llava")));
const engine = await Engine.open({ device: "cpu", memory: "mmap" });
afterAll(() => engine.dispose());

/** A case's ids with one token an image, as a tokenizer gives them; its labels along with them. */
function collapsed(one: GoldenCase): { ids: number[]; labels: number[] | undefined; images: number } {
  const [ids] = golden.input(one, "input_ids").toArray() as [number[]];
  const [labels] = one.inputs.labels ? (golden.input(one, "labels").toArray() as [number[]]) : [undefined];
  let run = 0;
  const kept = ids.map((id) => id !== imageToken || run++ % perImage === 0);
  const only = (list: number[]) => list.filter((_, i) => kept[i]);
  return { ids: only(ids), labels: labels && only(labels), images: run / perImage };
}

/** Pictures and text as one graph. */
function written(one: GoldenCase) {
  const { ids, labels, images } = collapsed(one);
  const imageLengths = new Array<number>(images).fill(perImage);
  const plan = planSplice([ids], { imageToken, imageLengths, labels: labels && [labels] });
  const pixels = golden.input(one, "pixel_values");
  const feeds: Record<string, Tensor> = {
    pixels,
    ids: Tensor.i64([1, plan.length], plan.ids.flat()),
    index: spliceIndex(plan),
  };
  const given = (name: string) => input(name, feeds[name]!.dims, feeds[name]!.dtype);
  const config = readLanguageConfig(llava.language.config);
  const w = Scope.of(llava.language.checkpoint);
  const features = llavaImageFeatures(llava, given("pixels"));
  const embeds = splice(llamaEmbeddings(w, given("ids")), features, given("index"));
  const { cos, sin } = rotaryTables(config.rope, [...Array(plan.length).keys()]);
  const { lastHiddenState } = llama(w, config, { embeds, cos: constant(cos), sin: constant(sin) });
  return { logits: llamaLogits(w, config, lastHiddenState), feeds, plan };
}

const spoken = ["case0", "case1-two-images"].map((name) => golden.case(name));

describe("LLaVA", () => {
  it.each(spoken)("$name: has transformers' scores of every token", async (one) => {
    const { logits, feeds } = written(one);
    const program = engine.compile({ logits });
    const results = await program.run(feeds);
    await program.release();
    expectClose(results.logits!, golden.output(one, "logits"), one.outputs.logits!.atol!);
  });

  it.each(spoken)("$name: says the very tokens that transformers says", async (one) => {
    const pixels = golden.input(one, "pixel_values");
    const program = engine.compile({ features: llavaImageFeatures(llava, input("pixels", pixels.dims)) });
    const { features } = await program.run({ pixels });
    await program.release();
    const { ids, images } = collapsed(one);
    const width = features!.dims.at(-1)!;
    const rows = Array.from({ length: images }, (_, i) => {
      const numbers = features!.toFloat32().slice(i * perImage * width, (i + 1) * perImage * width);
      return Tensor.f32([perImage, width], numbers);
    });
    await using model = await LanguageModel.open(llava.language.config, llava.language.checkpoint, {
      engine,
    });
    const answer = model.generate(spliceParts(ids, rows, imageToken), { maxTokens: 8, ignoreEos: true });
    const said: number[] = [];
    for await (const id of answer) said.push(id);
    const [sequence] = golden.output(one, "sequences").toArray() as [number[]];
    expect(said).toEqual(sequence.slice(-8));
  });

  it("learns as in transformers: the loss of the answer alone, and the projector's gradients", async () => {
    const one = golden.case("train-projector");
    const { logits, feeds, plan } = written(one);
    const next = plan.labels![0]!.slice(1).concat(ignoredLabel);
    feeds.labels = Tensor.i64(
      [1, plan.length],
      next.map((label) => Math.max(label, 0)),
    );
    feeds.weights = Tensor.f32(
      [1, plan.length],
      next.map((label) => Number(label !== ignoredLabel)),
    );
    const loss = languageLoss(
      logits,
      input("labels", feeds.labels.dims, "i64"),
      input("weights", feeds.weights.dims),
    );
    const trained = new Map(
      topologicalOrder([loss]).flatMap((value): [string, Value][] => {
        const key = isOp(value, "parameter") ? value.attributes.key : "";
        const place = /^mm_projector\.([02])\.(.*)$/.exec(key);
        return place ? [[`grad.linear_${place[1] === "0" ? 1 : 2}.${place[2]}`, value]] : [];
      }),
    );
    const slopes = gradients(loss, [...trained.values()]);
    const outputs: Record<string, Value> = { loss: reshape(loss, [1]) };
    [...trained.keys()].forEach((name, i) => {
      outputs[name] = slopes[i]!;
    });
    expect(Object.keys(outputs).sort()).toEqual(Object.keys(one.outputs).sort());
    const results = await engine.compile(outputs).run(feeds);
    for (const [name, { atol }] of Object.entries(one.outputs)) {
      expectClose(results[name]!, golden.output(one, name), atol!, name);
    }
  });
});
