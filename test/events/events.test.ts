import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthEvent, McpAuthStats } from '../../src/events.js'
import type { McpAuthOptions } from '../../src/options.js'
import { ask, askWith, insufficientScope } from '../support/answers.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { bareHost } from '../support/hosts.js'
import { startProtectedApp, type ProtectedApp } from '../support/protected-app.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

let clock: ManualClock
let as: ScriptedAuthorizationServer
let app: ProtectedApp | undefined
let events: McpAuthEvent[]

beforeEach(async () => {
  clock = manualClock()
  as = await startAuthorizationServer(clock.now)
  events = []
})
afterEach(async () => {
  await app?.close()
  app = undefined
  await as.close()
})

const onEvent = (event: McpAuthEvent) => events.push(event)

const options = (): McpAuthOptions => ({
  issuer: as.issuer,
  resource: RESOURCE,
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  requiredScopes: ['notes:read'],
  nextcloud: { url: 'https://cloud.example.com' },
})

async function start(given: McpAuthOptions = { onEvent }): Promise<ProtectedApp> {
  app = await startProtectedApp(bareHost, { ...options(), ...given }, clock)
  return app
}

const alice = () => ({ issuer: as.issuer, subject: 'alice' })

describe('token.accepted', () => {
  it('tells who came with which client, and whether the token was known', async () => {
    const { url } = await start()
    const token = await as.mint()

    await askWith(url, token)
    clock.advance(1_500)
    await askWith(url, token)

    const accepted = { type: 'token.accepted', ...alice(), clientId: 'mcp-client' }
    expect(events).toEqual([
      { ...accepted, cached: false, at: clock.now() - 1_500 },
      { ...accepted, cached: true, at: clock.now() },
    ])
  })

  it('is not for a CORS preflight', async () => {
    const { url } = await start()

    const { status } = await ask(url, { method: 'OPTIONS', headers: [['Access-Control-Request-Method', 'POST']] })

    expect([status, events]).toEqual([200, []])
  })
})

describe('token.rejected', () => {
  it('comes from requireScopes too, after the token has been accepted', async () => {
    app = await startProtectedApp(bareHost, { ...options(), onEvent }, clock, {
      after: (auth) => [auth.requireScopes('notes:write')],
    })

    expect(await askWith(app.url, await as.mint())).toEqual(insufficientScope('notes:read notes:write'))
    expect(events.map((event) => [event.type, 'reason' in event && event.reason])).toEqual([
      ['token.accepted', false],
      ['token.rejected', 'scope'],
    ])
  })

  it('comes from verify() too, and from what takes a token to act for its user', async () => {
    const { auth } = await start()
    const [bad, scopeless] = [await as.mint({ aud: 'x' }), await as.mint({ scope: 'other' })]

    await expect(auth.verify(bad)).rejects.toMatchObject({ reason: 'audience' })
    await expect(auth.verify(scopeless)).rejects.toMatchObject({ status: 403 })
    await expect(auth.getNextcloudToken({ token: bad })).rejects.toMatchObject({ reason: 'audience' })

    expect(events).toMatchObject(
      ['audience', 'scope', 'audience'].map((reason) => ({ type: 'token.rejected', reason })),
    )
    expect(auth.stats().rejected).toEqual({ audience: 2, scope: 1 })
  })

  it('does not say that a token is bad when the provider cannot tell', async () => {
    const { url, auth } = await start()
    as.script('/jwks', { status: 500 })

    expect((await askWith(url, await as.mint())).status).toBe(503)
    expect(events.map(({ type }) => type)).toEqual(['idp.unavailable', 'request.failed'])
    expect(auth.stats()).toMatchObject({ rejected: {}, failed: { ERR_UPSTREAM_UNAVAILABLE: 1 } })
  })
})

describe('idp.unavailable', () => {
  it.each([
    ['discovery', '/.well-known/openid-configuration', () => as.mint()],
    ['jwks', '/jwks', () => as.mint()],
    ['introspection', '/introspect', () => 'opaque'],
  ])('names what was asked of the provider: %s', async (operation, path, token) => {
    const { url } = await start()
    as.script(path, { status: 502 })

    await askWith(url, await token())

    const message = `${as.issuer}${path} answers with status 502`
    expect(events).toEqual([
      { type: 'idp.unavailable', operation, message, httpStatus: 502, at: clock.now() },
      { type: 'request.failed', code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503, message, at: clock.now() },
    ])
  })
})

