import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { NotProvisionedError, SealedValueError, StorageError, TokenRequestError } from '../../../src/errors/errors.js'
import { failureOf, tokenError, turn } from '../../support/broker-setup.js'
import { ENCRYPTION_KEY, MCP_CLIENT, setUpGrants, type GrantSetup } from '../../support/grant-setup.js'
import { startNextcloud } from '../../support/nextcloud-server.js'
import { createRefreshTokens } from '../../support/refresh-tokens.js'
import { watchedStorage } from '../../support/storages.js'

const ALICE = { subject: 'alice' }

const typesOf = ({ events }: GrantSetup) => events.map(({ type }) => type)

describe('a user who has connected Nextcloud', () => {
  it('gets an access token for the stored refresh token, whose successor is stored', async () => {
    const { as, open, connect, stored, refreshTokens, grants } = await setUpGrants()
    const auth = open()
    const first = await connect()

    const token = await (await auth.verify(await as.mint())).extra.getNextcloudToken()

    const [, second = ''] = refreshTokens.familyOf(first).tokens
    expect(refreshTokens.accessTokens).toEqual([token])
    expect(refreshTokens.presented).toEqual([first])
    expect(await stored()).toMatchObject({
      state: 'active',
      refreshToken: second,
      fingerprint: grants.fingerprint(second),
      accessToken: { token, expiresIn: 300 },
      clients: [MCP_CLIENT],
      scopes: ['openid'],
      generation: 1,
    })
  })

  it('is served from memory until the token is to be renewed, which is done ahead', async () => {
    const { clock, open, connect, refreshTokens } = await setUpGrants()
    const auth = open({ cache: { grantCheck: 3_600 } })
    await connect()
    const first = await auth.getNextcloudToken(ALICE)

    clock.advance(239_999)
    expect(await auth.getNextcloudToken(ALICE)).toBe(first)
    expect(refreshTokens.presented).toHaveLength(1)

    clock.advance(1)
    expect(await auth.getNextcloudToken(ALICE)).toBe(first)
    await vi.waitFor(() => expect(refreshTokens.accessTokens).toHaveLength(2))
    await vi.waitFor(async () => expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1]))
    expect(refreshTokens.presented).toHaveLength(2)
  })

  it('never gets a token that is dead', async () => {
    const { clock, open, connect, refreshTokens } = await setUpGrants()
    const auth = open({ cache: { grantCheck: 3_600 } })
    await connect()
    await auth.getNextcloudToken(ALICE)

    clock.advance(300_000)

    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1])
  })

  it('keeps the refresh token where the server does not rotate it', async () => {
    const setup = await setUpGrants({ refreshTokens: createRefreshTokens({ rotates: false }) })
    const auth = setup.open()
    const first = await setup.connect()
    await auth.getNextcloudToken(ALICE)

    setup.clock.advance(300_000)
    await auth.getNextcloudToken(ALICE)

    expect(setup.refreshTokens.presented).toEqual([first, first])
    expect(await setup.stored()).toMatchObject({ state: 'active', refreshToken: first })
  })

  it('any number of callers make one request', async () => {
    const { open, connect, refreshTokens } = await setUpGrants()
    const auth = open()
    await connect()

    const tokens = await Promise.all(Array.from({ length: 100 }, () => auth.getNextcloudToken(ALICE)))

    expect(new Set(tokens)).toEqual(new Set(refreshTokens.accessTokens))
    expect(refreshTokens.presented).toHaveLength(1)
  })

  it('is served after the MCP token has expired: the grant is the user’s, and lives longer', async () => {
    const { as, clock, open, connect, refreshTokens } = await setUpGrants()
    const auth = open()
    await connect()
    const info = await auth.verify(await as.mint({ exp: Math.floor(clock.now() / 1_000) + 60 }))
    await info.extra.getNextcloudToken()

    clock.advance(400_000)

    expect(await info.extra.getNextcloudToken()).toBe(refreshTokens.accessTokens[1])
  })

  it('two users have their own tokens', async () => {
    const { open, connect } = await setUpGrants()
    const auth = open()
    await connect('alice')
    await connect('bob')

    const tokens = await Promise.all(['alice', 'bob', 'alice'].map((subject) => auth.getNextcloudToken({ subject })))

    expect(tokens[0]).toBe(tokens[2])
    expect(tokens[1]).not.toBe(tokens[0])
  })
})

