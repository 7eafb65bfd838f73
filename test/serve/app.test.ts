import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import express from 'express'
import { expect, it, onTestFinished } from 'vitest'
import type { McpAuthHealth } from '../../src/health.js'
import {
  lastHandler,
  limitedByPerson,
  limitedIfAccepted,
  limitedIfLarge,
  limitedIfRefused,
  readiness,
  readMessage,
} from '../../src/serve/app.js'
import { startServe } from '../../src/serve/server.js'
import { readSettings } from '../../src/serve/settings.js'
import { listen } from '../support/hosts.js'
import { startStandIn } from '../support/nextcloud/stand-in.js'

/** A server of this name that listens on any port of this machine, as behind a proxy. */
async function served(resource: string, more: Record<string, string> = {}) {
  const nextcloud = await startStandIn()
  const data = mkdtempSync(path.join(tmpdir(), 'serve-'))
  const { settings } = readSettings(
    {
      NEXTCLOUD_MCP_SERVER_URL: resource,
      NEXTCLOUD_HOST: nextcloud.url,
      NEXTCLOUD_OIDC_CLIENT_ID: 'i'.repeat(64),
      NEXTCLOUD_OIDC_CLIENT_SECRET: 's'.repeat(64),
      MCP_DATA: data,
      PORT: '0',
      ...more,
    },
    '/',
  )
  if (settings === undefined) throw new Error('There are faults')
  const lines: string[] = []
  const server = await startServe(settings, { version: '1', write: (line) => void lines.push(line) })
  onTestFinished(async () => {
    await server.stop(100)
    await nextcloud.close()
    rmSync(data, { recursive: true, force: true })
  })
  return { origin: `http://127.0.0.1:${server.port}`, lines, nextcloud }
}

it.each([
  ['https://mcp.example.com/mcp', 'max-age=31536000'],
  ['http://localhost/mcp', null],
])('holds browsers of %s to https for a year: %s', async (resource, header) => {
  const { origin } = await served(resource)
  const answer = await fetch(`${origin}/`)
  expect([answer.status, answer.headers.get('strict-transport-security')]).toEqual([200, header])
})

it.each([
  ['https://mcp.example.com/mcp', [200, 200]],
  ['http://localhost/mcp', [200, 429]],
])('counts the requests of %s by the address that its proxy tells, where it has one', async (resource, statuses) => {
  const { origin } = await served(resource)
  const ready = (from: string) => fetch(`${origin}/health/ready`, { headers: { 'x-forwarded-for': from } })
  for (let count = 1; count < 60; count += 1) await (await ready('192.0.2.1')).text()
  const [last, other] = [await ready('192.0.2.1'), await ready('192.0.2.2')]
  expect([last.status, other.status]).toEqual(statuses)
  const over = await ready('192.0.2.1')
  expect([over.status, await over.json()]).toMatchObject([429, { error: 'too_many_requests' }])
})

it('lets nobody without a token use up the requests of those who have one', async () => {
  const { origin } = await served('http://localhost/mcp')
  const statuses = new Set<number>()
  for (let count = 0; count <= 600; count += 1) {
    const answer = await fetch(`${origin}/mcp`, { method: 'POST', headers: { authorization: 'Bearer x' } })
    await answer.text()
    statuses.add(answer.status)
  }
  expect([...statuses]).toEqual([401])
})

/** Requests to an app behind a limit, for `/person` or `/person/refused`; their statuses. */
async function behind(limit: express.RequestHandler, requests: readonly (readonly [path: string, body?: string])[]) {
  const app = express()
  app.use((req, _res, next) => {
    Object.assign(req, { mcpAuth: { subject: req.path.split('/')[1] } })
    next()
  })
  app.use(limit, (req, res) => void res.sendStatus({ refused: 400, down: 503 }[req.path.split('/')[2] ?? ''] ?? 204))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const statuses = []
  for (const [path, body] of requests) {
    const answer = await fetch(`${site.url}${path}`, {
      method: 'POST',
      ...(body !== undefined && { method: 'PUT', body }),
    })
    await answer.text()
    statuses.push(answer.status)
  }
  return statuses
}

it('counts the requests of each person, whatever address they share', async () => {
  expect(await behind(limitedByPerson(1), [['/alice'], ['/alice'], ['/bob']])).toEqual([204, 429, 204])
})

it('counts of the requests for tokens those alone that are refused', async () => {
  const requests = [['/alice'], ['/alice'], ['/bob/down'], ['/bob/refused'], ['/alice']] as const
  expect(await behind(limitedIfRefused(1), requests)).toEqual([204, 204, 503, 400, 429])
})

it('counts the large bodies of each person by themselves', async () => {
  const [small, large] = ['a'.repeat(100_000), 'a'.repeat(100_001)]
  const requests = [
    ['/alice', small],
    ['/alice', large],
    ['/alice', large],
    ['/alice', small],
    ['/bob', large],
  ] as const
  expect(await behind(limitedIfLarge(1), requests)).toEqual([204, 204, 429, 204, 204])
})

