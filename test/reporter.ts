/** @file Closes a run with "N passed, N failed", and fails it when tests were skipped that must not be. */

import type { Reporter, TestModule } from "vitest/node";

export default class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const states = modules.flatMap((module) =>
      [...module.children.allTests()].map((test) => test.result().state),
    );
    const count = (state: string) => states.filter((one) => one === state).length;
    const broken = modules.filter((module) => module.errors().length > 0).length + errors.length;
    const skipped = count("skipped");
    if (skipped > 0 && process.env.DIFFSIGHT_FORBID_SKIPS) {
      process.exitCode = 1;
      console.log(`\n${skipped} tests were skipped; here none may be.`);
    }
    console.log(`\n${count("passed")} passed, ${count("failed") + broken} failed`);
  }
}
