import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { clientOf, MCP_CLIENT_IDS } from '../../src/cli/doctor/clients/mcp-clients.js'

const root = path.resolve(import.meta.dirname, '../..')
const page = readFileSync(path.join(root, 'docs/clients.md'), 'utf8')
const rows = page.split('\n').filter((line) => line.startsWith('|'))

/** The row of a client in the first table, which names it as `--as` does. */
const rowOf = (id: string) => rows.find((row) => row.split('|')[1]?.includes(`(\`${id}\`)`))?.split('|') ?? []

describe('docs/clients.md says of each client what the doctor goes by', () => {
  it.each(MCP_CLIENT_IDS)('%s', (id) => {
    const client = clientOf(id)
    const [, , ways = '', redirectUris = '', resource = ''] = rowOf(id)
    const uris = [...client.redirectUris, ...(client.withoutIssuer === undefined ? [] : [client.withoutIssuer])]

    expect(ways.trim()).toBe(client.ways.join(', '))
    expect([...redirectUris.matchAll(/`([^`]+)`/g)].map(([, uri]) => uri)).toEqual(uris)
    if (client.metadataAt === 'provider') {
      expect(resource.trim()).toBe(client.resource === 'address' ? 'address' : 'of this server')
    }
  })

  it('and has no others', () => {
    const named = rows.flatMap((row) => /\(`(\w[\w-]*)`\) *$/.exec(row.split('|')[1] ?? '')?.[1] ?? [])

    expect(named).toEqual([...MCP_CLIENT_IDS])
  })

  it('with sources and the day on which they were looked up', () => {
    expect(page).toMatch(/looked up on \d{4}-\d\d-\d\d/)
    for (const paragraph of page
      .split('## Client by client')[1]
      ?.split('\n\n')
      .filter((text) => text.startsWith('**')) ?? [])
      expect(paragraph).toContain('](https://')
  })
})

it('the README leads to the page', () => {
  expect(readFileSync(path.join(root, 'README.md'), 'utf8')).toContain('](docs/clients.md)')
})