describe('nextcloud.token and nextcloud.failed', () => {
  const eventsOfNextcloud = () => events.filter(({ type }) => type.startsWith('nextcloud.'))

  it('tell where a token came from and how long it took', async () => {
    const { auth } = await start()
    const who = await auth.verify(await as.mint())
    as.script('/token', (_request, res) => {
      clock.advance(40)
      res.setHeader('content-type', 'application/json')
      res.end(JSON.stringify({ access_token: 'for-nextcloud', token_type: 'Bearer', expires_in: 300 }))
    })

    await auth.getNextcloudToken(who)
    await auth.getNextcloudToken(who)

    const token = { type: 'nextcloud.token', mode: 'token-exchange', ...alice(), at: clock.now() }
    expect(eventsOfNextcloud()).toEqual([
      { ...token, source: 'idp', durationMs: 40 },
      { ...token, source: 'cache', durationMs: 0 },
    ])
  })

  it('tell the operator why there was none, and what to look at', async () => {
    const { auth } = await start()
    as.script('/token', { status: 400, json: { error: 'invalid_target', error_description: 'no such audience' } })

    await expect(auth.getNextcloudToken(await auth.verify(await as.mint()))).rejects.toMatchObject({ status: 502 })

    expect(eventsOfNextcloud()).toEqual([
      {
        type: 'nextcloud.failed',
        mode: 'token-exchange',
        code: 'ERR_TOKEN_REQUEST',
        error: 'invalid_target',
        errorDescription: 'no such audience',
        hint: expect.stringMatching(/^Check nextcloud\.audience: /) as string,
        ...alice(),
        at: clock.now(),
      },
    ])
  })
})

describe('config.warning', () => {
  const discoveryUrl = 'http://keycloak:8080/meta'
  const message = 'discoveryUrl is plain http off loopback: tokens can be read and keys replaced on the way'

  it('is an event at construction', async () => {
    await start({ onEvent, discoveryUrl })

    expect(events).toEqual([{ type: 'config.warning', option: 'discoveryUrl', message, at: clock.now() }])
  })
})

describe('the diagnostics channel', () => {
  const channel = 'mcp-nextcloud-auth'
  const published: unknown[] = []
  const listener = (event: unknown) => void published.push(event)

  beforeEach(() => {
    published.length = 0
    subscribe(channel, listener)
  })
  afterEach(() => unsubscribe(channel, listener))

  it('receives what onEvent receives', async () => {
    const { url } = await start()

    await askWith(url, await as.mint())
    await ask(url)

    expect(published.map((event) => (event as McpAuthEvent).type)).toEqual(['token.accepted', 'token.rejected'])
    expect(published).toEqual(events)
  })

  it('receives every event without onEvent as well', async () => {
    const { url, auth } = await start({})
    const token = await as.mint()

    await askWith(url, token)
    await askWith(url, token)
    await auth.getNextcloudToken({ token })

    expect(published).toMatchObject([
      { type: 'token.accepted', cached: false },
      { type: 'token.accepted', cached: true },
      { type: 'nextcloud.token', source: 'idp' },
    ])
  })
})

describe('stats()', () => {
  const nothing: McpAuthStats = {
    verified: 0,
    verifiedCacheHits: 0,
    rejected: {},
    failed: {},
    nextcloudCacheHits: 0,
    nextcloudCacheMisses: 0,
    exchanges: 0,
    refreshes: 0,
    idpRequests: 0,
    evictions: 0,
    sizes: { verifiedTokens: 0, nextcloudTokens: 0 },
  }

  it('begins with nothing', async () => {
    const { auth } = await start({})

    expect(auth.stats()).toEqual(nothing)
  })

  it('counts what has happened', async () => {
    const { url, auth } = await start({ cache: { verifiedTokens: 1, nextcloudTokens: 1 } })
    const [one, two] = [await as.mint(), await as.mint({ sub: 'bob' })]
    await askWith(url, one)
    await askWith(url, one)
    await askWith(url, one)
    await ask(url)
    await auth.getNextcloudToken({ token: one })
    await auth.getNextcloudToken({ token: one })
    await auth.getNextcloudToken({ token: two })

    expect(auth.stats()).toEqual({
      ...nothing,
      verified: 2,
      // Two requests, and two calls that are given no more than the token.
      verifiedCacheHits: 4,
      rejected: { no_credentials: 1 },
      nextcloudCacheHits: 1,
      nextcloudCacheMisses: 2,
      exchanges: 2,
      // Metadata, keys, two exchanges.
      idpRequests: 4,
      evictions: 2,
      sizes: { verifiedTokens: 1, nextcloudTokens: 1 },
    })
  })

  it('gives a copy, which nobody can change for others', async () => {
    const { url, auth } = await start({})
    await ask(url)

    const stats = auth.stats()
    stats.verified = 7
    stats.rejected.no_credentials = 7

    expect(auth.stats()).toEqual({ ...nothing, rejected: { no_credentials: 1 } })
  })
})
