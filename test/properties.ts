/** @file The seed of property tests: a new one at every run here; the same at every run of continuous integration. */

import fc from "fast-check";

if (process.env.CI) fc.configureGlobal({ seed: 20250707 });