describe('the request for a refresh', () => {
  it('holds the refresh token and the client’s credentials, and no scope', async () => {
    const { as, open, connect } = await setUpGrants()
    const first = await connect()

    await open().getNextcloudToken(ALICE)

    const [{ form, headers } = { form: new URLSearchParams(), headers: {} }] = as.received('/token')
    expect(Object.fromEntries(form)).toEqual({ grant_type: 'refresh_token', refresh_token: first })
    expect(headers.authorization).toMatch(/^Basic /)
  })

  it('holds scopes, resource and parameters that are configured', async () => {
    const { as, open, connect } = await setUpGrants()
    const first = await connect()
    const nextcloud = { scopes: ['a', 'b'], resource: 'https://cloud.example.com', parameters: { vendor: 'x' } }

    await open({ nextcloud }).getNextcloudToken(ALICE)

    expect(Object.fromEntries(as.received('/token')[0]!.form)).toEqual({
      grant_type: 'refresh_token',
      refresh_token: first,
      scope: 'a b',
      resource: 'https://cloud.example.com',
      vendor: 'x',
    })
  })

  it.each([{ scopes: ['a'] }, { audience: 'other' }])('cannot be changed by the call: %j', async (options) => {
    const { open, connect, refreshTokens } = await setUpGrants()
    const auth = open()
    await connect()

    expect(await failureOf(auth.getNextcloudToken(ALICE, options))).toBeInstanceOf(TypeError)
    expect(refreshTokens.presented).toEqual([])
  })
})

describe('a user who has no usable grant', () => {
  const refusal = async (setup: GrantSetup, who: object = ALICE) => {
    const error = await failureOf(setup.open().getNextcloudToken(who as typeof ALICE))
    expect(error).toBeInstanceOf(NotProvisionedError)
    return error as NotProvisionedError
  }

  it('never had one', async () => {
    const setup = await setUpGrants()

    expect(await refusal(setup)).toMatchObject({
      reason: 'never',
      status: 403,
      code: 'ERR_NOT_PROVISIONED',
      body: { error: 'nextcloud_not_connected', error_description: 'Nextcloud is not connected yet' },
    })
    expect(setup.as.received('/token')).toEqual([])
  })

  it('has lost it, as the server says once: it is not asked again', async () => {
    const setup = await setUpGrants()
    setup.refreshTokens.revoke(await setup.connect())

    expect(await refusal(setup)).toMatchObject({ reason: 'revoked' })
    expect(await refusal(setup)).toMatchObject({ reason: 'revoked' })

    expect(setup.refreshTokens.presented).toHaveLength(1)
    expect(setup.events).toContainEqual(expect.objectContaining({ type: 'grant.lost', reason: 'revoked', ...ALICE }))
    const left = await setup.stored()
    expect(left).toMatchObject({ state: 'needs-reconnect', clients: [MCP_CLIENT] })
    expect(left).not.toHaveProperty('refreshToken')
    expect(left).not.toHaveProperty('accessToken')
  })

  it('has let its stated end pass: the server is not asked', async () => {
    const refreshTokens = createRefreshTokens({ more: () => ({ refresh_expires_in: 1_000 }) })
    const setup = await setUpGrants({ refreshTokens })
    const auth = setup.open()
    await setup.connect()
    await auth.getNextcloudToken(ALICE)

    setup.clock.advance(999_999)
    await auth.getNextcloudToken(ALICE)
    setup.clock.advance(1_000_000)

    for (let call = 0; call < 2; call += 1) {
      expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({
        code: 'ERR_NOT_PROVISIONED',
        reason: 'expired',
      })
    }
    expect(refreshTokens.presented).toHaveLength(2)
    expect(setup.events.filter(({ type }) => type === 'grant.lost')).toEqual([
      expect.objectContaining({ reason: 'expired' }),
    ])
  })

  it('keeps the refresh token for a day beyond its stated end: it may be this clock that is wrong', async () => {
    const refreshTokens = createRefreshTokens({ more: () => ({ refresh_expires_in: 1_000 }) })
    const setup = await setUpGrants({ refreshTokens })
    await setup.connect()
    await setup.open().getNextcloudToken(ALICE)
    const end = 1_000_000

    setup.clock.advance(end + 86_399_999)
    expect(await refusal(setup)).toMatchObject({ reason: 'expired' })
    expect(await setup.stored()).toHaveProperty('refreshToken')

    setup.clock.advance(1)
    expect(await refusal(setup)).toMatchObject({ reason: 'expired' })
    expect(await setup.stored()).not.toHaveProperty('refreshToken')
    expect(await refusal(setup)).toMatchObject({ reason: 'expired' })
  })

  it.each([0, -1, 'never', null])('is not one whose end is stated as %j, which says nothing', async (value) => {
    const refreshTokens = createRefreshTokens({ more: () => ({ refresh_expires_in: value }) })
    const setup = await setUpGrants({ refreshTokens })
    await setup.connect()
    await setup.open().getNextcloudToken(ALICE)
    setup.clock.advance(100_000_000)

    await expect(setup.open().getNextcloudToken(ALICE)).resolves.toBeTypeOf('string')
  })

  it('has disconnected', async () => {
    const setup = await setUpGrants()
    await setup.connect()
    await setup.open().revoke(ALICE)

    expect(await refusal(setup)).toMatchObject({ reason: 'revoked' })
  })

  it('has connected again since, and is served', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    setup.refreshTokens.revoke(await setup.connect())
    await failureOf(auth.getNextcloudToken(ALICE))

    await setup.connect()

    expect(await auth.getNextcloudToken(ALICE)).toBe(setup.refreshTokens.accessTokens[0])
  })
})

