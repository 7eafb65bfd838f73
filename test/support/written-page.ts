import { readFileSync } from 'node:fs'
import { format, resolveConfig } from 'prettier'
import { expect } from 'vitest'

/** Returns a page as it should be, with the table between `<!-- begin name … -->` and `<!-- end name -->`. */
export async function withTable(file: string, name: string, table: string): Promise<string> {
  const page = readFileSync(file, 'utf8')
  const place = new RegExp(`(?<=<!-- begin ${name}[^>]*-->\n).*?(?=<!-- end ${name} -->)`, 's')
  expect(page).toMatch(place)
  const written = page.replace(place, () => `\n${table}\n\n`)
  return format(written, { ...(await resolveConfig(file)), parser: 'markdown' })
}
