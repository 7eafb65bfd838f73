import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
/** Pages whose set-up is run in a test of its own kind. */
const ELSEWHERE = ['keycloak', 'nextcloud-alone']
const pages = [...read('docs/providers.md').matchAll(/\]\(([\w-]+)\.md\)/g)].map(([, name = '']) => name)

it('the README leads to the pages of the providers', () => {
  expect(read('README.md')).toContain('](docs/providers.md)')
  expect(pages.length).toBeGreaterThan(ELSEWHERE.length)
})

it.each(pages.filter((page) => !ELSEWHERE.includes(page)))('the options of docs/%s.md are run by its test', (page) => {
  expect(existsSync(path.join(root, `docs/${page}.md`))).toBe(true)
  expect(read(`test/providers/${page}.test.ts`)).toMatch(new RegExp(`(?:optionsOf|runSnippet)\\(\\s*'${page}\\.md'`))
})

// App passwords go with every provider: their page has no options of one.
it.each(pages.filter((page) => ![...ELSEWHERE, 'app-password'].includes(page)))(
  'the options of docs/%s.md say which scopes clients ask for',
  (page) => {
    const options = [...read(`docs/${page}.md`).matchAll(/^```ts\n(.*?)^```/gms)]
      .map(([, code = '']) => code)
      .filter((code) => /mcpAuth\(\{.*resource/s.test(code))

    expect(options.length).toBeGreaterThan(0)
    for (const code of options) expect(code).toMatch(/requiredScopes|scopesSupported|challengeScopes/)
  },
)

it("the realm file and the page of Keycloak give the MCP server's audience to clients one by one, and not to every later one", () => {
  const realm = JSON.parse(read('examples/keycloak/realm.json')) as {
    defaultDefaultClientScopes: string[]
    defaultOptionalClientScopes: string[]
    clients: { clientId: string; defaultClientScopes: string[]; optionalClientScopes: string[] }[]
  }
  const having = realm.clients.filter((client) =>
    [...client.defaultClientScopes, ...client.optionalClientScopes].includes('mcp-audience'),
  )

  expect([...realm.defaultDefaultClientScopes, ...realm.defaultOptionalClientScopes]).not.toContain('mcp-audience')
  expect(having.map(({ clientId }) => clientId)).toEqual(['mcp-client'])
  expect(read('docs/keycloak.md')).toMatch(/name `mcp-audience`, type _None_/)
})