describe('consent for each MCP client', () => {
  const tokenFor = async ({ as }: GrantSetup, auth: ReturnType<GrantSetup['open']>, clientId: string) =>
    (await auth.verify(await as.mint({ client_id: clientId }))).extra.getNextcloudToken()

  it('serves the clients that the user agreed to, and no other, cached or not', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    await setup.connect('alice', { clientId: 'agreed' })

    expect(await failureOf(tokenFor(setup, auth, 'other'))).toMatchObject({ reason: 'consent', status: 403 })
    await expect(tokenFor(setup, auth, 'agreed')).resolves.toBeTypeOf('string')
    expect(await failureOf(tokenFor(setup, auth, 'other'))).toMatchObject({ reason: 'consent' })
    await expect(tokenFor(setup, auth, 'agreed')).resolves.toBeTypeOf('string')
  })

  it('is asked of each of those who share one request', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    await setup.connect('alice', { clientId: 'agreed' })

    const outcomes = await Promise.allSettled(['other', 'agreed'].map((clientId) => tokenFor(setup, auth, clientId)))

    expect(outcomes).toEqual([
      { status: 'rejected', reason: expect.objectContaining({ reason: 'consent' }) as unknown },
      { status: 'fulfilled', value: setup.refreshTokens.accessTokens[0] },
    ])
  })

  it('is asked of one who comes again while a request of another is under way', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    await setup.connect('alice', { clientId: 'agreed' })
    const [agreed, other] = await Promise.all(
      ['agreed', 'other'].map(
        async (clientId) => (await auth.verify(await setup.as.mint({ client_id: clientId }))).extra,
      ),
    )
    await agreed?.getNextcloudToken()
    await failureOf(other?.getNextcloudToken() ?? Promise.resolve())
    setup.clock.advance(300_000)
    let answer = (): void => undefined
    const asked = new Promise<void>((resolve) => {
      setup.as.script('/token', (request, res) => {
        answer = () => setup.refreshTokens.answer(request, res)
        resolve()
      })
    })

    const renewed = agreed?.getNextcloudToken()
    await asked
    const refusal = failureOf(other?.getNextcloudToken() ?? Promise.resolve())
    answer()

    expect(await refusal).toMatchObject({ reason: 'consent' })
    expect(await renewed).toBe(setup.refreshTokens.accessTokens[1])
  })

  it('is not needed for the operator’s own work, and by no client where it is per user', async () => {
    const setup = await setUpGrants()
    await setup.connect('alice', { clientId: 'agreed' })

    await expect(setup.open().getNextcloudToken(ALICE)).resolves.toBeTypeOf('string')
    const perUser = setup.open({ connect: { consent: 'per-user' } })
    await expect(tokenFor(setup, perUser, 'other')).resolves.toBeTypeOf('string')
  })

  it('is asked of every client anew after the grant was lost: the user may have ended it over one of them', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    setup.refreshTokens.revoke(await setup.connect('alice', { clientId: 'distrusted' }))
    await failureOf(auth.getNextcloudToken(ALICE))

    await setup.connect('alice', { clientId: 'agreed' })

    await expect(tokenFor(setup, auth, 'agreed')).resolves.toBeTypeOf('string')
    expect(await failureOf(tokenFor(setup, auth, 'distrusted'))).toMatchObject({ reason: 'consent' })
  })

  it('that is withdrawn while Nextcloud refuses a token is not got round by the token that came meanwhile', async () => {
    const nextcloud = await startNextcloud()
    const setup = await setUpGrants()
    const auth = setup.open({ nextcloud: { url: nextcloud.url } })
    await setup.connect('alice', { clientId: 'stays' })
    await setup.connect('alice', { clientId: 'withdrawn' })
    const info = await auth.verify(await setup.as.mint({ client_id: 'withdrawn' }))
    nextcloud.handle(async (_request, res) => {
      await setup.grants.store.disconnect({ issuer: setup.as.issuer, subject: 'alice' }, 'withdrawn')
      await auth.rotate(ALICE)
      res.writeHead(401).end()
    })

    expect(await failureOf(auth.nextcloudFetch(info, '/status.php'))).toMatchObject({ reason: 'consent' })

    expect(nextcloud.received).toHaveLength(1)
  })

  it('is seen as soon as it is given elsewhere', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    await setup.connect('alice', { clientId: 'agreed' })
    await tokenFor(setup, auth, 'agreed')
    await failureOf(tokenFor(setup, auth, 'other'))

    await setup.connect('alice', { clientId: 'other' })

    await expect(tokenFor(setup, auth, 'other')).resolves.toBeTypeOf('string')
    expect(await setup.stored()).toMatchObject({ clients: ['agreed', 'other'], generation: 2 })
  })
})

