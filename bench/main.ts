/**
 * Prints the cost of the middleware, each figure beside its goal, and writes `results.json`. `--quick` is the short form, which fails
 * when a ratio misses its goal in each repeat of three measurements, by more than a quarter where it has no wider margin; `--only=<id>`
 * measures the groups whose name holds that.
 */
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { measureDay } from './day.js'
import { measureDistinctTokens } from './distinct-tokens.js'
import { meetsGoal, median, missesByFar, table, type Form, type Measurement } from './figures.js'
import { measureFleet } from './fleet.js'
import { measureGrowth } from './growth.js'
import { measureInstalledSize, measureLoading } from './loading.js'
import { measureMcp } from './mcp.js'
import { measureMemory } from './memory.js'
import { measureMiddleware } from './middleware.js'
import { measureCachedToken, measureManyUsers, measureOneUser } from './nextcloud-tokens.js'
import { startProgram } from './processes.js'
import { measureRenewals } from './renewals.js'
import { measureSignIns } from './sign-ins.js'
import { measureThroughput } from './throughput.js'
import { installedVersions } from './versions.js'

type Measured = Measurement | Measurement[]

const GROUPS: Readonly<Record<string, (form: Form) => Promise<Measured>>> = {
  throughput: (form) =>
    withTokens((issuer, mint) => mint(1).then(([token = '']) => measureThroughput(issuer, token, form))),
  mcp: (form) => withTokens((issuer, mint) => measureMcp({ issuer, mint, form })),
  middleware: measureMiddleware,
  'distinct-tokens': measureDistinctTokens,
  'cached-token': measureCachedToken,
  'one-user': measureOneUser,
  'many-users': measureManyUsers,
  day: measureDay,
  fleet: measureFleet,
  renewals: measureRenewals,
  'sign-ins': measureSignIns,
  memory: measureMemory,
  import: measureLoading,
  size: measureInstalledSize,
  growth: measureGrowth,
}

/** Measures with an authorization server in another process, which makes distinct tokens. */
async function withTokens(
  measure: (issuer: string, mint: (count: number) => Promise<string[]>) => Promise<Measured>,
): Promise<Measured> {
  const as = await startProgram('authorization-server.ts', [])
  try {
    return await measure(String(as.said), async (count) => {
      const minted = once(as.process, 'message')
      as.process.send({ mint: count })
      const [{ tokens }] = (await minted) as [{ tokens: string[] }]
      return tokens
    })
  } finally {
    as.stop()
  }
}

/** Of two measurements of a group, each figure from the one that meets its goal, or the later one. */
function betterOf(first: readonly Measurement[], second: readonly Measurement[]): Measurement[] {
  return second.map((again, index) => {
    const before = first[index]
    return before !== undefined && !missesByFar(before) ? before : again
  })
}

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } } })
const form: Form = values.quick ? { quick: true, repeats: 3 } : { quick: false, repeats: 7 }
const machine = `Node ${process.versions.node}, ${process.platform} ${process.arch}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}`
const versions = await installedVersions()
console.log(`${machine}; medians of interleaved repeats, ${form.quick ? 'short' : 'long'} form`)
console.log(
  `${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}\n`,
)

const measurements: Measurement[] = []
for (const [name, measure] of Object.entries(GROUPS)) {
  if (values.only !== undefined && !name.includes(values.only)) continue
  const start = performance.now()
  let group = [await measure(form)].flat()
  // Other work of the machine may have hit one of them. A slow program is slow each time.
  for (let more = 0; form.quick && more < 2 && group.some(missesByFar); more += 1)
    group = betterOf(group, [await measure(form)].flat())
  measurements.push(...group)
  console.error(`${name}: ${((performance.now() - start) / 1_000).toFixed(0)} s`)
}
console.log(table(measurements))

if (!form.quick) {
  const file = new URL('results.json', import.meta.url)
  const at = new Date()
  const measured = measurements.map((measurement) => ({
    ...measurement,
    median: median(measurement.values),
    met: meetsGoal(measurement),
    at,
  }))
  // A run of some groups replaces their figures, each of which stands beside its reference.
  const { results } =
    values.only === undefined
      ? { results: measured }
      : (JSON.parse(await readFile(file, 'utf8')) as { results: typeof measured })
  const newest = results.map((before) => measured.find(({ id }) => id === before.id) ?? before)
  newest.push(...measured.filter(({ id }) => !newest.some((other) => other.id === id)))
  await writeFile(file, `${JSON.stringify({ machine, versions, results: newest }, null, 2)}\n`)
}
const missed = measurements.filter((measurement) => (form.quick ? missesByFar(measurement) : !meetsGoal(measurement)))
for (const { work, figure } of missed) console.error(`Missed: ${work}, ${figure}`)
if (missed.length > 0) process.exitCode = 1
else console.log(form.quick ? '\nNo goal is missed by far.' : '\nEvery goal is met.')
