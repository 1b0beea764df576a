/** @file The diorama in a page: left as `diorama` for the test to call. */

import * as diorama from "../../../src/diorama/index.js";

Object.assign(globalThis, { diorama });
