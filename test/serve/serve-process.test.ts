import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createOAuthClient } from '../../examples/demo/oauth-client.js'
import { doctor as runDoctor } from '../../src/cli/doctor/doctor.js'
import { fresh } from '../../src/testing/nextcloud/exchange.js'
import { callCommand } from '../support/command.js'
import { startStandIn, type NextcloudStandIn } from '../support/nextcloud/stand-in.js'
import { ACCOUNT_PASSWORD, addAccount } from '../support/nextcloud/state.js'
import { createVisitor } from '../support/nextcloud/visitor.js'
import { registeredClient } from '../support/sign-in-client.js'
import { calendarStandIn, searchStandIn, type CalendarStandIn } from './support/caldav.js'

const CLI = path.resolve(import.meta.dirname, '../../dist/cli/main.js')

let nextcloud: NextcloudStandIn
let calendars: CalendarStandIn
let folder: string
let server: ChildProcess
let output = ''
let origin: string
const secrets: string[] = []

const environment = () => ({
  PATH: process.env['PATH'] ?? '',
  NEXTCLOUD_MCP_SERVER_URL: `${origin}/mcp`,
  NEXTCLOUD_HOST: nextcloud.url,
  NEXTCLOUD_OIDC_CLIENT_ID: secrets[0] ?? '',
  NEXTCLOUD_OIDC_CLIENT_SECRET: secrets[1] ?? '',
  PORT: new URL(origin).port,
})

function start(): ChildProcess {
  const child = spawn(process.execPath, [CLI, 'serve'], { cwd: folder, env: environment() })
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += String(data)))
  return child
}

async function live(child: ChildProcess): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    if (child.exitCode !== null) throw new Error(`It has ended: ${output}`)
    if (
      await fetch(`${origin}/health/live`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`It does not answer: ${output}`)
}

async function freeOrigin(): Promise<string> {
  const held = createServer().listen(0, '127.0.0.1')
  await once(held, 'listening')
  const { port } = held.address() as AddressInfo
  held.close()
  await once(held, 'close')
  return `http://127.0.0.1:${port}`
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'serve-'))
  nextcloud = await startStandIn()
  calendars = calendarStandIn('anna')
  disturb()
  secrets.push(fresh(64), fresh(64))
  const [clientId = '', secret = ''] = secrets
  addAccount(nextcloud.state, 'anna')
  // The port has to be known beforehand, and another process may take it before the server does.
  for (let attempt = 1; ; attempt += 1) {
    origin = await freeOrigin()
    const redirectUris = [`${origin}/nextcloud/callback`]
    nextcloud.state.oauth2Clients.splice(0)
    nextcloud.state.oauth2Clients.push({ id: nextcloud.state.nextId(), name: 'MCP', clientId, secret, redirectUris })
    server = start()
    try {
      return await live(server)
    } catch (error) {
      if (attempt === 5 || !output.includes('something else listens')) throw error
      output = ''
    }
  }
})

