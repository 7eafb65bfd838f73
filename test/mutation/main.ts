/**
 * Mutates a random part of the rooms that decide, and prints the share of mutants that a test sees, with those that none does:
 * `npm run mutation`. What the quick tests do not see is shown to the slow ones in a second run.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { globSync } from 'tinyglobby'
import { chance } from '../support/chance.js'

const ROOMS = ['verify', 'broker', 'grants', 'connect', 'http', 'nextcloud']
/** Lines of one window: long enough to hold whole blocks, so that their removal is among the mutants. */
const WINDOW = 20
/** Percent. */
const GOAL = 88
const REPORT = '.cache/mutation-report.json'
const seed = Number(process.env['MUTATION_SEED'] ?? Date.now() % 1_000_000_000)
/** The share of the lines that is mutated; 1 mutates everything, which takes many hours. */
const share = Number(process.env['MUTATION_SHARE'] ?? '0.1')

interface Place {
  readonly line: number
  readonly column: number
}

interface Mutant {
  readonly file: string
  readonly mutatorName: string
  readonly replacement: string
  readonly location: { readonly start: Place; readonly end: Place }
  readonly status: string
}

const random = chance(seed)
const windowsAtRandom = ROOMS.flatMap((room) => globSync(`src/${room}/**/*.ts`).sort().flatMap(windows))
console.log(`seed ${seed}, ${share * 100} % of the lines, ${windowsAtRandom.length} windows`)
mkdirSync('.cache', { recursive: true })
const mutants = run(windowsAtRandom, 'quick')
const unseen = mutants.filter(isUnseen)
const again = new Map(
  (unseen.length === 0 ? [] : run(unseen.map(rangeOf), 'slow')).map((mutant) => [idOf(mutant), mutant]),
)
const survivors = unseen.filter((mutant) => isUnseen(again.get(idOf(mutant)) ?? mutant))

for (const { file, location, mutatorName, replacement } of survivors) {
  console.log(`${file}:${location.start.line}:${location.start.column} ${mutatorName}: ${replacement.split('\n')[0]}`)
}
const score = 100 * (1 - survivors.length / mutants.length)
console.log(
  `${mutants.length} mutants, ${survivors.length} that no test sees: ${score.toFixed(1)} %, the goal is ${GOAL}`,
)
process.exitCode = score >= GOAL ? 0 : 1

function windows(file: string): readonly string[] {
  if (share >= 1) return [file]
  const lines = readFileSync(file, 'utf8').split('\n').length
  const found: string[] = []
  for (let first = 1; first <= lines; first += WINDOW) {
    if (random() < share) found.push(`${file}:${first}-${Math.min(first + WINDOW - 1, lines)}`)
  }
  return found
}

/** The mutants of some ranges, with what became of them; without those that belong to no single test. */
function run(mutate: readonly string[], tests: 'quick' | 'slow'): readonly Mutant[] {
  writeFileSync('.cache/mutation.json', JSON.stringify(configuration(mutate), null, 2))
  const { status } = spawnSync(
    process.execPath,
    ['test/mutation/node_modules/@stryker-mutator/core/bin/stryker.js', 'run', '.cache/mutation.json'],
    { stdio: 'inherit', env: { ...process.env, MUTATION_TESTS: tests } },
  )
  if (status !== 0) throw new Error(`The run with the ${tests} tests ended with ${status}`)
  const { files } = JSON.parse(readFileSync(REPORT, 'utf8')) as {
    files: Record<string, { mutants: readonly Omit<Mutant, 'file'>[] }>
  }
  return Object.entries(files)
    .flatMap(([file, { mutants }]) => mutants.map((mutant) => ({ ...mutant, file })))
    .filter(({ status }) => ['Killed', 'Timeout', 'Survived', 'NoCoverage'].includes(status))
}

function isUnseen({ status }: Mutant): boolean {
  return status === 'Survived' || status === 'NoCoverage'
}

function rangeOf({ file, location: { start, end } }: Mutant): string {
  return `${file}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`
}

function idOf({ file, mutatorName, replacement, location: { start, end } }: Mutant): string {
  return JSON.stringify([file, mutatorName, replacement, start, end])
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
    reporters: ['progress-append-only', 'json'],
    jsonReporter: { fileName: REPORT },
    dryRunTimeoutMinutes: 60,
    concurrency: Number(process.env['MUTATION_WORKERS'] ?? '2'),
    timeoutMS: 20_000,
    tempDirName: '.cache/mutation',
  }
}
