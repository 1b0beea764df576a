/** @file Language models in a page: left as `vlm` for the test to call. */

import * as vlm from "../../../src/vlm/language/index.js";

Object.assign(globalThis, { vlm });