it('counts of the requests with a token those alone that are accepted', async () => {
  const app = express()
  const isGood = ({ headers }: express.Request) => headers.authorization === 'Bearer good'
  app.use(limitedIfAccepted(1), (req, res) => void res.sendStatus(isGood(req) ? 204 : 401))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const statuses = []
  for (const authorization of [
    undefined,
    'Basic x',
    'Bearer bad',
    'Bearer bad',
    'Bearer good',
    'Bearer good',
    'Basic x',
  ]) {
    const headers = authorization === undefined ? {} : { authorization }
    statuses.push((await fetch(site.url, { headers })).status)
  }
  expect(statuses).toEqual([401, 401, 401, 401, 204, 429, 401])
})

it.each(['disconnect', 'status'])('limits /nextcloud/%s with a token by itself', async (path) => {
  const { origin } = await served('http://localhost/mcp')
  const answer = await fetch(`${origin}/nextcloud/${path}`, { method: 'POST', headers: { authorization: 'Bearer x' } })
  expect(answer.headers.get('ratelimit-policy')).toContain('q=600;')
})

it('counts what a page sends for tokens apart from what an app does', async () => {
  const app = express()
  app.use(limitedIfRefused(1), (_req, res) => void res.sendStatus(400))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const statusOf = async (method: string, headers: Record<string, string> = {}) =>
    (await fetch(site.url, { method, headers })).status
  const statuses = [
    await statusOf('POST', { origin: 'https://evil.example' }),
    await statusOf('POST', { origin: 'https://other.example' }),
    // As an image of a page.
    ...[await statusOf('GET'), await statusOf('GET')],
    ...[await statusOf('POST'), await statusOf('POST')],
  ]
  expect(statuses).toEqual([400, 429, 400, 400, 400, 429])
})

it.each(['token', 'revoke', 'register'])(
  'has what pages load from /oauth/%s use up no request of an app',
  async (path) => {
    const { origin } = await served('http://localhost/mcp')
    const remaining = async (method: string, headers: Record<string, string> = {}) => {
      const answer = await fetch(`${origin}/oauth/${path}`, { method, headers })
      await answer.text()
      return /r=(\d+)/.exec(answer.headers.get('ratelimit') ?? '')?.[1]
    }
    const first = Number(await remaining('POST'))
    await remaining('GET')
    await remaining('POST', { origin: 'https://evil.example' })
    expect(Number(await remaining('POST'))).toBe(first - 1)
  },
)

const message = (values: number) => ({ method: 'ping', params: { list: Array<string>(values - 4).fill('[{}],') } })
it.each([
  ['a message of 1,000 values', message(1_000), 204],
  ['a message of more', message(1_001), 400],
  ['one whose values lie deeper', { params: message(1_000) }, 400],
  ['one with more in one place than there may be in all', { params: Array(300_000).fill(0) }, 400],
  ['several messages', [message(10)], 400],
  ['what is no JSON', '{', 400],
  ['a text of 3 MB', { params: { text: 'x,{'.repeat(1_000_000) } }, 204],
  ['a text of 5 MB', { params: { text: 'x'.repeat(5_000_000) } }, 413],
])('reads a message of one call: %s', async (_, body, status) => {
  const app = express()
  app.use(...readMessage, (_req, res) => void res.sendStatus(204))
  app.use(lastHandler(() => undefined))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const send = (sent: string | Buffer<ArrayBuffer>, headers: Record<string, string> = {}) =>
    fetch(site.url, { method: 'POST', body: sent, headers: { 'content-type': 'text/plain', ...headers } })
  const json = typeof body === 'string' ? body : JSON.stringify(body)
  expect((await send(json)).status).toBe(status)
  // It would be larger than it says.
  expect((await send(gzipSync(json), { 'content-encoding': 'gzip' })).status).toBe(415)
})

it('reads a message as UTF-8, whatever charset its sender names', async () => {
  const app = express()
  app.use(...readMessage, (req, res) => void res.json(req.body))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const sent = { params: { text: 'ü+AOk-' } }
  const headers = { 'content-type': 'application/json; charset=utf-7' }
  const answer = await fetch(site.url, { method: 'POST', body: JSON.stringify(sent), headers })
  expect(await answer.json()).toEqual(sent)
  expect((await fetch(site.url)).status).toBe(200)
})

it.each([
  ['what pages embed', '/oauth/authorize', { 'sec-fetch-dest': 'image' }, 403],
  ['a WebSocket of a page', '/oauth/authorize', { origin: 'https://evil.example', 'sec-websocket-key': 'x' }, 403],
  ['disconnections with a token', '/nextcloud/disconnect', { authorization: 'Bearer x' }, 401],
])('has %s use up no visit of their address', async (_, path, headers, status) => {
  const { origin } = await served('http://localhost/mcp')
  const method = status === 401 ? 'POST' : 'GET'
  for (let count = 0; count <= 90; count += 1) {
    const answer = await fetch(`${origin}${path}`, { method, headers })
    await answer.text()
    expect(answer.status).toBe(status)
  }
  expect((await fetch(`${origin}/nextcloud`, { headers: { 'sec-fetch-dest': 'document' } })).status).toBe(200)
})

