import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parseEnv } from 'node:util'
import { globSync } from 'tinyglobby'
import { expect, it } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import { logEvents, MemoryStorage, type McpAuthOptions } from '../../src/index.js'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'
import { wordsOf } from '../support/html.js'
import { appPasswordWorld } from '../support/login-visits.js'
import { runSnippet } from '../support/providers/page.js'

const root = path.resolve(import.meta.dirname, '../..')
const example = (name: string): string => readFileSync(path.join(root, 'examples/app-password', name), 'utf8')
const page = readFileSync(path.join(root, 'docs/app-password.md'), 'utf8')
/** The id of the MCP client in these tests. */
const CLAUDE = 'mcp-client'
const block = (language: string, beginning: string): string => {
  const found = [...page.matchAll(/^```(\w+)\n(.*?)^```/gms)].find(
    ([, of, text]) => of === language && text?.startsWith(beginning),
  )
  return found?.[2] ?? ''
}

/** The options that the page has its reader write, in `server.mjs` and in `.env`. */
function pageOptions(clients?: string) {
  let written: McpAuthOptions = {}
  const settings: unknown[] = []
  const nothing = (): undefined => undefined
  runSnippet('app-password.md', 0, {
    modules: {
      'mcp-nextcloud-auth': {
        logEvents,
        mcpAuth: (options: McpAuthOptions) => ((written = options), { routes: nothing }),
      },
      'mcp-nextcloud-auth/sqlite': { SqliteStorage: Object },
      'node:sqlite': { DatabaseSync: Object },
      express: {
        default: () => ({
          set: (...setting: unknown[]) => settings.push(setting),
          use: nothing,
          all: nothing,
          listen: nothing,
        }),
      },
      '@modelcontextprotocol/node': { toNodeHandler: nothing },
      '@modelcontextprotocol/server': { createMcpHandler: nothing },
    },
    globals: { process: { env: { ALLOWED_MCP_CLIENTS: clients } } },
  })
  const filledIn = {
    OIDC_CLIENT_ID: 'server',
    OIDC_CLIENT_SECRET: 'x',
    ALLOWED_MCP_CLIENTS: clients ?? '',
    TOKEN_ENCRYPTION_KEY: ENCRYPTION_KEY,
  }
  const variables = { ...parseEnv(block('sh', 'MCP_DEPLOYMENT_MODE')), ...filledIn }
  return { written, settings, config: readConfig({ ...written, storage: new MemoryStorage() }, variables) }
}

it('docs/app-password.md and its example are the same server', () => {
  expect(block('js', 'import')).toBe(example('server.mjs'))
  expect(block('sh', 'MCP_DEPLOYMENT_MODE')).toBe(example('example.env'))
  expect(JSON.parse(example('package.json'))).toMatchObject(JSON.parse(block('json', '{')) as object)
})

it('the server of docs/app-password.md, which has a proxy before it, counts its callers by their own addresses', () => {
  expect(pageOptions().settings).toEqual([['trust proxy', 1]])
})

it.each(globSync('examples/*/compose.yaml', { cwd: root }))(
  '%s leaves no Nextcloud to whoever comes to its installer first',
  (file) => {
    const services = readFileSync(path.join(root, file), 'utf8').split(/^ {2}(?=\w+:$)/m)
    for (const service of services.filter((text) => text.includes('image: nextcloud:'))) {
      expect(service).toMatch(/^ {6}NEXTCLOUD_ADMIN_USER: \w+$/m)
      expect(service).toMatch(/^ {6}NEXTCLOUD_ADMIN_PASSWORD: \$\{\w+:\?\}$/m)
    }
  },
)

it('the variables of docs/app-password.md are those of app-password mode, with one client and a rule', () => {
  const { config } = pageOptions('claude')

  expect(config).toMatchObject({ allowedClients: new Set(['claude']), nextcloud: { mode: 'app-password' } })
  expect(config.grants?.connect?.identity).toBe('sub')
})

it.each([
  { account: 'jane', status: 200 },
  { account: 'somebody-else', status: 403 },
])('the options of docs/app-password.md connect the account of the person alone: $account', async (person) => {
  const { written, config } = pageOptions(CLAUDE)
  const identity = config.grants?.connect?.identity ?? 'anyone'
  const { auth, connectAs } = await appPasswordWorld({
    options: { resourceName: written.resourceName, connect: { ...written.connect, identity } } as McpAuthOptions,
  })

  const { status, text } = await connectAs(person.account, undefined, 'jane')

  expect([status, await auth.isProvisioned({ subject: 'jane' })]).toEqual([person.status, person.status === 200])
  if (person.status === 200) expect(wordsOf(text)).toContain('Claude can now work')
})

it.each([
  { clients: 'claude', named: ['claude'] },
  { clients: ' claude, another ', named: ['claude'] },
  { clients: undefined, named: [] },
])(
  'the server of docs/app-password.md names Claude the first client that .env lists, and no other: $clients',
  ({ clients, named }) => {
    const { clientName } = pageOptions(clients).config.grants?.connect ?? {}
    const ids = ['claude', 'another', 'a stranger']
    expect(ids.filter((id) => clientName?.(id) === 'Claude')).toEqual(named)
  },
)
