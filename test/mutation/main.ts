/** Mutates a random part of the rooms that decide, and prints the share of mutants that a test sees: `npm run mutation`. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { globSync } from 'tinyglobby'
import { chance } from '../support/chance.js'

const ROOMS = ['verify', 'broker', 'grants', 'connect', 'http', 'nextcloud']
/** Lines of one window: long enough to hold whole blocks, so that their removal is among the mutants. */
const WINDOW = 20
const seed = Number(process.env['MUTATION_SEED'] ?? Date.now() % 1_000_000_000)
/** The share of the lines that is mutated; 1 mutates everything, which takes many hours. */
const share = Number(process.env['MUTATION_SHARE'] ?? '0.1')

const random = chance(seed)
const mutate = ROOMS.flatMap((room) => globSync(`src/${room}/**/*.ts`).sort().flatMap(windows))
console.log(`seed ${seed}, ${share * 100} % of the lines, ${mutate.length} windows`)
writeFileSync('.cache/mutation.json', JSON.stringify(configuration(mutate), null, 2))
const { status } = spawnSync(
  process.execPath,
  ['test/mutation/node_modules/@stryker-mutator/core/bin/stryker.js', 'run', '.cache/mutation.json'],
  {
    stdio: 'inherit',
  },
)
process.exitCode = status ?? 1

function windows(file: string): readonly string[] {
  if (share >= 1) return [file]
  const lines = readFileSync(file, 'utf8').split('\n').length
  const found: string[] = []
  for (let first = 1; first <= lines; first += WINDOW) {
    if (random() < share) found.push(`${file}:${first}-${Math.min(first + WINDOW - 1, lines)}`)
  }
  return found
}

function configuration(mutate: readonly string[]) {
  return {
    plugins: ['@stryker-mutator/vitest-runner'],
    testRunner: 'vitest',
    vitest: { configFile: 'test/mutation/vitest.config.ts' },
    mutate,
    // Words are held by the tests of the words alone.
    mutator: { excludedMutations: ['StringLiteral'] },
    coverageAnalysis: 'perTest',
    ignoreStatic: true,
    ignorePatterns: ['.cache', 'bench', 'dist', 'examples', 'test/mutation/node_modules'],
    reporters: ['clear-text', 'json'],
    jsonReporter: { fileName: '.cache/mutation-report.json' },
    clearTextReporter: { allowColor: false, reportTests: false, logTests: false },
    dryRunTimeoutMinutes: 60,
    concurrency: Number(process.env['MUTATION_WORKERS'] ?? '2'),
    timeoutMS: 20_000,
    thresholds: { high: 95, low: 90, break: 88 },
    tempDirName: '.cache/mutation',
  }
}
