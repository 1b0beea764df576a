/** @file What an item wears: its mesh's materials, repainted and lettered as the item asks. */

import { signTexture } from "./letters.js";
import type { Material, Mesh } from "./mesh.js";
import type { Item } from "./stage.js";
import type { Texture } from "./texture.js";

/** A material as an item wears it. */
export interface Coat {
  /** Linear reflectance, or what the texture is multiplied by. */
  r: number;
  g: number;
  b: number;
  texture: Texture | undefined;
  /** Above 0 the texture gives brightness only, times this. */
  repaint: number;
  /** Some of it is clear. */
  stencil: boolean;
  gloss: boolean;
}

const mostSigns = 256;

/** Makes coats; signs that were drawn lately are kept. */
export class Wardrobe {
  readonly #signs = new Map<string, Texture>();

  /** A coat for each of the mesh's materials. */
  dress(item: Item, mesh: Mesh): Coat[] {
    return mesh.materials.map((material) => this.#coat(material, item, mesh));
  }

  #coat(material: Material, item: Item, mesh: Mesh): Coat {
    const { texture, stencil, gloss } = material;
    const tint = material.tint ? item.tint : undefined;
    const [r, g, b] = tint ?? material.colour;
    const white = { r: 1, g: 1, b: 1, repaint: 0 };
    if (material.letters) {
      return {
        ...white,
        texture: this.#sign(item.sign ?? "", [r, g, b], mesh.letters),
        stencil: false,
        gloss,
      };
    }
    if (!texture) return { r, g, b, texture, repaint: 0, stencil: false, gloss };
    return tint
      ? { r, g, b, texture, repaint: 1 / material.mean, stencil, gloss }
      : { ...white, texture, stencil, gloss };
  }

  #sign(text: string, board: readonly [number, number, number], most: number): Texture {
    const key = `${text} ${board}`;
    const before = this.#signs.get(key);
    if (before) return before;
    const sign = signTexture(text, board, most);
    if (this.#signs.size >= mostSigns) this.#signs.clear();
    this.#signs.set(key, sign);
    return sign;
  }
}