describe('a cached token', () => {
  it('is confirmed by one look into the store for each grantCheck, however many ask', async () => {
    const { storage, calls } = watchedStorage()
    const { clock, open, connect } = await setUpGrants({ storage })
    const auth = open()
    await connect()
    await auth.getNextcloudToken(ALICE)
    await vi.waitFor(() => expect(calls.at(-1)).toBe('delete'))

    calls.length = 0
    clock.advance(9_999)
    await Promise.all(Array.from({ length: 50 }, () => auth.getNextcloudToken(ALICE)))
    expect(calls).toEqual([])

    clock.advance(1)
    await Promise.all(Array.from({ length: 50 }, () => auth.getNextcloudToken(ALICE)))
    await auth.getNextcloudToken(ALICE)
    expect(calls).toEqual(['get'])
  })

  it('is not handed out any more once the user has disconnected elsewhere', async () => {
    const { clock, open, connect } = await setUpGrants()
    const [auth, other] = [open(), open()]
    await connect()
    await auth.getNextcloudToken(ALICE)
    await other.revoke(ALICE)

    clock.advance(10_000)

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })
  })

  it('is not handed out any more at once where the user disconnects here', async () => {
    const { open, connect } = await setUpGrants()
    const auth = open()
    await connect()
    await auth.getNextcloudToken(ALICE)
    await auth.revoke(ALICE)

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })
  })

  it('gives way to the one that another instance has got', async () => {
    const { clock, open, connect, refreshTokens } = await setUpGrants()
    const [auth, other] = [open(), open()]
    await connect()
    await auth.getNextcloudToken(ALICE)
    await other.rotate(ALICE)

    clock.advance(10_000)

    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1])
    expect(refreshTokens.presented).toHaveLength(2)
  })

  it('serves on while it lives and the store is away, and the next looks are not waited for', async () => {
    const { storage, failing } = watchedStorage()
    const setup = await setUpGrants({ storage })
    const auth = setup.open()
    await setup.connect()
    const token = await auth.getNextcloudToken(ALICE)

    failing.add('get')
    for (let look = 0; look < 3; look += 1) {
      setup.clock.advance(10_000)
      expect(await auth.getNextcloudToken(ALICE)).toBe(token)
      await turn()
    }
    expect(typesOf(setup).filter((type) => type === 'storage.failed')).toHaveLength(3)

    failing.clear()
    await setup.open().revoke(ALICE)
    setup.clock.advance(10_000)
    await vi.waitFor(async () => {
      expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })
    })
  })
})

