import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { clientOf, MCP_CLIENT_IDS, type McpClient } from '../../src/cli/doctor/clients/mcp-clients.js'

const root = path.resolve(import.meta.dirname, '../..')
const page = readFileSync(path.join(root, 'docs/clients.md'), 'utf8')
const rows = page.split('\n').filter((line) => line.startsWith('|'))

/** The row of a client in the first table, which names it as `--as` does. */
const rowOf = (id: string) => rows.find((row) => row.split('|')[1]?.includes(`(\`${id}\`)`))?.split('|') ?? []

describe('docs/clients.md says of each client what the doctor goes by', () => {
  it.each(MCP_CLIENT_IDS)('%s', (id) => {
    const client = clientOf(id)
    const [, , ways = '', redirectUris = '', resource = '', byHand = ''] = rowOf(id)
    const uris = [...client.redirectUris, ...(client.withoutIssuer === undefined ? [] : [client.withoutIssuer])]

    expect(ways.trim()).toBe(client.ways.join(', '))
    expect([...redirectUris.matchAll(/`([^`]+)`/g)].map(([, uri]) => uri)).toEqual(uris)
    if (client.document !== '') expect(page).toContain(`\`${client.document}\``)
    expect([...byHand.matchAll(/\(a (public|confidential) client\)/g)].map(([, kind]) => kind)).toEqual(
      client.byHand.kind === 'public or confidential' ? [] : [client.byHand.kind],
    )
    if (client.metadataAt === 'provider') {
      expect(client.byHand.place).toContain(byHand.replaceAll(/(?<!\w)_|_(?!\w)|`|\(a .*\)/g, '').trim())
      expect(resource.trim()).toBe(client.resource === 'address' ? 'address' : 'of this server')
    }
  })

  it.each([
    ['do not use their documents', ({ documentNeedsNone }: McpClient) => documentNeedsNone === true],
    ['add it by themselves', ({ offlineAccess }: McpClient) => offlineAccess],
    ['asks for _every_', ({ unscoped }: McpClient) => unscoped === 'all of the provider'],
  ])('in the sentence "… %s": of these alone', (words, holds) => {
    const [, sentence = ''] = new RegExp(`(?:^|[.:;] )([^.:;]*?${words})`).exec(page.replaceAll('\n', ' ')) ?? []
    const names = MCP_CLIENT_IDS.filter((id) => holds(clientOf(id))).map(
      (id) => /^(?:MCP )?([\w ]+?)(?: \(.*)?$/.exec(clientOf(id).name)?.[1] ?? '',
    )

    for (const name of names) expect(sentence).toContain(name)
    expect(sentence.match(/Claude Code|Claude|ChatGPT|VS Code|Cursor|Codex|Mistral|Inspector|Copilot Studio/g)).toEqual(
      names,
    )
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
