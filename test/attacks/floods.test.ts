import { describe, expect, it } from 'vitest'
import { bareHost } from '../support/hosts.js'
import { failureOf } from '../support/promises.js'
import { signingKey } from '../support/scripted-authorization-server.js'
import { watchedStorage } from '../support/storages.js'
import { world } from '../support/world.js'

// Many of a stranger's requests leave no entry, and cost the authorization server a few requests in all. Counts, not times.

const MANY = 500
/** Requests for keys: the first, and two more looks (the clock stands still). */
const MOST_FETCHES = 3

describe('tokens of strangers', () => {
  it.each<[what: string, header: (at: number) => object, claims?: (at: number) => Record<string, unknown>]>([
    ['of ever other kids', (at) => ({ kid: `kid-${at}` })],
    ['of a known kid, with signatures that do not fit', () => ({ kid: 'first' }), (at) => ({ jti: `${at}` })],
    ['of no kid', () => ({ kid: undefined }), (at) => ({ jti: `${at}` })],
    ['of ever other algorithms', (at) => ({ kid: `kid-${at}`, typ: `typ-${at}` })],
  ])('%s cost a few requests for keys, and leave nothing', async (_what, header, claims = () => ({})) => {
    const { as, auth, clock } = await world({ mode: 'none' })
    const stranger = await signingKey('stranger')
    const iat = clock.now() / 1_000 - 60

    for (let at = 0; at < MANY; at += 1) {
      const token = await as.mint({ iat, ...claims(at) }, { key: stranger, header: header(at) })
      expect(await failureOf(auth.verify(token))).toMatchObject({ status: 401 })
    }

    expect(as.received('/jwks').length).toBeLessThanOrEqual(MOST_FETCHES)
    expect(as.received('/.well-known/openid-configuration')).toHaveLength(1)
    expect(auth.stats().sizes.verifiedTokens).toBe(0)
    // An honest one is let in at once.
    expect((await auth.verify(await as.mint())).subject).toBe('alice')
  })

  it('that are no JWTs are asked about nowhere, where nobody can be', async () => {
    const { as, auth } = await world({ mode: 'none' })
    for (let at = 0; at < MANY; at += 1) await failureOf(auth.verify(`opaque-${at}`))
    expect([as.received().length, auth.stats().sizes.verifiedTokens]).toEqual([0, 0])
  })

  it('of one user, good ones, leave as many entries as the cache has places', async () => {
    const { as, open } = await world({ mode: 'none' })
    const auth = open({ cache: { verifiedTokens: 20 } })
    for (let at = 0; at < 60; at += 1) await auth.verify(await as.mint({ jti: `${at}` }))
    expect(auth.stats().sizes.verifiedTokens).toBeLessThanOrEqual(20)
    expect(as.received('/jwks')).toHaveLength(1)
  })
})

describe('visits of strangers to the connect pages', () => {
  const FORM: readonly (readonly [string, string])[] = [['Content-Type', 'application/x-www-form-urlencoded']]

  it.each<[what: string, path: (at: number) => string, method: string, body?: string]>([
    ['with made-up tickets', (at) => `/nextcloud/connect?ticket=${at}`, 'GET'],
    ['with answers to made-up tickets', (at) => `/nextcloud/connect?ticket=${at}`, 'POST', 'token=a.b&answer=yes'],
    ['with made-up states', (at) => `/nextcloud/callback?code=${at}&state=${at}`, 'GET'],
    ['with refusals of made-up states', (at) => `/nextcloud/callback?error=access_denied&state=${at}`, 'GET'],
    ['with disconnections', () => '/nextcloud/disconnect', 'POST', 'token=a.b'],
    ['for a status without a token', () => '/nextcloud/status', 'GET'],
    ['to end what others have', () => '/nextcloud', 'POST', 'token=a.b&do=all'],
  ])('%s write nothing, and ask the authorization server for no token', async (_what, path, method, body) => {
    const { storage, calls } = watchedStorage()
    const { browser, as } = await world({ mode: 'refresh-token', host: bareHost, storage })
    const stranger = browser()

    for (let at = 0; at < 50; at += 1) {
      const { status } = await stranger.open(path(at), { method, headers: FORM, ...(body !== undefined && { body }) })
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(500)
    }

    expect(calls.filter((call) => call !== 'get' && call !== 'list')).toEqual([])
    expect(as.received('/token')).toEqual([])
  })
})
