/** @file The diorama room's door: a small world of scenes with pictures, masks, captions and questions. */

export { type Captions, captions } from "./captions.js";
export { claimOf, claimWords, isClosed } from "./claims.js";
export { type UnseenRule, unseen, unseenIn } from "./combinations.js";
export { credits } from "./credits.js";
export { type DrawOptions, drawScene, patternShares, unseenShares } from "./draw.js";
export {
  type Example,
  type ExampleOptions,
  example,
  isFair,
  type Renderer,
  sceneOf,
  type TwinExample,
  type TwinOptions,
  twinExample,
  twinPatterns,
  twinsOf,
} from "./examples.js";
export {
  type Colour as ThingColour,
  colours,
  type Facing,
  facings,
  families,
  type Noun,
  nouns,
  numbers,
  type Pattern,
  type Place,
  patterns,
  places,
  plural,
  type Relation,
  relations,
  type State,
  signWords,
  states,
  type View,
  views,
  vocabulary,
} from "./lexicon.js";
export { type Assets, stageOf } from "./placing.js";
export { mainQuestion, type Question, questions } from "./questions.js";
export { Random } from "./random.js";
export {
  type ObjectRecord,
  type QuestionRecord,
  type RecordFiles,
  type SceneRecord,
  sceneRecord,
  twinRecords,
} from "./records.js";
export { type Layout, type Scene, type Split, shown, splits, type Thing } from "./scene.js";
export {
  type AttachPoint,
  type Camera,
  fullTurn,
  type Item,
  type MeshInfo,
  type PanoramaInfo,
  type Rendering,
  type Sight,
  type Stage,
  type Vector,
} from "./stage.js";
export { type TwinScenes, twins } from "./twins.js";
export { type RenderOptions, World } from "./world.js";
