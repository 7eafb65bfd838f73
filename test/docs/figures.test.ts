import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import type { Results } from '../../bench/attacks-page.js'
import { table } from '../../bench/figures.js'
import { LOOKED_AT, peersTable, type BenchResults } from '../../bench/peers.js'
import { CORPUS } from '../attacks/corpus/corpus.js'
import { ELSEWHERE } from '../attacks/elsewhere.js'
import { withTable } from '../support/written-page.js'

const root = path.resolve(import.meta.dirname, '../..')
const readJson = (file: string): unknown => JSON.parse(readFileSync(path.join(root, file), 'utf8'))
const bench = readJson('bench/results.json') as BenchResults
const attacks = readJson('bench/attacks.json') as Results

it.each([
  ['docs/performance.md', 'figures', table(bench.results)],
  ['README.md', 'peers', peersTable(bench, attacks)],
])('the table of %s is that of the results (npm run docs:figures writes it)', async (page, name, text) => {
  const file = path.join(root, page)
  await expect(await withTable(file, name, text)).toMatchFileSnapshot(file)
})

it('the README compares the versions that were measured, attacked and looked at', () => {
  for (const [name, version] of Object.entries(LOOKED_AT.versions)) {
    expect([name, bench.versions[name]]).toEqual([name, version])
    expect([name, attacks.versions[name]]).toEqual([name, version])
  }
})

it('the README has as many attacks in its text as are sent, and as in its table', () => {
  const sent = CORPUS.length + Object.values(ELSEWHERE).flat().length
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8')
  expect(readme).toContain(`some ${Math.round(sent / 100) * 100} times`)
  const all = Object.values(attacks.groups).reduce((sum, group) => sum + (group['mcp-nextcloud-auth']?.of ?? 0), 0)
  expect(readme).toMatch(new RegExp(`\\s${all}\\sof one request`))
})
