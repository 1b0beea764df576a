/** @file Whom the world's things and places come from, for model cards and pages: assets/ATTRIBUTION.md in one paragraph. */

/** Authors by licence; test/attribution.test.ts holds them against the full list. */
const authors = {
  "CC BY 3.0": [
    "Scopia Visual Interfaces Systems, s.l. (http://www.scopia.es)",
    ...["Priide", "Gwinna", "Zema", "Rodrigoalves123", "RegusTtef", "Radio hate", "Dalenryder"],
    ...["Fabbyone & eTeks", "Mayollo", "Jo.3D", "Pyrophorus", "SaiZyca2", "Jay-Artist", "DooL", "Tadine"],
    ...["Farcgs", "Nmn9"],
  ],
  "CC BY 3.0 US": ["Reallusion (http://www.reallusion.com)", "Andrew Kator & Jennifer Legaz"],
  "CC0 1.0": [
    ...["Twin97", "CDmir230", "Manitislate", "Sangio", "Robo3dguy", "Doug C", "Ulanbek", "BigMouse", "Dante"],
    ...["Nhumrod", "Ralmon", "Dvachib", "SEspider", "GyngaNynja", "Mofx", "Bastable", "Evivivi"],
  ],
};

const lists = Object.entries(authors).map(([licence, names]) => `${names.join(", ")} (${licence})`);

/** A paragraph in Markdown: authors, licences, and what was changed. */
export const credits = `The pictures are renderings of the diorama: 3-D models by ${lists.join("; ")}, in panoramas of @pmndrs/assets (CC0 1.0). All were simplified and scaled, some recoloured. Every model with its licence is listed in assets/ATTRIBUTION.md of diffsight.`;
