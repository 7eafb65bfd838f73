import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { ConnectHandler } from '../../src/http/router.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { FetchFunction, McpAuthOptions } from '../../src/options.js'
import { askWith } from '../support/answers.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { bareHost, type RunningApp } from '../support/hosts.js'
import {
  CLIENT_ID,
  RESOURCE,
  signingKey,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const CLIENT_SECRET = 'planted-client-secret'
const NEXTCLOUD_TOKEN = 'planted-nextcloud-token'
const OPAQUE_TOKEN = 'planted-opaque-token'

let clock: ManualClock
let as: ScriptedAuthorizationServer
let running: { auth: McpAuth; app: RunningApp }[]
let recorded: unknown[]
const record = (event: unknown) => void recorded.push(event)

beforeEach(async () => {
  clock = manualClock()
  as = await startAuthorizationServer(clock.now)
  running = []
  recorded = []
  subscribe('mcp-nextcloud-auth', record)
  process.on('warning', record)
})
afterEach(async () => {
  unsubscribe('mcp-nextcloud-auth', record)
  process.off('warning', record)
  for (const { auth, app } of running) {
    await app.close()
    await auth.close()
  }
  await as.close()
})

const theApp: ConnectHandler = (_req, res) => res.end()

async function start(given: McpAuthOptions = {}): Promise<{ auth: McpAuth; app: RunningApp }> {
  const auth = createMcpAuth(
    {
      issuer: as.issuer,
      resource: RESOURCE,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      nextcloud: { url: 'https://cloud.example.com' },
      onEvent: record,
      ...given,
    },
    clock,
  )
  const app = await bareHost.start([auth, theApp], { maxHeaderSize: 65_536 })
  running.push({ auth, app })
  return { auth, app }
}

/** The parts of a JWT that are worth anything, and pieces of them. */
function partsOf(token: string): string[] {
  const [, payload = '', signature = ''] = token.split('.')
  return [payload.slice(0, 20), payload.slice(-20), signature.slice(0, 12), signature.slice(-12)]
}

it('no event, warning or counter of a whole life holds a token or a secret, not even in part', async () => {
  const good = await as.mint()
  const bad = [
    await as.mint({ aud: 'https://other.example' }),
    await as.mint({ exp: clock.now() / 1_000 - 60 }),
    await as.mint({ cnf: { jkt: 'x' } }),
    await as.mint({ pad: 'x'.repeat(16_000) }),
    await as.mint({}, { key: await signingKey('first') }),
    await as.mint({}, { key: await signingKey('unheard-of') }),
    `${good};`,
    `${good} ${good}`,
    OPAQUE_TOKEN,
  ]
  const { auth, app } = await start()
  as.script('/token', { json: { access_token: NEXTCLOUD_TOKEN, token_type: 'Bearer' } })

  for (const token of [good, good, ...bad]) await askWith(app.url, token)
  await auth.getNextcloudToken({ token: good })
  await auth.getNextcloudToken({ token: good })

  expect(new Set(recorded.map((event) => (event as { type: string }).type))).toEqual(
    new Set(['token.accepted', 'token.rejected', 'nextcloud.token']),
  )
  expect(auth.stats()).toMatchObject({ verified: 1, exchanges: 1, rejected: { audience: 1, expired: 1 } })
  expectNothingPlanted([good, ...bad.slice(0, 6)], auth)
})

it('no event repeats what a provider says that quotes the request', async () => {
  const good = await as.mint()
  as.script('/token', (request, res) => {
    const quoted = inspect([request.form.toString(), request.form.get('subject_token')])
    res.writeHead(400, { 'content-type': 'application/json' })
    res.end(JSON.stringify({ error: `invalid_target ${good}`, error_description: quoted }))
  })
  const { auth } = await start()

  await expect(auth.getNextcloudToken({ token: good })).rejects.toMatchObject({ code: 'ERR_TOKEN_REQUEST' })

  expect(recorded).toContainEqual(expect.objectContaining({ type: 'nextcloud.failed', code: 'ERR_TOKEN_REQUEST' }))
  expectNothingPlanted([good], auth)
})

it('no event repeats what a fetch of the user says that quotes the request', async () => {
  const good = await as.mint()
  const fetch: FetchFunction = async (url, init) => {
    if (url.endsWith('/jwks') || url.includes('well-known')) return globalThis.fetch(url, init)
    const cause = Object.assign(new Error((init.body as URLSearchParams).toString()), { init })
    throw Object.assign(new TypeError(inspect(init), { cause }), { config: init })
  }
  const { auth, app } = await start({ http: { fetch, retries: 0 } })

  await expect(auth.getNextcloudToken({ token: good })).rejects.toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE' })
  await askWith(app.url, OPAQUE_TOKEN)

  expect(recorded).toContainEqual(expect.objectContaining({ type: 'idp.unavailable', operation: 'token' }))
  expect(recorded).toContainEqual(expect.objectContaining({ type: 'idp.unavailable', operation: 'introspection' }))
  expectNothingPlanted([good], auth)
})

it('no event repeats what a function of the operator throws', async () => {
  const good = await as.mint()
  const validateClaims = (claims: object) => {
    throw new Error(`${good} ${inspect(claims)} ${CLIENT_SECRET}`)
  }
  const { auth, app } = await start({ validateClaims })

  expect(await askWith(app.url, good)).toMatchObject({ status: 401 })

  expect(recorded).toContainEqual(expect.objectContaining({ type: 'token.rejected', reason: 'claims' }))
  expectNothingPlanted([good], auth)
})

function expectNothingPlanted(tokens: readonly string[], auth: McpAuth): void {
  const text = inspect([recorded, auth.stats()], { depth: Infinity, maxStringLength: Infinity, showHidden: true })
  const credentials = Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString('base64')
  const planted = [...tokens.flatMap(partsOf), CLIENT_SECRET, credentials, NEXTCLOUD_TOKEN, OPAQUE_TOKEN]
  expect(planted.filter((secret) => text.includes(secret))).toEqual([])
}