afterAll(async () => {
  if (server.exitCode === null) server.kill('SIGKILL')
  await nextcloud.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Adds what the stand-in does not have itself. */
function disturb(): void {
  const search = searchStandIn('anna', ['Docs/Readme.md', 'read_ä.txt', 'readXä.txt'])
  nextcloud.disturb((asked) => calendars.answer(asked) ?? search(asked))
}

const visitor = () => createVisitor({ name: 'anna', password: ACCOUNT_PASSWORD })

async function signedIn(): Promise<Client> {
  const browser = visitor()
  const oauth = createOAuthClient({
    open: (url, stopAt) => browser.until(url, stopAt),
    visit: () => Promise.reject(new Error()),
  })
  const connect = () => new StreamableHTTPClientTransport(new URL(`${origin}/mcp`), { authProvider: oauth.provider })
  const first = connect()
  await expect(new Client({ name: 'test', version: '1' }).connect(first)).rejects.toThrow()
  await first.finishAuth(oauth.callback())
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(connect())
  return client
}

/** Runs the doctor on this server. */
async function doctor(other: Record<string, string> = {}) {
  const surroundings = { environment: { ...environment(), ...other }, directory: folder }
  const { status: code, output: words, complaint } = await callCommand(runDoctor, ['--serve', '--json'], surroundings)
  expect(complaint).toBe('')
  const { checks } = JSON.parse(words) as { checks: { id: string; status: string; found: string }[] }
  return { code, findings: checks, words }
}

async function call(client: Client, name: string, given: Record<string, unknown> = {}) {
  const { content, isError } = await client.callTool({ name, arguments: given })
  return { text: content.map((part) => (part.type === 'text' ? part.text : '')).join(''), isError: isError === true }
}

describe('mcp-nextcloud-auth serve', () => {
  it('is ready, and makes a database and a key that its owner alone can read', async () => {
    expect((await fetch(`${origin}/health/ready`)).status).toBe(200)
    for (const name of ['encryption.key', 'connections.db']) {
      expect(statSync(path.join(folder, 'data', name)).mode & 0o077).toBe(0)
    }
    const key = readFileSync(path.join(folder, 'data/encryption.key'), 'utf8').trim()
    expect(Buffer.from(key, 'base64url')).toHaveLength(32)
    secrets.push(key)
    expect(output).toContain('Made an encryption key in')
    expect(output).toContain(`${origin}/nextcloud/callback`)
  })

  it('signs a person in, and works in their files, notes and calendars', async () => {
    const client = await signedIn()
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name).sort()).toEqual([
      'add_event', 'create_note', 'list_calendars', 'list_events', 'list_files', 'list_notes',
      'read_file', 'read_note', 'search_files', 'update_note', 'write_file',
    ]) // prettier-ignore
    const replacing = tools.filter(({ annotations }) => annotations?.destructiveHint === true)
    expect(replacing.map(({ name }) => name).sort()).toEqual(['update_note', 'write_file'])

    expect(await call(client, 'create_note', { title: 'Milk', content: 'two litres' })).toMatchObject({
      isError: false,
    })
    expect((await call(client, 'list_notes')).text).toContain('Milk')

    const written = await call(client, 'write_file', { path: 'New/folder/plan.md', content: '# Plän' })
    expect(written).toMatchObject({ isError: false })
    const read = await call(client, 'read_file', { path: 'New/folder/plan.md' })
    expect(read.text).toContain('# Plän')
    const [, etag = ''] = /etag ("[^"]+")/.exec(read.text) ?? []
    expect(await call(client, 'write_file', { path: 'New/folder/plan.md', content: 'x' })).toMatchObject({
      isError: true,
      text: expect.stringContaining('412') as string,
    })
    expect(await call(client, 'write_file', { path: 'New/folder/plan.md', content: 'x', etag })).toMatchObject({
      isError: false,
    })
    expect((await call(client, 'list_files', { path: 'New' })).text).toBe('folder/')
    expect((await call(client, 'search_files', { name: 'READ_Ä' })).text).toBe('read_ä.txt (136 bytes)')

    expect((await call(client, 'list_calendars')).text).toBe(
      'Personal & more [personal]\nContact birthdays [contact_birthdays], to read only',
    )
    const event = { calendar: 'personal', title: 'Tea; with, all', start: '2026-12-01T10:00:00+01:00' }
    expect((await call(client, 'add_event', event)).text).toBe('Added Tea; with, all: 2026-12-01 09:00 to 10:00 UTC.')
    const listed = await call(client, 'list_events', { calendar: 'personal', from: '2026-12-01', to: '2026-12-01' })
    expect(listed.text).toBe('2026-12-01 09:00 to 10:00 UTC  Tea; with, all  (Personal & more)')
    await client.close()
  })

  it('has the app sign its person in again where Nextcloud has ended the sign-in', async () => {
    const client = await signedIn()
    nextcloud.state.tokens.splice(0)

    expect(await call(client, 'list_notes')).toEqual({
      isError: true,
      text: 'The sign-in of the user has ended. Call this tool again: the app then has the user sign in, which connects Nextcloud again.',
    })
    await expect(call(client, 'list_notes')).rejects.toThrow()
    expect((await call(await signedIn(), 'list_notes')).isError).toBe(false)
  })

  it('is well by its own doctor, who signs in as far as the login page of Nextcloud', async () => {
    const { code, findings, words } = await doctor()
    const failed = findings.filter(({ status }) => status === 'failed')
    expect({ code, failed }).toEqual({ code: 0, failed: [] })
    const passed = findings.filter(({ status }) => status === 'passed').map(({ id }) => id)
    expect(passed).toEqual(
      expect.arrayContaining([
        'connect.redirect-uri', 'storage.access', 'storage.records', 'metadata.resource', 'challenge.header',
        'serve.packages', 'serve.data', 'serve.sign-in',
      ]), // prettier-ignore
    )
    for (const secret of secrets.slice(1)) expect(words).not.toContain(secret)
  })

  it('is told by its doctor that Nextcloud does not know its client, or sends people elsewhere', async () => {
    const unknown = await doctor({ NEXTCLOUD_OIDC_CLIENT_ID: 'x'.repeat(64) })
    expect(unknown.code).toBe(1)
    expect(unknown.findings.filter(({ status }) => status === 'failed').map(({ id }) => id)).toContain(
      'client.credentials',
    )
    const { oauth2Clients } = nextcloud.state
    const [client] = oauth2Clients.splice(0, 1)
    if (client === undefined) throw new Error('There is no client')
    oauth2Clients.push({ ...client, redirectUris: ['https://other.example/callback'] })
    const elsewhere = await doctor()
    oauth2Clients.splice(0, 1, client)
    expect(elsewhere.findings.filter(({ status }) => status === 'failed').map(({ id }) => id)).toContain(
      'connect.redirect-uri',
    )
  })

  it.each(['http://127.0.0.1/login/flow', 'https://cloud.internal/login/flow'])(
    'is told by its doctor that Nextcloud takes another address for its own: %s',
    async (location) => {
      nextcloud.disturb(({ target }) =>
        /oauth2.authorize.*response_type=code/.test(target) ? { status: 303, headers: { location } } : undefined,
      )
      const { findings } = await doctor()
      disturb()
      const { origin: taken } = new URL(location)
      expect(findings.find(({ id }) => id === 'serve.sign-in')).toMatchObject({
        status: 'failed',
        found: expect.stringContaining(taken) as string,
        fix: expect.stringContaining(`overwritehost --value=${new URL(nextcloud.url).host}`) as string,
      })
    },
  )

  it('lists the tools of the scopes, and answers a call without its scopes by a challenge that names them', async () => {
    const client = await registeredClient({ origin, url: `${origin}/mcp` })
    const { body } = await client.signIn(visitor(), { scope: 'notes:read' })
    expect(body['scope']).toBe('notes:read')
    secrets.push(String(body['access_token']))
    const send = (message: object, contentType = 'application/json') =>
      fetch(`${origin}/mcp`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${String(body['access_token'])}`,
          'content-type': contentType,
          accept: 'application/json, text/event-stream',
        },
        body: JSON.stringify(message),
      })
    const post = (method: string, params: object = {}, contentType?: string) =>
      send({ jsonrpc: '2.0', id: 1, method, params }, contentType)
    const call = (name: string, contentType?: string) => post('tools/call', { name, arguments: {} }, contentType)
    const refused = await call('add_event')
    expect(refused.status).toBe(403)
    expect(refused.headers.get('www-authenticate')).toMatch(
      /error="insufficient_scope".*scope="calendar:read calendar:write"/,
    )
    expect(refused.headers.get('access-control-allow-origin')).toBe('*')
    expect(refused.headers.get('access-control-expose-headers')).toMatch(/WWW-Authenticate/i)
    expect((await call('add_event', 'text/plain; a=application/json')).status).toBe(415)
    const batch = await send([{ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} }])
    expect([batch.status, await batch.json()]).toMatchObject([400, { id: null, error: { code: -32_600 } }])
    const tools = await (await post('tools/list')).text()
    expect(tools.match(/(?<="name":")\w+/g)).toEqual(['list_notes', 'read_note'])
    const listed = await call('list_notes')
    expect(listed.status).toBe(200)
    expect(await listed.text()).toContain('Milk')
  })

  it('has a page for people, with its own address and no script, and its own policy', async () => {
    const page = await fetch(`${origin}/`, { headers: { accept: 'text/html' } })
    const html = await page.text()
    expect(page.status).toBe(200)
    expect(html).toContain(`claude mcp add --transport http nextcloud ${origin}/mcp`)
    expect(html).toContain('href="/nextcloud"')
    const connections = await fetch(`${origin}/nextcloud`, { headers: { accept: 'text/html' } })
    expect([connections.status, await connections.text()]).toEqual([200, expect.stringContaining('Sign in')])
    expect(html).not.toMatch(/<script|https?:\/\/(?!127\.0\.0\.1)/)
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-[^']+';/)
    const opened = await fetch(`${origin}/mcp`, { headers: { accept: 'text/html' }, redirect: 'manual' })
    expect([opened.status, opened.headers.get('location')]).toEqual([303, '/'])
  })

  it('tells other origins what a client in a browser needs', async () => {
    const preflight = await fetch(`${origin}/mcp`, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    })
    expect(preflight.status).toBe(204)
    const refused = await fetch(`${origin}/mcp`, { method: 'POST', headers: { origin: 'https://app.example' } })
    expect(refused.status).toBe(401)
    expect(refused.headers.get('access-control-expose-headers')).toMatch(/www-authenticate/i)
  })

  it('bounds how often clients register from one address', async () => {
    const register = () => fetch(`${origin}/oauth/register`, { method: 'POST', body: '{}' })
    const answers: number[] = []
    for (let count = 0; count < 25; count += 1) answers.push((await register()).status)
    expect(answers.at(-1)).toBe(429)
  })

  it('tells nothing secret, and nothing that a stranger chooses', async () => {
    await fetch(`${origin}/secret-of-a-stranger?token=hush`)
    await fetch(`${origin}/nextcloud/callback?code=secret-of-a-stranger&state=x`)
    await expect.poll(() => output).toContain('GET /nextcloud/callback 400')
    expect(secrets.length).toBeGreaterThan(3)
    for (const secret of [...secrets.slice(1), 'secret-of-a-stranger', 'hush', 'two litres', ACCOUNT_PASSWORD]) {
      if (secret !== '') expect(output).not.toContain(secret)
    }
    expect(output).not.toMatch(/eyJ|Bearer \S{16}|code=|state=/)
    expect(output).toMatch(/POST \/mcp 200 \d+ ms subject="anna" tool=list_notes/)
  })

  it('ends within five seconds of SIGTERM, with a stream open, and goes on with what it knew', async () => {
    const hanging = fetch(`${origin}/mcp`, {
      method: 'POST',
      duplex: 'half',
      headers: { 'content-type': 'application/json' },
      body: new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('{')) }),
    }).catch(() => undefined)
    const client = await registeredClient({ origin, url: `${origin}/mcp` }).catch(() => undefined)
    expect(client).toBeDefined()
    const startedAt = performance.now()
    server.kill('SIGTERM')
    const [code] = (await once(server, 'exit')) as [number]
    await hanging
    expect(code).toBe(0)
    expect(performance.now() - startedAt).toBeLessThan(5_000)

    const before = output.length
    server = start()
    await live(server)
    expect(output.slice(before)).not.toContain('Made an encryption key')
    const again = await signedIn().catch((error: unknown) => error)
    expect(again).toBeInstanceOf(Client)
    await (again as Client).close()
    server.kill('SIGINT')
    await once(server, 'exit')
  })
})
