import path from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'

const SLOWEST = 10

/** Prints the slowest files, what was left out for want of a program, and one plain last line, for runners and people. */
export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    // An error that nothing caught is a failure, whichever test it came from.
    const counts = { passed: 0, failed: unhandled.length, skipped: 0, pending: 0 }
    const leftOut = new Set<string>()
    for (const module of modules) {
      for (const suite of module.meta().leftOut ?? []) leftOut.add(suite)
      if (module.state() === 'failed' && [...module.children.allTests()].length === 0) counts.failed += 1
      for (const test of module.children.allTests()) counts[test.result().state] += 1
    }
    const { passed, failed, skipped, pending } = counts
    const lines = [
      ...(modules.length > SLOWEST ? slowest(modules) : []),
      ...[...leftOut].map((suite) => `left out: ${suite}`),
      `${passed} passed, ${failed} failed, ${skipped + pending} skipped`,
    ]
    process.stdout.write(`\n${lines.join('\n')}\n`)
  }
}

/** The files that took longest, with the loading of what they import. */
function slowest(modules: readonly TestModule[]): string[] {
  const timed = modules.map((module) => {
    const { collectDuration, duration } = module.diagnostic()
    return { file: path.relative(process.cwd(), module.moduleId), seconds: (collectDuration + duration) / 1_000 }
  })
  const rows = timed.sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST)
  return ['slowest files:', ...rows.map(({ file, seconds }) => `${seconds.toFixed(1).padStart(7)} s  ${file}`)]
}