describe('several instances on one store', () => {
  it('spend each refresh token once: the others take the access token that the first has got', async () => {
    const { clock, open, connect, refreshTokens } = await setUpGrants()
    const instances = Array.from({ length: 4 }, () => open())
    const first = await connect()

    for (let round = 1; round <= 5; round += 1) {
      const tokens = await Promise.all(instances.map((auth) => auth.getNextcloudToken(ALICE)))
      expect(new Set(tokens)).toEqual(new Set([refreshTokens.accessTokens.at(-1)]))
      expect(refreshTokens.presented).toHaveLength(round)
      clock.advance(300_000)
    }
    expect(refreshTokens.familyOf(first)).toMatchObject({ revoked: false })
  })

  it('know a token from the store as such', async () => {
    const setup = await setUpGrants()
    await setup.connect()
    await setup.open().getNextcloudToken(ALICE)
    await setup.open().getNextcloudToken(ALICE)

    const sources = setup.events.flatMap((event) => (event.type === 'nextcloud.token' ? [event.source] : []))
    expect(sources).toEqual(['idp', 'store'])
  })

  it('do not share a token that is as good as dead', async () => {
    const { clock, open, connect, refreshTokens } = await setUpGrants()
    await connect()
    await open().getNextcloudToken(ALICE)
    clock.advance(300_000)

    expect(await open().getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1])
  })
})

describe('forceRefresh', () => {
  it('takes the token handed out last as bad, and takes one that is newer', async () => {
    const { open, connect, refreshTokens } = await setUpGrants()
    const [auth, other] = [open(), open()]
    await connect()
    await auth.getNextcloudToken(ALICE)
    await other.getNextcloudToken(ALICE)

    await auth.getNextcloudToken(ALICE, { forceRefresh: true })
    expect(refreshTokens.presented).toHaveLength(2)
    expect(await other.getNextcloudToken(ALICE, { forceRefresh: true })).toBe(refreshTokens.accessTokens[1])
    expect(refreshTokens.presented).toHaveLength(2)
  })

  it('asks the server where this instance has handed out nothing yet', async () => {
    const { open, connect, refreshTokens } = await setUpGrants()
    await connect()
    await open().getNextcloudToken(ALICE)

    expect(await open().getNextcloudToken(ALICE, { forceRefresh: true })).toBe(refreshTokens.accessTokens[1])
  })
})

