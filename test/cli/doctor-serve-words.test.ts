import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { doctor } from '../../src/cli/doctor/doctor.js'
import { WAYS } from '../../src/cli/doctor/serve-words.js'
import { systemClock } from '../../src/clock.js'
import { DECLARATIONS } from '../../src/config/declarations.js'
import { VARIABLES } from '../../src/serve/settings.js'
import { fresh } from '../../src/testing/nextcloud/exchange.js'
import { startStandIn, type NextcloudStandIn } from '../support/nextcloud/stand-in.js'
import type { Finding } from './../serve/support/serve-set-up.js'

type Environment = Record<string, string>

interface SetUp {
  readonly nextcloud: NextcloudStandIn
  readonly environment: Environment
  readonly folder: string
  readonly origin: string
}

/** Variables that Node itself reads. */
const OF_NODE = ['NODE_EXTRA_CA_CERTS', 'NODE_USE_ENV_PROXY', 'HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY']

/** What the words of a finding name that whoever runs `serve` does not have. */
function strangeIn(text: string): readonly string[] {
  // Commands of other programs have flags of their own.
  const own = text.replace(/\b(?:occ|npm|openssl) [^;→]*/g, '')
  const variables = [...own.matchAll(/\b[A-Z][A-Z\d]*(?:_[A-Z\d]+)+\b/g)].map(([name]) => name)
  const flags = [...own.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(([flag]) => flag)
  const options = [...DECLARATIONS.keys()].filter((name) => /[.A-Z]/.test(name))
  return [
    ...variables.filter((name) => !(name in VARIABLES) && !OF_NODE.includes(name) && !/^E[A-Z]+|^ERR_/.test(name)),
    ...flags.filter((flag) => !['--serve', '--help'].includes(flag)),
    ...options.filter((name) => own.split(/[^\w.]+/).some((word) => word.replace(/\.$/, '') === name)),
    ...['auth.', 'app.use', 'app.all', 'the option', 'mcpAuth', 'Keycloak', '\uE000'].filter((words) =>
      own.includes(words),
    ),
  ]
}

async function listening(handle: RequestListener): Promise<string> {
  const server = createServer(handle).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** @param handle what answers at the public name of the server. Default: nothing */
async function setUp(handle?: RequestListener): Promise<SetUp> {
  const folder = mkdtempSync(path.join(tmpdir(), 'words-'))
  const nextcloud = await startStandIn()
  onTestFinished(async () => {
    await nextcloud.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const origin = handle === undefined ? 'http://127.0.0.1:1' : await listening(handle)
  const [clientId, secret] = [fresh(64), fresh(64)]
  const redirectUris = [`${origin}/nextcloud/callback`]
  nextcloud.state.oauth2Clients.push({ id: nextcloud.state.nextId(), name: 'MCP', clientId, secret, redirectUris })
  const environment = {
    NEXTCLOUD_MCP_SERVER_URL: `${origin}/mcp`,
    NEXTCLOUD_HOST: nextcloud.url,
    NEXTCLOUD_OIDC_CLIENT_ID: clientId,
    NEXTCLOUD_OIDC_CLIENT_SECRET: secret,
    PORT: new URL(origin).port,
  }
  return { nextcloud, environment, folder, origin }
}

async function examined({ folder, environment }: SetUp, other: Environment = {}): Promise<readonly Finding[]> {
  const told: string[] = []
  const wrong: string[] = []
  const surroundings = {
    environment: { ...environment, ...other },
    directory: folder,
    clock: systemClock,
    print: (text: string) => void told.push(text),
    complain: (text: string) => void wrong.push(text),
    progress: () => undefined,
  }
  await doctor(['--serve', '--json'], surroundings as unknown as Parameters<typeof doctor>[1])
  expect(wrong).toEqual([])
  return (JSON.parse(told.join('')) as { checks: readonly Finding[] }).checks
}

function expectOwnWords(findings: readonly Finding[]): void {
  const strange = findings.flatMap(({ id, found, fix = '' }) => {
    const words = strangeIn(`${fix}\n${/^(?:no |doctor)/.test(found) ? found : ''}`)
    return words.length > 0 ? [`${id}: ${words.join(', ')} in: ${found} → ${fix}`] : []
  })
  expect(strange).toEqual([])
}

const json =
  (body: object, status = 200): RequestListener =>
  (_req, res) =>
    void res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
const html =
  (status: number, headers: Record<string, string> = {}): RequestListener =>
  (_req, res) =>
    void res.writeHead(status, { 'content-type': 'text/html', ...headers }).end('<!doctype html><p>x</p>')

/** An authorization server and a resource at a name, of which some is wrong. */
const servedAs =
  (change: (document: Record<string, unknown>, origin: string) => Record<string, unknown>): RequestListener =>
  (req, res) => {
    const origin = `http://${req.headers.host ?? ''}`
    const asked = req.url ?? ''
    const documents: Record<string, Record<string, unknown>> = {
      resource: { resource: `${origin}/mcp`, authorization_servers: [origin], scopes_supported: [] },
      jwks: { keys: [{ kty: 'oct', k: 'aGVsbG8' }] },
      server: {
        issuer: origin,
        authorization_endpoint: `${origin}/oauth/authorize`,
        token_endpoint: `${origin}/oauth/token`,
        jwks_uri: `${origin}/oauth/jwks`,
        id_token_signing_alg_values_supported: ['HS256'],
      },
    }
    const kind = asked.includes('protected-resource')
      ? 'resource'
      : asked.includes('jwks')
        ? 'jwks'
        : asked.includes('/.well-known/')
          ? 'server'
          : undefined
    if (kind === undefined) return void res.writeHead(404).end()
    json(change(documents[kind] ?? {}, origin))(req, res)
  }

describe('doctor --serve has no words for what serve does not have', () => {
  it.each<[string, RequestListener | undefined]>([
    ['nothing answers', undefined],
    ['everything is missing', html(404)],
    ['everything fails', html(500)],
    ['everything is the page of a proxy', html(200)],
    ['everything is behind a sign-in', html(401)],
    ['everything is forbidden', html(403)],
    ['everything is elsewhere', html(302, { location: 'https://login.example.com/' })],
    ['everything is at https', html(301, { location: 'https://mcp.example.com/mcp' })],
    ['another app answers', json({})],
    ['another app refuses', json({ error: 'x' }, 400)],
    ['the connection breaks', (req) => void req.socket.destroy()],
    [
      'the documents are of another server',
      servedAs((document) => ({
        ...document,
        issuer: 'https://other.example.com',
        resource: 'https://other.example.com/mcp',
        authorization_servers: ['https://other.example.com'],
      })),
    ],
    [
      'the issuer has a slash',
      servedAs((document, origin) => ({ ...document, issuer: `${origin}/`, authorization_servers: [`${origin}/`] })),
    ],
    [
      'endpoints are on plain http',
      servedAs((document) => ({
        ...document,
        jwks_uri: 'http://idp.example.com/jwks',
        token_endpoint: 'http://idp.example.com/token',
      })),
    ],
    ['the document has no endpoints', servedAs(({ issuer, resource }) => ({ issuer, resource }))],
    ['the keys are of no use', servedAs((document) => document)],
  ])('where %s at its name', async (_, handle) => {
    expectOwnWords(await examined(await setUp(handle)))
  })

  it.each<[string, (set: SetUp) => Environment]>([
    ['nothing listens', () => ({ NEXTCLOUD_HOST: 'http://127.0.0.1:1' })],
    ['the name does not resolve', () => ({ NEXTCLOUD_HOST: 'https://nextcloud.invalid' })],
    ['TLS fails', ({ nextcloud }) => ({ NEXTCLOUD_HOST: nextcloud.url.replace('http:', 'https:') })],
    ['it fails', ({ nextcloud }) => (nextcloud.disturb(() => 500), {})],
    ['it breaks off', ({ nextcloud }) => (nextcloud.disturb(() => 'broken'), {})],
    [
      'it is something else',
      ({ nextcloud }) => (
        nextcloud.disturb(() => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<p>' })),
        {}
      ),
    ],
    [
      'it redirects',
      ({ nextcloud }) => (
        nextcloud.disturb(() => ({ status: 301, headers: { location: 'https://cloud.example.com/' }, body: '' })),
        {}
      ),
    ],
    ['it is in maintenance', ({ nextcloud }) => ((nextcloud.state.settings.maintenance = true), {})],
    ['an upgrade is due', ({ nextcloud }) => ((nextcloud.state.settings.upgradeDue = true), {})],
    [
      'the domain is not trusted',
      ({ nextcloud }) => (
        nextcloud.disturb(() => ({
          status: 400,
          headers: { 'content-type': 'application/json' },
          body: '{"error":"Trusted domain error.","code":15}',
        })),
        {}
      ),
    ],
    [
      'the app oauth2 is off',
      ({ nextcloud }) => (nextcloud.disturb(({ path: asked }) => (asked.includes('oauth2') ? 404 : undefined)), {}),
    ],
    ['it has no such client', () => ({ NEXTCLOUD_OIDC_CLIENT_ID: 'x'.repeat(64) })],
    ['the id is too short', () => ({ NEXTCLOUD_OIDC_CLIENT_ID: 'x' })],
    [
      'the client leads elsewhere',
      ({ nextcloud }) => (
        Object.assign(nextcloud.state.oauth2Clients[0]!, { redirectUris: ['https://other.example.com/x'] }),
        {}
      ),
    ],
    ['browsers reach it elsewhere', () => ({ NEXTCLOUD_PUBLIC_URL: 'http://127.0.0.1:1/cloud' })],
    ['it is on plain http', () => ({ NEXTCLOUD_HOST: 'http://cloud.example.com' })],
  ])('where of Nextcloud %s', async (_, change) => {
    const set = await setUp()
    expectOwnWords(await examined(set, change(set)))
  })

  it.each<[string, (set: SetUp) => Environment]>([
    ['the folder is a file', ({ folder }) => (writeFileSync(path.join(folder, 'data'), ''), {})],
    ['there is a database without a key', ({ folder }) => (inData(folder, 'connections.db', ''), {})],
    [
      'the database is none',
      ({ folder }) => (
        inData(folder, 'connections.db', 'x'.repeat(10_000)),
        inData(folder, 'encryption.key', 'k'.repeat(43)),
        {}
      ),
    ],
    ['the key is none', () => ({ TOKEN_ENCRYPTION_KEY: 'short' })],
    ['the port is another', ({ origin }) => ({ PORT: String(Number(new URL(origin).port) + 1) })],
    ['the name is on plain http', () => ({ NEXTCLOUD_MCP_SERVER_URL: 'http://mcp.example.com/mcp' })],
    ['the name does not resolve', () => ({ NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.invalid/mcp' })],
  ])('where %s', async (_, change) => {
    const set = await setUp()
    expectOwnWords(await examined(set, change(set)))
  })

  it('and has a variable for each option that it names', () => {
    for (const variable of Object.values(WAYS)) expect(Object.keys(VARIABLES)).toContain(variable)
  })
})

function inData(folder: string, name: string, content: string): void {
  mkdirSync(path.join(folder, 'data'), { recursive: true })
  writeFileSync(path.join(folder, 'data', name), content)
}

describe('serve.port', () => {
  it('fails where apps on this computer look for the server at another port, and nothing is there', async () => {
    const set = await setUp()
    const port = (await examined(set, { PORT: '3000' })).find(({ id }) => id === 'serve.port')

    expect(port).toEqual({
      id: 'serve.port',
      status: 'failed',
      found: 'NEXTCLOUD_MCP_SERVER_URL has port 1, and this server listens on 3000',
      fix: 'set PORT=1, unless a proxy leads from one to the other',
    })
  })

  it('passes where something leads from one port to the other, and where they are one', async () => {
    const set = await setUp((_req, res) => void res.end('alive\n'))
    const other = (await examined(set, { PORT: '3000' })).find(({ id }) => id === 'serve.port')
    const same = (await examined(set)).find(({ id }) => id === 'serve.port')

    expect([other?.status, same?.status]).toEqual(['passed', 'passed'])
    expect(other?.found).toContain('something leads from one to the other')
  })
})
