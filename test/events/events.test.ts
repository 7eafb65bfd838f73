import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.js'
import { InternalError, SubjectTokenRejectedError } from '../../src/errors/errors.js'
import { createEvents, reportFailure, type McpAuthEvent, type McpAuthStats } from '../../src/events.js'
import type { McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { ask, askWith, insufficientScope } from '../support/answers.js'
import { bareHost } from '../support/hosts.js'
import { protectedApp, showCaller } from '../support/protected-app.js'
import { world } from '../support/world.js'

/** An app behind the middleware, and the user who calls it. */
async function start(options: McpAuthOptions = {}, handlers = protectedApp) {
  const made = await world({ host: bareHost, options: { requiredScopes: ['notes:read'], ...options }, handlers })
  return { ...made, alice: { issuer: made.as.issuer, subject: 'alice' } }
}

describe('token.accepted', () => {
  it('tells who came with which client, and whether the token was known', async () => {
    const { url, as, clock, events, alice } = await start()
    const token = await as.mint()

    await askWith(url, token)
    clock.advance(1_500)
    await askWith(url, token)

    const accepted = { type: 'token.accepted', ...alice, clientId: 'mcp-client' }
    expect(events).toEqual([
      { ...accepted, cached: false, at: clock.now() - 1_500 },
      { ...accepted, cached: true, at: clock.now() },
    ])
  })

  it('is not for a CORS preflight', async () => {
    const { url, events } = await start()

    const { status } = await ask(url, { method: 'OPTIONS', headers: [['Access-Control-Request-Method', 'POST']] })

    expect([status, events]).toEqual([200, []])
  })
})

describe('token.rejected', () => {
  it('comes from requireScopes too, after the token has been accepted', async () => {
    const handlers = (auth: McpAuth) => [auth, auth.requireScopes('notes:write'), showCaller]
    const { url, as, events } = await start({}, handlers)

    expect(await askWith(url, await as.mint())).toEqual(insufficientScope('notes:read notes:write'))
    expect(events.map((event) => [event.type, 'reason' in event && event.reason])).toEqual([
      ['token.accepted', false],
      ['token.rejected', 'scope'],
    ])
  })

  it('comes from verify() too, and from what takes a token to act for its user', async () => {
    const { auth, as, events } = await start()
    const [bad, scopeless] = [await as.mint({ aud: 'x' }), await as.mint({ scope: 'other' })]

    await expect(auth.verify(bad)).rejects.toMatchObject({ reason: 'audience' })
    await expect(auth.verify(scopeless)).rejects.toMatchObject({ status: 403 })
    await expect(auth.getNextcloudToken({ token: bad })).rejects.toMatchObject({ reason: 'audience' })

    expect(events).toMatchObject(
      ['audience', 'scope', 'audience'].map((reason) => ({ type: 'token.rejected', reason })),
    )
    expect(auth.stats().rejected).toEqual({ audience: 2, scope: 1 })
  })
})

describe('idp.unavailable', () => {
  it.each([
    ['discovery', '/.well-known/openid-configuration'],
    ['jwks', '/jwks'],
    ['introspection', '/introspect'],
  ])('names what was asked of the provider: %s', async (operation, path) => {
    const { url, as, auth, clock, events } = await start()
    as.script(path, { status: 502 })

    await askWith(url, operation === 'introspection' ? 'opaque' : await as.mint())

    const message = `${as.issuer}${path} answers with status 502`
    expect(events).toEqual([
      { type: 'idp.unavailable', operation, message, httpStatus: 502, at: clock.now() },
      { type: 'request.failed', code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503, message, at: clock.now() },
    ])
    // It does not count as a token that is bad.
    expect(auth.stats()).toMatchObject({ rejected: {}, failed: { ERR_UPSTREAM_UNAVAILABLE: 1 } })
  })
})

describe('nextcloud.token and nextcloud.failed', () => {
  const ofNextcloud = (events: readonly McpAuthEvent[]) => events.filter(({ type }) => type.startsWith('nextcloud.'))

  it('tell where a token came from and how long it took', async () => {
    const { auth, as, clock, events, alice, signIn } = await start()
    const who = await signIn()
    as.script('/token', (_request, res) => {
      clock.advance(40)
      res.setHeader('content-type', 'application/json')
      res.end(JSON.stringify({ access_token: 'for-nextcloud', token_type: 'Bearer', expires_in: 300 }))
    })

    await auth.getNextcloudToken(who)
    await auth.getNextcloudToken(who)

    const token = { type: 'nextcloud.token', mode: 'token-exchange', ...alice, at: clock.now() }
    expect(ofNextcloud(events)).toEqual([
      { ...token, source: 'idp', durationMs: 40 },
      { ...token, source: 'cache', durationMs: 0 },
    ])
  })

  it('tell the operator why there was none, and what to look at', async () => {
    const { auth, as, clock, events, alice, signIn } = await start()
    as.script('/token', { status: 400, json: { error: 'invalid_target', error_description: 'no such audience' } })

    await expect(auth.getNextcloudToken(await signIn())).rejects.toMatchObject({ status: 502 })

    expect(ofNextcloud(events)).toEqual([
      {
        type: 'nextcloud.failed',
        mode: 'token-exchange',
        code: 'ERR_TOKEN_REQUEST',
        error: 'invalid_target',
        errorDescription: 'no such audience',
        hint: expect.stringMatching(/^Check nextcloud\.audience: /) as string,
        ...alice,
        at: clock.now(),
      },
    ])
  })
})

it('config.warning is an event at construction', async () => {
  const { events, clock } = await start({ discoveryUrl: 'http://keycloak:8080/meta' })
  const message = 'discoveryUrl is plain http off loopback: tokens can be read and keys replaced on the way'

  expect(events).toEqual([{ type: 'config.warning', option: 'discoveryUrl', message, at: clock.now() }])
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
    const { url, as, events } = await start()

    await askWith(url, await as.mint())
    await ask(url)

    expect(published.map((event) => (event as McpAuthEvent).type)).toEqual(['token.accepted', 'token.rejected'])
    expect(published).toEqual(events)
  })

  it('receives every event without onEvent as well', async () => {
    const { url, auth, as } = await start({ onEvent: undefined! })
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
    coolDowns: 0,
    evictions: 0,
    sizes: { verifiedTokens: 0, nextcloudTokens: 0 },
  }

  it('counts what has happened', async () => {
    const { url, auth, as } = await start({ cache: { verifiedTokens: 1, nextcloudTokens: 1 } })
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

  it('begins with nothing, and gives a copy, which nobody can change for others', async () => {
    const { url, auth } = await start()
    expect(auth.stats()).toEqual(nothing)
    await ask(url)

    const stats = auth.stats()
    stats.verified = 7
    stats.rejected.no_credentials = 7

    expect(auth.stats()).toEqual({ ...nothing, rejected: { no_credentials: 1 } })
  })
})

it('counts the failures of the server as failed, and none that is its caller’s', () => {
  const events = createEvents(() => undefined, systemClock)

  reportFailure(events, new SubjectTokenRejectedError())
  reportFailure(events, new InternalError('a fault'))

  expect(events.counters.failed).toEqual({ ERR_INTERNAL: 1 })
})
