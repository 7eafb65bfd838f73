import type { Reporter, TestModule } from 'vitest/node'

/** Prints what was left out for want of a program, and one plain line at the end, which any runner and any person can read. */
export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    let passed = 0
    // What nobody caught is a failure, whichever test it came from.
    let failed = unhandled.length
    let skipped = 0
    const leftOut = new Set<string>()
    for (const module of modules) {
      for (const suite of module.meta().leftOut ?? []) leftOut.add(suite)
      if (module.state() === 'failed' && [...module.children.allTests()].length === 0) failed += 1
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'passed') passed += 1
        else if (state === 'failed') failed += 1
        else skipped += 1
      }
    }
    process.stdout.write(
      `\n${[...leftOut].map((suite) => `left out: ${suite}\n`).join('')}${passed} passed, ${failed} failed, ${skipped} skipped\n`,
    )
  }
}
