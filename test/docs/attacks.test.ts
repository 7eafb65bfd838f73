import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
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