it('has visits of pages use up no revocation and no disconnection', async () => {
  const { origin } = await served('http://localhost/mcp')
  const statusOf = async (path: string, method: string, headers = {}) => {
    const answer = await fetch(`${origin}${path}`, { method, headers })
    await answer.text()
    return answer.status
  }
  let last = 0
  for (let count = 0; count <= 90; count += 1) last = await statusOf('/nextcloud/nothing-here', 'GET')
  expect(last).toBe(429)
  expect(await statusOf('/oauth/revoke', 'POST')).not.toBe(429)
  expect(await statusOf('/nextcloud/disconnect', 'POST')).toBe(429)
  expect(await statusOf('/nextcloud/disconnect', 'POST', { authorization: 'Bearer x' })).toBe(401)
})

it('names Nextcloud on its first page as browsers know it', async () => {
  const { origin } = await served('http://localhost/mcp', { NEXTCLOUD_PUBLIC_URL: 'https://cloud.example.com' })
  expect(await (await fetch(`${origin}/`)).text()).toContain('cloud.example.com')
})

it.each([
  ['GET', { accept: 'text/html' }, 303],
  ['GET', { accept: 'application/json, text/html' }, 401],
  ['GET', { accept: 'text/html', authorization: 'Bearer x' }, 401],
  ['POST', { accept: 'text/html' }, 401],
  ['OPTIONS', {}, 204],
])('answers %s %j at the address of the apps by %i', async (method, headers, status) => {
  const { origin } = await served('http://localhost/mcp')
  const answer = await fetch(`${origin}/mcp`, { method, headers, redirect: 'manual' })
  expect(answer.status).toBe(status)
  expect(answer.headers.get('access-control-allow-origin')).toBe('*')
  expect(answer.headers.has('access-control-max-age')).toBe(status === 204)
})

it.each([
  ['text/html', 404, 'text/html; charset=utf-8'],
  ['application/json', 404, 'application/json; charset=utf-8'],
])('answers %s at an address that it does not have', async (accept, status, type) => {
  const { origin } = await served('http://localhost/mcp')
  const answer = await fetch(`${origin}/elsewhere`, { headers: { accept } })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([status, type])
})

const failing = (message: string, more: object = {}) => Object.assign(new TypeError(message), more)

it.each([
  ['a failure of the program', failing('hush'), 500, 'server_error', ['failure error=TypeError']],
  ['a request that is too large', failing('hush', { status: 413 }), 413, 'invalid_request', []],
  ['a status of a server', failing('hush', { status: 502 }), 500, 'server_error', ['failure error=TypeError']],
  ['a status that is none', failing('hush', { status: 200 }), 500, 'server_error', ['failure error=TypeError']],
  ['a status that is text', failing('hush', { status: '400' }), 500, 'server_error', ['failure error=TypeError']],
  ['a text', 'hush', 500, 'server_error', ['failure error=unknown']],
])('answers %s without its words', async (_, error, status, code, told) => {
  const lines: string[] = []
  const app = express()
  app.use((_req, _res, next) => next(error))
  app.use(lastHandler((line) => void lines.push(line)))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const answer = await fetch(site.url)
  expect([answer.status, await answer.json(), lines]).toEqual([status, { error: code }, told])
})

it('breaks an answer off that has begun when something fails', async () => {
  const lines: string[] = []
  const app = express()
  app.use((_req, res) => {
    res.write('begun')
    throw new RangeError('hush')
  })
  app.use(lastHandler((line) => void lines.push(line)))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const ended = await fetch(site.url)
    .then((answer) => answer.text())
    .catch(() => 'broken off')
  expect([ended, lines]).toEqual(['broken off', ['failure error=RangeError']])
})

const WELL: McpAuthHealth = {
  ok: true,
  keys: { ageSeconds: 1, ok: true },
  authorizationServer: { lastAnswerAt: 1, ok: true },
  storage: { ok: true },
  nextcloud: { lastAnswerAt: 1, ok: true },
}

it.each([
  ['all is well', {}, 200],
  ['Nextcloud does not answer', { ok: false, nextcloud: { lastAnswerAt: 1, ok: false } }, 200],
  ['it has no keys', { ok: false, keys: { ageSeconds: undefined, ok: false } }, 503],
  ['its database fails', { ok: false, storage: { ok: false } }, 503],
])('is ready or not where %s', async (_, told, status) => {
  const app = express()
  app.get('/', readiness({ health: () => Promise.resolve({ ...WELL, ...told }) }))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const answer = await fetch(site.url)
  expect([answer.status, await answer.text()]).toEqual([status, status === 200 ? 'ready\n' : 'not ready\n'])
})
