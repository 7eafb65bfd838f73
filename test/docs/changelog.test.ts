import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const text = readFileSync(path.resolve(import.meta.dirname, '../../CHANGELOG.md'), 'utf8')
/** What stands under the heading of the newest version. */
const [, newest = ''] = text.split(/^## /m)
const entries = text.split('\n').filter((line) => line.startsWith('- '))
const words = (entry: string): string => entry.replaceAll(/\]\([^)]*\)/g, ']')

describe('the changelog', () => {
  it('has entries of one line, of at most 200 characters without the addresses of their links', () => {
    expect(entries.length).toBeGreaterThan(100)
    expect(entries.filter((entry) => words(entry).length > 200)).toEqual([])
    expect(text.split('\n').filter((line) => line.startsWith(' '))).toEqual([])
  })

  it('says of each entry of the newest version where the rest stands', () => {
    const unlinked = newest.split('\n').filter((line) => line.startsWith('- ') && !/\[[^\]]+\]\([^)]+\)$/.test(line))
    expect(unlinked).toEqual([])
  })

  it('tells no entry twice', () => {
    expect(entries.filter((entry, index) => entries.indexOf(entry) !== index)).toEqual([])
  })
})