describe('a refresh that fails', () => {
  it.each([
    ['is refused for the client', tokenError('invalid_client', undefined, 401), 'ERR_TOKEN_REQUEST', 502],
    ['is refused for the grant', tokenError('unauthorized_client'), 'ERR_TOKEN_REQUEST', 502],
    ['meets a server that is overloaded', { status: 429 }, 'ERR_UPSTREAM_UNAVAILABLE', 503],
    ['meets a server that is broken', { status: 500 }, 'ERR_UPSTREAM_UNAVAILABLE', 503],
    ['meets a server that says so', tokenError('temporarily_unavailable'), 'ERR_UPSTREAM_UNAVAILABLE', 503],
    ['meets a server that answers nonsense', { text: '<html>' }, 'ERR_UPSTREAM_UNAVAILABLE', 503],
  ])('since it %s leaves the grant as it was', async (_, answer, code, status) => {
    const setup = await setUpGrants()
    const auth = setup.open({ http: { retries: 0 } })
    const first = await setup.connect()
    setup.as.script('/token', answer)

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ code, status })

    expect(await setup.stored()).toMatchObject({ refreshToken: first, lastError: { code } })
    setup.as.script('/token', setup.refreshTokens.answer)
    setup.clock.advance(1_000)
    expect(await auth.getNextcloudToken(ALICE)).toBe(setup.refreshTokens.accessTokens[0])
    expect(await setup.stored()).not.toHaveProperty('lastError')
  })

  it('cools down, for as long as the server asks', async () => {
    const setup = await setUpGrants()
    const auth = setup.open({ http: { retries: 0 } })
    await setup.connect()
    setup.as.script('/token', { status: 503, headers: { 'retry-after': '20' } })
    await failureOf(auth.getNextcloudToken(ALICE))

    setup.clock.advance(19_999)
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ status: 503, retryAfter: 1 })
    expect(setup.as.received('/token')).toHaveLength(1)

    setup.clock.advance(1)
    await failureOf(auth.getNextcloudToken(ALICE))
    expect(setup.as.received('/token')).toHaveLength(2)
  })

  it('never blocks a connection that was made since', async () => {
    const setup = await setUpGrants()
    const auth = setup.open({ http: { retries: 0 } })
    await setup.connect()
    setup.as.script('/token', { status: 503, headers: { 'retry-after': '3600' } })
    await failureOf(auth.getNextcloudToken(ALICE))

    setup.as.script('/token', setup.refreshTokens.answer)
    await setup.connect()

    expect(await auth.getNextcloudToken(ALICE)).toBe(setup.refreshTokens.accessTokens[0])
  })

  it.each([
    ['429', { status: 429 }, 3],
    ['503', { status: 503 }, 3],
    ['500, since it may have been processed', { status: 500 }, 1],
    ['nonsense', { text: '{' }, 1],
  ])('is repeated within the call only when it surely was not processed: %s', async (_, answer, requests) => {
    const setup = await setUpGrants()
    await setup.connect()
    setup.as.script('/token', answer)

    await failureOf(setup.open().getNextcloudToken(ALICE))

    expect(setup.as.received('/token')).toHaveLength(requests)
  })

  it('is repeated when the connection is refused', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    await setup.connect()
    await auth.ready()
    await setup.as.stop()

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ status: 503 })
    expect(setup.clock.pauses.filter((pause) => pause > 50)).toHaveLength(2)
    expect(await setup.stored()).toMatchObject({ state: 'active' })
    await setup.as.restart()
  })

  it('after a broken connection marks the token as perhaps spent, and the next call spends it once more', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    const first = await setup.connect()
    setup.as.script('/token', (_request, res) => res.destroy(), setup.refreshTokens.answer)

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ status: 503 })
    expect(await setup.stored()).toMatchObject({ state: 'presented', refreshToken: first })
    setup.clock.advance(1_000)

    await expect(auth.getNextcloudToken(ALICE)).resolves.toBeTypeOf('string')
    expect(setup.as.received('/token')).toHaveLength(2)
  })
})

describe('a renewal ahead that fails', () => {
  it('is not tried again at every call, nor does it disturb one', async () => {
    const { storage, calls } = watchedStorage()
    const setup = await setUpGrants({ storage })
    const auth = setup.open({ cache: { grantCheck: 3_600 }, http: { retries: 0 } })
    await setup.connect()
    const token = await auth.getNextcloudToken(ALICE)
    setup.as.script('/token', { status: 500 })
    setup.clock.advance(240_000)
    calls.length = 0

    for (let call = 0; call < 5; call += 1) {
      expect(await auth.getNextcloudToken(ALICE)).toBe(token)
      await vi.waitFor(() => expect(calls.at(-1)).toBe('delete'))
    }

    expect(setup.as.received('/token')).toHaveLength(2)
    expect(calls.filter((name) => name === 'get')).toHaveLength(1)
    setup.clock.advance(1_000)
    await auth.getNextcloudToken(ALICE)
    await vi.waitFor(() => expect(setup.as.received('/token')).toHaveLength(3))
  })
})

describe('an answer with an access token that cannot be used', () => {
  it('is refused, and its refresh token is kept all the same', async () => {
    const refreshTokens = createRefreshTokens({ more: () => ({ token_type: 'DPoP' }) })
    const setup = await setUpGrants({ refreshTokens })
    const auth = setup.open()
    const first = await setup.connect()

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toBeInstanceOf(TokenRequestError)

    const left = await setup.stored()
    expect(left).toMatchObject({ state: 'active', refreshToken: refreshTokens.familyOf(first).tokens[1] })
    expect(left).not.toHaveProperty('accessToken')
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toBeInstanceOf(TokenRequestError)
    expect(refreshTokens.presented).toHaveLength(1)
  })

  it('is not kept where it says no sensible life, and goes to those who wait for it', async () => {
    const refreshTokens = createRefreshTokens({ more: () => ({ expires_in: 0 }) })
    const { open, connect, stored } = await setUpGrants({ refreshTokens })
    const auth = open()
    await connect()

    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[0])
    expect(await stored()).not.toHaveProperty('accessToken')
    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1])
  })
})

