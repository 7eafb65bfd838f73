import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const page = readFileSync(path.join(root, 'SECURITY.md'), 'utf8')
const section = page.split(/^## /m).find((text) => text.startsWith('What is guaranteed')) ?? ''
/** Each with the lines that go on with it. */
const guarantees = section.split(/^- /m).slice(1)
const testsOf = (text: string): string[] => [...text.matchAll(/`(test\/[^`]+)`/g)].map(([, file = '']) => file)

describe('SECURITY.md', () => {
  it('names for each guarantee the tests that hold it', () => {
    expect(guarantees.length).toBeGreaterThan(25)
    expect(guarantees.filter((text) => testsOf(text).length === 0)).toEqual([])
  })

  it('names no test that is not there', () => {
    expect(testsOf(page).filter((file) => !existsSync(path.join(root, file)))).toEqual([])
  })
})
