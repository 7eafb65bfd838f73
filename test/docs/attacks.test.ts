import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { attacksPage, OURS, type Results } from '../../bench/attacks-page.js'
import { GROUPS } from '../attacks/corpus/attack.js'
import { CORPUS } from '../attacks/corpus/corpus.js'
import { ELSEWHERE } from '../attacks/elsewhere.js'

const read = (file: string): string => readFileSync(path.resolve(import.meta.dirname, '../..', file), 'utf8')
const elsewhere = Object.values(ELSEWHERE).flat()

it('each attack has a name of its own, and a rule', () => {
  const names = [
    ...CORPUS.map(({ group, name }) => `${group}: ${name}`),
    ...elsewhere.map(({ attack, test }) => `${attack}: ${test.join()}`),
  ]

  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([])
  for (const { rule } of [...CORPUS, ...elsewhere])
    expect(rule).toMatch(/RFC \d|CVE-\d|CWE-\d|GHSA-|OpenID|OAuth|MCP|Fetch|NIST/)
})

it('the corpus is of some size, in every group', () => {
  expect(CORPUS.length + elsewhere.length).toBeGreaterThan(450)
  for (const group of Object.keys(GROUPS))
    expect(
      CORPUS.some((attack) => attack.group === group),
      group,
    ).toBe(true)
})

describe('each attack that is held elsewhere has its test there:', () => {
  it.each(elsewhere.map(({ attack, test }) => [attack, ...test] as const))('%s', (_attack, file, title) => {
    const written = [`'${title}'`, `"${title}"`, `\`${title}\``]
    const source = read(file)
    expect(
      written.some((text) => source.includes(text)),
      `${file} has no test “${title}”`,
    ).toBe(true)
  })
})

describe('docs/attacks.md', () => {
  const results = JSON.parse(read('bench/attacks.json')) as Results
  const words = (page: string): string[] => page.split(/[\s|*-]+/)

  it('has the outcome of the last run of npm run attacks', () => {
    const page = read('docs/attacks.md')
    expect(words(attacksPage(page, results))).toEqual(words(page))
  })

  it('is of a run of the corpus as it is now, all of which this package holds', () => {
    const sent = (group: string): number =>
      CORPUS.filter((attack) => attack.group === group && typeof attack.refused !== 'object').length
    for (const group of Object.keys(GROUPS)) {
      expect(results.groups[group]?.[OURS], group).toEqual({ held: sent(group), of: sent(group) })
    }
    for (const [name, refused] of Object.entries(results.refused)) expect(refused, name).toEqual([])
  })
})
