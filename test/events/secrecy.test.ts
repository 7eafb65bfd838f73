import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { McpAuth } from '../../src/mcp-auth.js'
import type { FetchFunction, McpAuthOptions } from '../../src/options.js'
import { askWith } from '../support/answers.js'
import { bareHost, type Host } from '../support/hosts.js'
import { failureOf } from '../support/promises.js'
import { protectedApp } from '../support/protected-app.js'
import { CLIENT_ID, signingKey } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

const CLIENT_SECRET = 'planted-client-secret'
const NEXTCLOUD_TOKEN = 'planted-nextcloud-token'
const OPAQUE_TOKEN = 'planted-opaque-token'

let recorded: unknown[]
const record = (event: unknown) => void recorded.push(event)

beforeEach(() => {
  recorded = []
  subscribe('mcp-nextcloud-auth', record)
  process.on('warning', record)
})
afterEach(() => {
  unsubscribe('mcp-nextcloud-auth', record)
  process.off('warning', record)
})

/** Takes headers that are longer than the longest token. */
const host: Host = { ...bareHost, start: (handlers) => bareHost.start(handlers, { maxHeaderSize: 65_536 }) }

const start = (given: McpAuthOptions = {}) =>
  world({ host, options: { clientSecret: CLIENT_SECRET, onEvent: record, ...given }, handlers: protectedApp })

/** The parts of a JWT that are worth anything, and pieces of them. */
function partsOf(token: string): string[] {
  const [, payload = '', signature = ''] = token.split('.')
  return [payload.slice(0, 20), payload.slice(-20), signature.slice(0, 12), signature.slice(-12)]
}

it('no event, warning or counter of a whole life holds a token or a secret, not even in part', async () => {
  const { url, auth, as, clock } = await start()
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
  as.script('/token', { json: { access_token: NEXTCLOUD_TOKEN, token_type: 'Bearer' } })

  for (const token of [good, good, ...bad]) await askWith(url, token)
  // Errors and answers hold none either.
  const errors = await Promise.all(bad.map((token) => failureOf(auth.verify(token))))
  const answers = await Promise.all(bad.map((token) => askWith(url, token)))
  await auth.getNextcloudToken({ token: good })
  await auth.getNextcloudToken({ token: good })

  expect(new Set(recorded.map((event) => (event as { type: string }).type))).toEqual(
    new Set(['token.accepted', 'token.rejected', 'nextcloud.token']),
  )
  expect(auth.stats()).toMatchObject({ verified: 1, exchanges: 1, rejected: { audience: 3, expired: 3 } })
  expectNothingPlanted([good, ...bad.slice(0, 6)], auth, errors, answers)
})

it('no event repeats what a provider says that quotes the request', async () => {
  const { auth, as } = await start()
  const good = await as.mint()
  as.script('/token', (request, res) => {
    const quoted = inspect([request.form.toString(), request.form.get('subject_token')])
    res.writeHead(400, { 'content-type': 'application/json' })
    res.end(JSON.stringify({ error: `invalid_target ${good}`, error_description: quoted }))
  })

  await expect(auth.getNextcloudToken({ token: good })).rejects.toMatchObject({ code: 'ERR_TOKEN_REQUEST' })

  expect(recorded).toContainEqual(expect.objectContaining({ type: 'nextcloud.failed', code: 'ERR_TOKEN_REQUEST' }))
  expectNothingPlanted([good], auth)
})

it('no event repeats what a fetch of the user says that quotes the request', async () => {
  const fetch: FetchFunction = async (url, init) => {
    if (url.endsWith('/jwks') || url.includes('well-known')) return globalThis.fetch(url, init)
    const cause = Object.assign(new Error((init.body as URLSearchParams).toString()), { init })
    throw Object.assign(new TypeError(inspect(init), { cause }), { config: init })
  }
  const { url, auth, as } = await start({ http: { fetch, retries: 0 } })
  const good = await as.mint()

  await expect(auth.getNextcloudToken({ token: good })).rejects.toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE' })
  await askWith(url, OPAQUE_TOKEN)

  expect(recorded).toContainEqual(expect.objectContaining({ type: 'idp.unavailable', operation: 'token' }))
  expect(recorded).toContainEqual(expect.objectContaining({ type: 'idp.unavailable', operation: 'introspection' }))
  expectNothingPlanted([good], auth)
})

it('no event repeats what a function of the operator throws', async () => {
  let good = ''
  const validateClaims = (claims: object) => {
    throw new Error(`${good} ${inspect(claims)} ${CLIENT_SECRET}`)
  }
  const { url, auth, as } = await start({ validateClaims })
  good = await as.mint()

  expect(await askWith(url, good)).toMatchObject({ status: 401 })

  expect(recorded).toContainEqual(expect.objectContaining({ type: 'token.rejected', reason: 'claims' }))
  expectNothingPlanted([good], auth)
})

function expectNothingPlanted(tokens: readonly string[], auth: McpAuth, ...more: unknown[]): void {
  const text = inspect([recorded, auth.stats(), ...more], {
    depth: Infinity,
    maxStringLength: Infinity,
    showHidden: true,
  })
  const credentials = Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString('base64')
  const planted = [...tokens.flatMap(partsOf), CLIENT_SECRET, credentials, NEXTCLOUD_TOKEN, OPAQUE_TOKEN]
  expect(planted.filter((secret) => text.includes(secret))).toEqual([])
}