describe('a store that fails', () => {
  it('is a 503 of its own class, of which no text gets out, and nothing is lost', async () => {
    const { storage, failing } = watchedStorage()
    const setup = await setUpGrants({ storage })
    const first = await setup.connect()
    failing.add('get')

    const error = await failureOf(setup.open().getNextcloudToken(ALICE))

    expect(error).toBeInstanceOf(StorageError)
    expect(error).toMatchObject({ status: 503, code: 'ERR_STORAGE' })
    expect(JSON.stringify([error, setup.events, (error as Error).message])).not.toMatch(/redis|password/)
    expect(setup.refreshTokens.presented).toEqual([])
    failing.clear()
    expect(await setup.stored()).toMatchObject({ refreshToken: first, state: 'active' })
  })

  it('after the server has rotated is tried again, and then the pair is kept and written first', async () => {
    const { storage, failing } = watchedStorage()
    const setup = await setUpGrants({ storage })
    const auth = setup.open()
    const first = await setup.connect()
    setup.as.script('/token', (request, res) => {
      failing.add('put')
      setup.refreshTokens.answer(request, res)
    })

    const error = await failureOf(auth.getNextcloudToken(ALICE))

    expect(error).toBeInstanceOf(StorageError)
    expect(typesOf(setup).filter((type) => type === 'storage.failed').length).toBeGreaterThan(3)
    expect(await setup.stored()).toMatchObject({ state: 'presented', refreshToken: first })

    failing.clear()
    expect(await auth.getNextcloudToken(ALICE)).toBe(setup.refreshTokens.accessTokens[0])
    expect(setup.refreshTokens.presented).toEqual([first])
    expect(await setup.stored()).toMatchObject({
      state: 'active',
      refreshToken: setup.refreshTokens.familyOf(first).tokens[1],
    })
  })

  it('for a moment after the server has rotated costs the caller nothing but that moment', async () => {
    const { storage, failing } = watchedStorage()
    const setup = await setUpGrants({ storage })
    await setup.connect()
    setup.as.script('/token', (request, res) => {
      failing.add('put')
      const { sleep } = setup.clock
      vi.spyOn(setup.clock, 'sleep').mockImplementationOnce((ms) => {
        failing.clear()
        return sleep(ms)
      })
      setup.refreshTokens.answer(request, res)
    })

    expect(await setup.open().getNextcloudToken(ALICE)).toBe(setup.refreshTokens.accessTokens[0])
  })

  it('gets what it missed by itself, when it is back', async () => {
    const { storage, failing } = watchedStorage()
    const setup = await setUpGrants({ storage })
    const first = await setup.connect()
    setup.as.script('/token', (request, res) => {
      failing.add('put')
      setup.refreshTokens.answer(request, res)
    })
    await failureOf(setup.open().getNextcloudToken(ALICE))

    failing.clear()
    setup.clock.advance(1_000)

    await vi.waitFor(async () => expect(await setup.stored()).toMatchObject({ state: 'active' }))
    expect(await setup.open().getNextcloudToken(ALICE)).toBe(setup.refreshTokens.accessTokens[0])
    expect(setup.refreshTokens.presented).toEqual([first])
  })

  it('gets what it missed on close()', async () => {
    const { storage, failing } = watchedStorage()
    const setup = await setUpGrants({ storage })
    const auth = setup.open()
    await setup.connect()
    setup.as.script('/token', (request, res) => {
      failing.add('put')
      setup.refreshTokens.answer(request, res)
    })
    await failureOf(auth.getNextcloudToken(ALICE))
    failing.clear()

    await auth.close()

    expect(await setup.stored()).toMatchObject({ state: 'active' })
  })
})

