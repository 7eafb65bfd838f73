import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { table, type Measurement } from '../../bench/figures.js'

const read = (file: string): Promise<string> => readFile(new URL(`../../${file}`, import.meta.url), 'utf8')

/** The cells of a table, however wide its columns are. */
function cellsOf(markdown: string): string[][] {
  const rows = markdown.split('\n').filter((line) => line.startsWith('|') && !line.includes('---'))
  return rows.map((row) => row.split('|').map((cell) => cell.trim()))
}

it('the table of the README is that of the results', async () => {
  const { results } = JSON.parse(await read('bench/results.json')) as { results: Measurement[] }
  const [, section = ''] = (await read('README.md')).split('\n## Speed\n')

  expect(cellsOf(section.split('\n## ')[0]!)).toEqual(cellsOf(table(results)))
})
