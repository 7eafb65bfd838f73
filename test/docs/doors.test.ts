import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { cruise, type ICruiseOptions, type ICruiseResult, type IFlattenedRuleSet } from 'dependency-cruiser'
import { beforeAll, expect, it } from 'vitest'

const ROOT = path.resolve(import.meta.dirname, '../..')
/** Inside the project, so that packages are found. */
const FIXTURE = path.join(ROOT, '.cache/doors')
const RULES = createRequire(import.meta.url)(path.join(ROOT, '.dependency-cruiser.cjs')) as IFlattenedRuleSet & {
  readonly options: ICruiseOptions
}

/** The table of ARCHITECTURE.md: room → the rooms that it may import. */
const DOORS = new Map(
  [
    ...readFileSync(path.join(ROOT, 'ARCHITECTURE.md'), 'utf8')
      .split('## Doors')[1]!
      .matchAll(/^\| `([\w-]+)` +\| (.+?) +\|$/gm),
  ].map(([, room = '', open = '']) => [room, [...open.matchAll(/`([\w-]+)`/g)].map(([, other = '']) => other)]),
)
const ROOMS = [...DOORS.keys()]

/** Imports that break a rule which is no row of the table: rule → importing file, imported file or package. */
const BREACHES: readonly (readonly [rule: string, from: string, to: string])[] = [
  ['no-circular', 'src/verify/back.ts', 'src/verify/there.ts'],
  ['ground-door', 'src/errors/errors.ts', 'src/verify/room.ts'],
  ['ground-door', 'src/config/values.ts', 'src/config/room.ts'],
  ['options-door', 'src/options.ts', 'src/clock.ts'],
  ['storage-adapter-door', 'src/storage-adapter.ts', 'src/clock.ts'],
  ['storage-adapter-door', 'src/modes.ts', 'src/clock.ts'],
  ['storage-adapter-door', 'src/presets.ts', 'src/clock.ts'],
  ['testing-door', 'src/testing/suite.ts', 'src/clock.ts'],
  ['mcp-door', 'src/mcp/tool.ts', 'src/verify/room.ts'],
  ['rooms-are-built-once', 'src/connect/asks.ts', 'src/rooms.ts'],
  ['the-cli-is-an-end', 'src/index.ts', 'src/cli/room.ts'],
  ['mcp-is-an-entry-of-its-own', 'src/index.ts', 'src/mcp/v1.ts'],
  ['the-sign-in-is-an-entry-of-its-own', 'src/index.ts', 'src/nextcloud-sign-in/room.ts'],
  ['telemetry-is-an-entry-of-its-own', 'src/index.ts', 'src/telemetry/room.ts'],
  ['telemetry-needs-the-api-alone', 'src/telemetry/spans.ts', '@opentelemetry/sdk-metrics'],
  ['serve-is-for-the-cli', 'src/index.ts', 'src/serve/room.ts'],
  ['the-sign-in-needs-oidc-provider-alone', 'src/nextcloud-sign-in/app.ts', 'express'],
  ['serve-needs-what-it-names', 'src/serve/app.ts', 'better-sqlite3'],
  ['the-four-dependencies', 'src/http/app.ts', 'express'],
  ['mcp-v1-needs-its-own-sdk-alone', 'src/mcp/v1.ts', '@modelcontextprotocol/server'],
  ['mcp-v2-needs-its-own-sdk-alone', 'src/mcp/v2.ts', 'zod'],
  ['mcp-other-needs-its-own-sdk-alone', 'src/mcp/tool.ts', '@modelcontextprotocol/server'],
  ['http-out-by-one-door', 'src/nextcloud/own-fetch.ts', 'node-fetch'],
  ['http-out-within-bounds', 'src/transport/other.ts', 'src/transport/node-fetch.ts'],
  ['no-req-or-res-inside', 'src/authorization-server/inside.ts', 'node:http'],
  ['no-req-or-res-inside', 'src/verify/inside.ts', 'node:https'],
]

const write = (file: string, text: string): void => {
  mkdirSync(path.dirname(path.join(FIXTURE, file)), { recursive: true })
  writeFileSync(path.join(FIXTURE, file), text, { flag: 'a' })
}

function writeImport(from: string, to: string): void {
  const relative = path.relative(path.dirname(from), to).replace(/\.ts$/, '.js')
  write(from, `import '${to.startsWith('src/') ? (relative.startsWith('.') ? relative : `./${relative}`) : to}'\n`)
  if (to.startsWith('src/')) write(to, '')
}

/** `rule: from → to` of every violation. */
const found = new Set<string>()

beforeAll(async () => {
  rmSync(FIXTURE, { recursive: true, force: true })
  for (const room of ROOMS) write(`src/${room}/room.ts`, '')
  for (const from of ROOMS) {
    for (const to of ROOMS) writeImport(`src/${from}/${from === to ? 'itself' : `to-${to}`}.ts`, `src/${to}/room.ts`)
    writeImport(`src/${from}/to-ground.ts`, 'src/errors/errors.ts')
  }
  for (const [, from, to] of BREACHES) writeImport(from, to)
  writeImport('src/verify/there.ts', 'src/verify/back.ts')
  const { output } = await cruise(['src'], { ...RULES.options, baseDir: FIXTURE, ruleSet: RULES, validate: true })
  for (const { rule, from, to } of (output as ICruiseResult).summary.violations)
    found.add(`${rule.name}: ${from} → ${to}`)
}, 60_000)

const violations = (from: string): string[] => [...found].filter((line) => line.includes(`: ${from} → `))

it('has a row for every room of src, except the ground and those with a rule of their own', () => {
  const folders = readdirSync(path.join(ROOT, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  expect([...ROOMS, 'errors', 'mcp', 'testing'].sort()).toEqual(folders.map(({ name }) => name).sort())
})

it.each(ROOMS.flatMap((from) => ROOMS.filter((to) => to !== from).map((to) => [from, to] as const)))(
  '%s → %s is open or closed as ARCHITECTURE.md says',
  (from, to) => {
    const isOpen = DOORS.get(from)!.includes(to)
    const broken = violations(`src/${from}/to-${to}.ts`).filter((line) => line.startsWith(`${from}-door: `))
    expect(broken).toHaveLength(isOpen ? 0 : 1)
  },
)

it.each(ROOMS)('%s may import itself and the ground', (room) => {
  expect([...violations(`src/${room}/itself.ts`), ...violations(`src/${room}/to-ground.ts`)]).toEqual([])
})

it.each(BREACHES)('%s is broken by %s → %s', (rule, from, to) => {
  const target = to.startsWith('src/') ? to : to.replace(/^node:/, '')
  expect(violations(from).filter((line) => line.startsWith(`${rule}: `) && line.includes(target))).not.toEqual([])
})

it('has a breach for every rule', () => {
  const tried = new Set([...ROOMS.map((room) => `${room}-door`), ...BREACHES.map(([rule]) => rule)])
  expect(RULES.forbidden!.map(({ name }) => name).filter((name) => !tried.has(name!))).toEqual([])
})