describe('what cannot be opened', () => {
  it('is an error of its own, for every call that has to open it, and stays where it is', async () => {
    const setup = await setUpGrants()
    const first = await setup.connect()
    const otherKey = Buffer.alloc(32, 'other').toString('base64url')
    const auth = setup.open({ encryptionKey: otherKey })

    for (const call of [auth.getNextcloudToken(ALICE), auth.isProvisioned(ALICE), auth.rotate(ALICE)]) {
      expect(await failureOf(call)).toBeInstanceOf(SealedValueError)
    }
    expect(await setup.stored()).toMatchObject({ refreshToken: first })
    expect(setup.refreshTokens.presented).toEqual([])
  })

  it('opens with an older key, and is sealed with the new one when it is written', async () => {
    const setup = await setUpGrants()
    await setup.connect()
    const newKey = Buffer.alloc(32, 'new').toString('base64url')

    await setup.open({ encryptionKey: [newKey, ENCRYPTION_KEY] }).getNextcloudToken(ALICE)

    expect(await failureOf(setup.stored())).toBeInstanceOf(SealedValueError)
    expect(await setup.open({ encryptionKey: newKey }).isProvisioned(ALICE)).toBe(true)
  })

  it('is deleted by a disconnection, and replaced by a connection', async () => {
    const setup = await setUpGrants()
    await setup.connect()
    const auth = setup.open({ encryptionKey: Buffer.alloc(32, 'other').toString('base64url') })
    expect(await auth.revoke(ALICE)).toEqual({ revoked: false })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect(await setup.stored()).toBeUndefined()
  })
})

describe('a look into the store', () => {
  it('sees that consent was taken away elsewhere, and goes on from what it saw', async () => {
    const { storage, calls } = watchedStorage()
    const { as, clock, open, connect, grants } = await setUpGrants({ storage })
    const auth = open()
    await connect('alice', { clientId: 'first' })
    await connect('alice', { clientId: 'second' })
    const token = await auth.getNextcloudToken({ ...ALICE, clientId: 'first' })
    await auth.getNextcloudToken({ ...ALICE, clientId: 'second' })
    await vi.waitFor(() => expect(calls.at(-1)).toBe('delete'))
    await grants.store.disconnect({ issuer: as.issuer, subject: 'alice' }, 'second')

    clock.advance(10_000)
    expect(await auth.getNextcloudToken({ ...ALICE, clientId: 'first' })).toBe(token)
    clock.advance(10_000)
    calls.length = 0
    expect(await auth.getNextcloudToken({ ...ALICE, clientId: 'first' })).toBe(token)
    expect(calls).toEqual(['get'])

    expect(await failureOf(auth.getNextcloudToken({ ...ALICE, clientId: 'second' }))).toMatchObject({
      reason: 'consent',
    })
  })

  it('that does not end is waited for once, and then no more while the store is away', async () => {
    const { storage } = watchedStorage()
    const setup = await setUpGrants({ storage })
    let away = false
    const get = storage.get.bind(storage)
    storage.get = (key) => (away ? new Promise(() => undefined) : get(key))
    onTestFinished(() => void (away = false))
    const auth = setup.open()
    await setup.connect()
    const token = await auth.getNextcloudToken(ALICE)
    away = true
    setup.clock.advance(10_000)
    const first = auth.getNextcloudToken(ALICE)
    await turn()
    setup.clock.advance(5_000)
    expect(await first).toBe(token)

    setup.clock.advance(10_000)

    // Nothing moves the clock on any more, so this would not end if it waited.
    expect(await auth.getNextcloudToken(ALICE)).toBe(token)
  })
})

describe('close()', () => {
  it('waits until the lease is given back', async () => {
    const { storage, calls } = watchedStorage()
    const setup = await setUpGrants({ storage })
    await setup.connect()
    const remove = storage.delete.bind(storage)
    let removed = false
    vi.spyOn(storage, 'delete').mockImplementation(async (...args) => {
      await turn()
      await turn()
      removed = await remove(...args)
      return removed
    })
    const auth = setup.open()
    await auth.getNextcloudToken(ALICE)
    expect(removed).toBe(false)

    await auth.close()

    expect(removed).toBe(true)
    expect(calls.at(-1)).toBe('delete')
  })
})
