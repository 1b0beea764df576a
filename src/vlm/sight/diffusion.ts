/**
 * @file A diffusion model as an encoder of a vision-language model: features as tokens. What it sees without a text is
 * remembered apart from what a text changes, and the two are weighed here: another guidance costs no pass.
 */

import {
  average,
  type DiffusionEncoder,
  difference,
  type EncodeOptions,
  guide,
  Memory,
  type Part,
  type Tensors,
} from "../../diffusion/index.js";
import type { CallOptions } from "../../engine/index.js";
import { normMap } from "../../image/index.js";
import { misuse, type Tensor } from "../../tensor/index.js";
import type { EncoderDescription } from "../description.js";
import type { OpenEncoder, Told } from "./encoders.js";
import type { Picture } from "./sight.js";
import { gridTokens } from "./tokens.js";

/** Features of recent pictures: so much without texts, and as much with texts. */
const memoryBytes = 64 * 2 ** 20;

/**
 * @param onTruncate told of texts that are longer than the model reads
 * @throws misuse UNKNOWN_TAP when the tap is no grid of features, FOLD when the grid does not fold so
 */
export async function diffusionEncoder(
  eye: DiffusionEncoder,
  description: Extract<EncoderDescription, { kind: "diffusion" }>,
  onTruncate?: EncodeOptions["onTruncate"],
): Promise<OpenEncoder> {
  const { tap, timestep, part, fit, size, seed, ensemble, vae, pool, fold } = description;
  const [info] = (await eye.taps(size === undefined ? {} : { size })).filter(
    ({ id, short }) => id === tap.toLowerCase() || short.toLowerCase() === tap.toLowerCase(),
  );
  if (info?.dims.length !== 3)
    throw misuse(
      "UNKNOWN_TAP",
      `${eye.source} has no grid of features called "${tap}": \`diffsight taps\` lists them.`,
    );
  const [width, height, across] = info.dims as unknown as [number, number, number];
  const cells = pool === undefined ? ([height, across] as const) : ([pool, pool] as const);
  if (cells.some((side) => side % fold !== 0)) {
    throw misuse("FOLD", `${tap} has ${cells.join(" x ")} cells, which do not fold by ${fold}.`);
  }
  const grid = [cells[0] / fold, cells[1] / fold] as const;
  const timesteps = [timestep].flat();
  const geometry = { ...(size !== undefined && { size }), fit, seed, vae };
  const heardBy = ({ textLayers = description.textLayers }: Told) => textLayers;

  const features = async (picture: Picture, told: Told, { signal }: CallOptions, options: EncodeOptions) => {
    const call = { signal, ...(onTruncate && { onTruncate }) };
    const request = { taps: [tap], timesteps, ensemble, ...geometry, pool, ...call, ...options };
    const seen = await eye.encode(raw(picture), { ...request, textLayers: heardBy(told) });
    return Object.fromEntries(seen.tensors);
  };
  const memories = { without: new Memory(memoryBytes), withText: new Memory(memoryBytes) };

  /** By timestep. Whoever hears a text, nobody hears the empty one. */
  const unconditional = async (picture: Picture, told: Told, call: CallOptions): Promise<Tensor[]> =>
    Object.values(
      await memories.without.recall(picture.key, () =>
        features(picture, told, call, { parts: ["unconditional"] }),
      ),
    );
  const conditional = async (picture: Picture, told: Told, call: CallOptions): Promise<Tensor[]> => {
    const { prompt } = told;
    if (prompt === "") return unconditional(picture, told, call);
    const key = JSON.stringify([picture.key, prompt, heardBy(told)]);
    const compute = (): Promise<Tensors> => features(picture, told, call, { parts: ["conditional"], prompt });
    return Object.values(await memories.withText.recall(key, compute));
  };
  const seen = async (wanted: Part, picture: Picture, told: Told, call: CallOptions): Promise<Tensor[]> => {
    const s = told.prompt === "" ? 0 : told.guidance;
    if (wanted === "unconditional" || (wanted === "guided" && s === 0))
      return unconditional(picture, told, call);
    if (wanted === "conditional" || (wanted === "guided" && s === 1)) return conditional(picture, told, call);
    const u = await unconditional(picture, told, call);
    const c = await conditional(picture, told, call);
    return u.map((one, i) => (wanted === "delta" ? difference(c[i]!, one) : guide(one, c[i]!, s)));
  };

  return {
    shape: { tokens: grid[0] * grid[1], width: width * fold ** 2, grid },
    async see(picture, told, call = {}) {
      const tokens = gridTokens(average(await seen(part, picture, told, call)), fold);
      return tokens.reshape([1, ...tokens.dims]);
    },
    async look(picture, told, call = {}) {
      const { prompt } = told;
      if (prompt === "" || part === "unconditional") return undefined;
      const delta = average(await seen("delta", picture, told, call));
      const layers = heardBy(told);
      const words = await eye.attend(raw(picture), {
        prompt,
        timesteps,
        ...geometry,
        ...(layers?.length && { layers }),
        signal: call.signal,
      });
      return { image: words.image, delta: normMap(delta), words };
    },
    prepare: async () => {},
  };
}

const raw = ({ image }: Picture) => ({ ...image, channels: 3 as const });
