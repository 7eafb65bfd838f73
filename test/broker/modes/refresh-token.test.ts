import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { NotProvisionedError, SealedValueError, StorageError, TokenRequestError } from '../../../src/errors/errors.js'
import { startNextcloud } from '../../support/nextcloud-server.js'
import { createRefreshTokens } from '../../support/refresh-tokens.js'
import { failureOf, turn } from '../../support/promises.js'
import { holdTokenRequests, tokenError } from '../../support/token-endpoint.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from '../../support/grant-constants.js'
import { afterStart, setUpConnected, type GrantWorld } from '../../support/connected-user.js'
import { world } from '../../support/world.js'

const ALICE = { subject: 'alice' }
const SECOND = 1_000
/** A cached token is not looked up in the store again. */
const UNCHECKED = { cache: { grantCheck: 3_600 } }
const ONE_ATTEMPT = { http: { retries: 0 } }

const typesOf = ({ events }: Pick<GrantWorld, 'events'>) => events.map(({ type }) => type)

describe('a user who has connected Nextcloud', () => {
  it('gets an access token for the stored refresh token, whose successor is stored', async () => {
    const { auth, first, stored, refreshTokens, grants } = await setUpConnected()

    const token = await auth.getNextcloudToken(ALICE)

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

  it('keeps the refresh token if the server does not rotate it', async () => {
    const setup = await setUpConnected({ refreshTokens: createRefreshTokens({ rotates: false }) })
    const { auth, clock, first, refreshTokens, stored } = setup
    await auth.getNextcloudToken(ALICE)
    clock.advance(300 * SECOND)
    await auth.getNextcloudToken(ALICE)

    expect(refreshTokens.presented).toEqual([first, first])
    expect(await stored()).toMatchObject({ state: 'active', refreshToken: first })
  })

  it('is served after the MCP token has expired: the grant is the user’s, and lives longer', async () => {
    const { clock, refreshTokens, signIn } = await setUpConnected()
    const info = await signIn({ exp: Math.floor(clock.now() / SECOND) + 60 })
    await info.extra.getNextcloudToken()

    clock.advance(400 * SECOND)

    expect(await info.extra.getNextcloudToken()).toBe(refreshTokens.accessTokens[1])
  })

  it('has a token apart from those of other users', async () => {
    const { auth, connect } = await setUpConnected()
    await connect('bob')

    const tokens = await Promise.all(['alice', 'bob', 'alice'].map((subject) => auth.getNextcloudToken({ subject })))

    expect(tokens[0]).toBe(tokens[2])
    expect(tokens[1]).not.toBe(tokens[0])
  })
})

describe('the request for a refresh', () => {
  it.each([
    ['and no scope', {}, {}],
    [
      'with scopes, resource and parameters that are configured',
      { scopes: ['a', 'b'], resource: 'https://cloud.example.com', parameters: { vendor: 'x' } },
      { scope: 'a b', resource: 'https://cloud.example.com', vendor: 'x' },
    ],
  ])('holds the refresh token and the client’s credentials, %s', async (_name, nextcloud, more) => {
    const { auth, as, first } = await setUpConnected({}, { nextcloud })

    await auth.getNextcloudToken(ALICE)

    const { form, headers } = as.received('/token')[0]!
    expect(Object.fromEntries(form)).toEqual({ grant_type: 'refresh_token', refresh_token: first, ...more })
    expect(headers.authorization).toMatch(/^Basic /)
  })
})

describe('a user who has no usable grant', () => {
  const refusal = async (setup: GrantWorld) => {
    const error = await failureOf(setup.open().getNextcloudToken(ALICE))
    expect(error).toBeInstanceOf(NotProvisionedError)
    return error as NotProvisionedError
  }

  it('never had one', async () => {
    const setup = await world({ mode: 'refresh-token' })

    expect(await refusal(setup)).toMatchObject({
      reason: 'never',
      status: 403,
      code: 'ERR_NOT_PROVISIONED',
      body: { error: 'nextcloud_not_connected', error_description: 'Nextcloud is not connected yet' },
    })
    expect(setup.as.received('/token')).toEqual([])
  })

  it('has lost it, as the server says once, until the user connects again', async () => {
    const setup = await setUpConnected()
    const { connect, events, first, refreshTokens, stored } = setup
    refreshTokens.revoke(first)

    expect(await refusal(setup)).toMatchObject({ reason: 'revoked' })
    expect(await refusal(setup)).toMatchObject({ reason: 'revoked' })

    expect(refreshTokens.presented).toHaveLength(1)
    expect(events).toContainEqual(expect.objectContaining({ type: 'grant.lost', reason: 'revoked', ...ALICE }))
    const left = await stored()
    expect(left).toMatchObject({ state: 'needs-reconnect', clients: [MCP_CLIENT] })
    expect(left).not.toHaveProperty('refreshToken')
    expect(left).not.toHaveProperty('accessToken')

    await connect()
    expect(await setup.auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[0])
  })

  it('has lost it while a consent was taken back: the token is not sent again to be refused again', async () => {
    const setup = await setUpConnected({ clientId: 'stays' })
    const { auth, as, connect, grants, stored } = setup
    await connect('alice', { clientId: 'withdrawn' })
    const requests = holdTokenRequests(as)
    const failure = failureOf(auth.getNextcloudToken({ ...ALICE, clientId: 'stays' }))
    await requests.arrival()
    await grants.store.disconnect({ issuer: as.issuer, subject: 'alice' }, 'withdrawn')
    requests.answer(tokenError('invalid_grant'))

    expect(await failure).toMatchObject({ reason: 'revoked' })

    expect(as.received('/token')).toHaveLength(1)
    expect(await stored()).toMatchObject({ state: 'needs-reconnect', clients: ['stays'] })
  })

  it('has let its stated end pass: the server is not asked, and the token is thrown away a day later', async () => {
    const refreshTokens = createRefreshTokens({ more: () => ({ refresh_expires_in: 1_000 }) })
    const setup = await setUpConnected({ refreshTokens })
    const { auth, clock, events, stored } = setup
    await auth.getNextcloudToken(ALICE)
    clock.advance(999_999)
    await auth.getNextcloudToken(ALICE)
    const end = 1_000_000

    clock.advance(end)
    for (let call = 0; call < 2; call += 1)
      expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'expired' })
    expect(refreshTokens.presented).toHaveLength(2)
    const lost = events.filter(({ type }) => type === 'grant.lost')
    expect(lost).toEqual([expect.objectContaining({ reason: 'expired' })])

    // It may be this clock that is wrong.
    clock.advance(86_399_999)
    expect(await refusal(setup)).toMatchObject({ reason: 'expired' })
    expect(await stored()).toHaveProperty('refreshToken')

    clock.advance(1)
    expect(await refusal(setup)).toMatchObject({ reason: 'expired' })
    expect(await stored()).not.toHaveProperty('refreshToken')
    expect(await refusal(setup)).toMatchObject({ reason: 'expired' })
  })

  it.each([0, -1, 'never', null])('is not one whose end is stated as %j, which says nothing', async (value) => {
    const refreshTokens = createRefreshTokens({ more: () => ({ refresh_expires_in: value }) })
    const { auth, clock, open } = await setUpConnected({ refreshTokens })
    await auth.getNextcloudToken(ALICE)
    clock.advance(100_000_000)

    await expect(open().getNextcloudToken(ALICE)).resolves.toBeTypeOf('string')
  })
})

describe('consent for each MCP client', () => {
  const AGREED = { ...ALICE, clientId: 'agreed' }
  const OTHER = { ...ALICE, clientId: 'other' }
  const setUpAgreed = () => setUpConnected({ clientId: AGREED.clientId })

  it('serves the clients that the user agreed to, and no other, cached or not, until they are agreed to', async () => {
    const { auth, connect, stored } = await setUpAgreed()

    for (let cached = 0; cached < 2; cached += 1) {
      expect(await failureOf(auth.getNextcloudToken(OTHER))).toMatchObject({ reason: 'consent', status: 403 })
      await expect(auth.getNextcloudToken(AGREED)).resolves.toBeTypeOf('string')
    }

    await connect('alice', OTHER)
    await expect(auth.getNextcloudToken(OTHER)).resolves.toBeTypeOf('string')
    expect(await stored()).toMatchObject({ clients: ['agreed', 'other'], generation: 2 })
  })

  it('is asked of each of those who share one request', async () => {
    const { auth, refreshTokens } = await setUpAgreed()

    const outcomes = await Promise.allSettled([OTHER, AGREED].map((user) => auth.getNextcloudToken(user)))

    expect(outcomes).toEqual([
      { status: 'rejected', reason: expect.objectContaining({ reason: 'consent' }) as unknown },
      { status: 'fulfilled', value: refreshTokens.accessTokens[0] },
    ])
  })

  it('is asked of one who comes again while a request of another is under way', async () => {
    const { auth, as, clock, refreshTokens } = await setUpAgreed()
    await auth.getNextcloudToken(AGREED)
    await failureOf(auth.getNextcloudToken(OTHER))
    clock.advance(300 * SECOND)
    const held = holdTokenRequests(as)

    const renewed = auth.getNextcloudToken(AGREED)
    await held.arrival()
    const refusal = failureOf(auth.getNextcloudToken(OTHER))
    held.answer(refreshTokens.process(as.received('/token').at(-1)!.form))

    expect(await refusal).toMatchObject({ reason: 'consent' })
    expect(await renewed).toBe(refreshTokens.accessTokens[1])
  })

  it('is not needed for the operator’s own work, and by no client if it is per user', async () => {
    const { auth, open } = await setUpAgreed()

    await expect(auth.getNextcloudToken(ALICE)).resolves.toBeTypeOf('string')
    const perUser = open({ connect: { consent: 'per-user' } })
    await expect(perUser.getNextcloudToken(OTHER)).resolves.toBeTypeOf('string')
  })

  it('is asked of every client again after the grant was lost: the user may have ended it over one of them', async () => {
    const { auth, connect, first, refreshTokens } = await setUpAgreed()
    refreshTokens.revoke(first)
    await failureOf(auth.getNextcloudToken(ALICE))

    await connect('alice', OTHER)

    await expect(auth.getNextcloudToken(OTHER)).resolves.toBeTypeOf('string')
    expect(await failureOf(auth.getNextcloudToken(AGREED))).toMatchObject({ reason: 'consent' })
  })

  it('that is withdrawn while Nextcloud refuses a token is not got round by the token that came meanwhile', async () => {
    const nextcloud = await startNextcloud()
    const setup = await setUpConnected({ clientId: 'stays' }, { nextcloud: { url: nextcloud.url } })
    const { auth, as, grants } = setup
    await setup.connect('alice', { clientId: 'withdrawn' })
    const info = await auth.verify(await as.mint({ client_id: 'withdrawn' }))
    nextcloud.handle(async (_request, res) => {
      await grants.store.disconnect({ issuer: as.issuer, subject: 'alice' }, 'withdrawn')
      await auth.rotate(ALICE)
      res.writeHead(401).end()
    })

    expect(await failureOf(auth.nextcloudFetch(info, '/status.php'))).toMatchObject({ reason: 'consent' })

    expect(nextcloud.received).toHaveLength(1)
  })
})

describe('a cached token', () => {
  it('is confirmed by one look into the store for each grantCheck, however many ask', async () => {
    const { auth, calls, clock } = await setUpConnected()
    await afterStart({ auth, clock })
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

  it('is not handed out any more once the user has disconnected: here at once, elsewhere after grantCheck', async () => {
    const { auth, clock, open } = await setUpConnected()
    const other = open()
    for (const each of [auth, other]) await each.getNextcloudToken(ALICE)

    await other.revoke(ALICE)

    expect(await failureOf(other.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })
    clock.advance(10 * SECOND)
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })
  })

  it('gives way to the one that another instance has got', async () => {
    const { auth, clock, open, refreshTokens } = await setUpConnected()
    await auth.getNextcloudToken(ALICE)
    await open().rotate(ALICE)

    clock.advance(10 * SECOND)

    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1])
    expect(refreshTokens.presented).toHaveLength(2)
  })

  it('serves on while it lives and the store is unavailable, and the next looks are not waited for', async () => {
    const { auth, clock, events, failing, open } = await setUpConnected()
    await afterStart({ auth, clock })
    const token = await auth.getNextcloudToken(ALICE)

    failing.add('get')
    for (let look = 0; look < 3; look += 1) {
      clock.advance(10 * SECOND)
      expect(await auth.getNextcloudToken(ALICE)).toBe(token)
      await turn()
    }
    expect(typesOf({ events }).filter((type) => type === 'storage.failed')).toHaveLength(3)

    failing.clear()
    await open().revoke(ALICE)
    clock.advance(10 * SECOND)
    await vi.waitFor(async () => {
      expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })
    })
  })

  it('is served while a look does not end, which is waited for once', async () => {
    const { clock, open, storage } = await setUpConnected()
    let unavailable = false
    const get = storage.get.bind(storage)
    storage.get = (key) => (unavailable ? new Promise(() => undefined) : get(key))
    onTestFinished(() => void (unavailable = false))
    const auth = open()
    const token = await auth.getNextcloudToken(ALICE)
    unavailable = true
    clock.advance(10 * SECOND)
    const first = auth.getNextcloudToken(ALICE)
    await turn()
    clock.advance(5 * SECOND)
    expect(await first).toBe(token)

    clock.advance(10 * SECOND)

    // Nothing moves the clock on any more, so this would not end if it waited.
    expect(await auth.getNextcloudToken(ALICE)).toBe(token)
  })

  it('is served after a look that sees consent taken away from another client, and not to that one', async () => {
    const { auth, as, calls, clock, connect, grants } = await setUpConnected({ clientId: 'first' })
    const [first, second] = ['first', 'second'].map((clientId) => ({ ...ALICE, clientId }))
    await connect('alice', { clientId: 'second' })
    const token = await auth.getNextcloudToken(first)
    await auth.getNextcloudToken(second)
    await vi.waitFor(() => expect(calls.at(-1)).toBe('delete'))
    await grants.store.disconnect({ issuer: as.issuer, subject: 'alice' }, 'second')

    clock.advance(10 * SECOND)
    expect(await auth.getNextcloudToken(first)).toBe(token)
    clock.advance(10 * SECOND)
    calls.length = 0
    expect(await auth.getNextcloudToken(first)).toBe(token)
    expect(calls).toEqual(['get'])
    expect(await failureOf(auth.getNextcloudToken(second))).toMatchObject({ reason: 'consent' })
  })
})

describe('several instances on one store', () => {
  it('spend each refresh token once: the others take the access token that the first has got', async () => {
    const { clock, first, open, refreshTokens } = await setUpConnected()
    const instances = Array.from({ length: 4 }, () => open())

    for (let round = 1; round <= 5; round += 1) {
      const tokens = await Promise.all(instances.map((auth) => auth.getNextcloudToken(ALICE)))
      expect(new Set(tokens)).toEqual(new Set([refreshTokens.accessTokens.at(-1)]))
      expect(refreshTokens.presented).toHaveLength(round)
      clock.advance(300 * SECOND)
    }
    expect(refreshTokens.familyOf(first)).toMatchObject({ revoked: false })
  })

  it('know a token from the store as such, and share none that is as good as dead', async () => {
    const { clock, events, open, refreshTokens } = await setUpConnected()
    for (let count = 0; count < 2; count += 1) await open().getNextcloudToken(ALICE)

    const sources = events.flatMap((event) => (event.type === 'nextcloud.token' ? [event.source] : []))
    expect(sources).toEqual(['idp', 'store'])

    clock.advance(300 * SECOND)
    expect(await open().getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1])
  })
})

describe('forceRefresh', () => {
  it('takes the token handed out last as bad, and takes one that is newer', async () => {
    const { auth, open, refreshTokens } = await setUpConnected()
    const other = open()
    for (const each of [auth, other]) await each.getNextcloudToken(ALICE)

    for (const each of [auth, other]) {
      expect(await each.getNextcloudToken(ALICE, { forceRefresh: true })).toBe(refreshTokens.accessTokens[1])
      expect(refreshTokens.presented).toHaveLength(2)
    }
  })

  it('takes the stored token as bad if this instance has handed out nothing yet', async () => {
    const { auth, open, refreshTokens } = await setUpConnected()
    await auth.getNextcloudToken(ALICE)

    expect(await open().getNextcloudToken(ALICE, { forceRefresh: true })).toBe(refreshTokens.accessTokens[1])
  })
})

describe('a refresh that fails', () => {
  it.each([
    ['is refused for the client', tokenError('invalid_client', undefined, 401), 'ERR_TOKEN_REQUEST', 1, 'active'],
    ['meets a server that is unavailable', { status: 503 }, 'ERR_UPSTREAM_UNAVAILABLE', 3, 'active'],
    ['meets a server that may have processed it', { status: 500 }, 'ERR_UPSTREAM_UNAVAILABLE', 1, 'presented'],
    ['meets a server that answers nonsense', { text: '<html>' }, 'ERR_UPSTREAM_UNAVAILABLE', 1, 'presented'],
  ])('since it %s leaves the grant as it was', async (_, answer, code, requests, state) => {
    const { auth, as, clock, first, refreshTokens, stored } = await setUpConnected()
    as.script('/token', answer)

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ code })

    // It is repeated within the call only if it surely was not processed.
    expect(as.received('/token')).toHaveLength(requests)
    expect(await stored()).toMatchObject({ state, refreshToken: first, lastError: { code } })
    as.script('/token', refreshTokens.answer)
    clock.advance(SECOND)
    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[0])
    expect(await stored()).not.toHaveProperty('lastError')
  })

  it('cools down, for as long as the server asks, and never blocks a connection that was made since', async () => {
    const { auth, as, clock, connect, refreshTokens } = await setUpConnected({}, ONE_ATTEMPT)
    as.script('/token', { status: 503, headers: { 'retry-after': '20' } })
    await failureOf(auth.getNextcloudToken(ALICE))

    clock.advance(19_999)
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ status: 503, retryAfter: 1 })
    expect(as.received('/token')).toHaveLength(1)

    clock.advance(1)
    await failureOf(auth.getNextcloudToken(ALICE))
    expect(as.received('/token')).toHaveLength(2)

    as.script('/token', refreshTokens.answer)
    await connect()
    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[0])
  })

  it('after a broken connection marks the token as perhaps spent, and the next call spends it once more', async () => {
    const { auth, as, clock, first, refreshTokens, stored } = await setUpConnected()
    as.script('/token', (_request, res) => res.destroy(), refreshTokens.answer)

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ status: 503 })
    const left = await stored()
    expect(left).toMatchObject({ state: 'presented', refreshToken: first })
    expect(left?.presentedBy).toBeUndefined()
    clock.advance(SECOND)

    await expect(auth.getNextcloudToken(ALICE)).resolves.toBeTypeOf('string')
    expect(as.received('/token')).toHaveLength(2)
  })

  it('ahead is not tried again at every call, nor does it disturb one', async () => {
    const { auth, as, calls, clock } = await setUpConnected({}, { ...UNCHECKED, ...ONE_ATTEMPT })
    await afterStart({ auth, clock })
    const token = await auth.getNextcloudToken(ALICE)
    as.script('/token', { status: 500 })
    clock.advance(275 * SECOND)
    calls.length = 0

    for (let call = 0; call < 5; call += 1) {
      expect(await auth.getNextcloudToken(ALICE)).toBe(token)
      await vi.waitFor(() => expect(calls.at(-1)).toBe('delete'))
    }

    expect(as.received('/token')).toHaveLength(2)
    expect(calls.filter((name) => name === 'get')).toHaveLength(1)
    clock.advance(SECOND)
    await auth.getNextcloudToken(ALICE)
    await vi.waitFor(() => expect(as.received('/token')).toHaveLength(3))
  })
})

describe('an answer with an access token that cannot be used', () => {
  it('is refused, and its refresh token is kept all the same', async () => {
    const refreshTokens = createRefreshTokens({ more: () => ({ token_type: 'DPoP' }) })
    const { auth, first, stored } = await setUpConnected({ refreshTokens })

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toBeInstanceOf(TokenRequestError)

    const left = await stored()
    expect(left).toMatchObject({ state: 'active', refreshToken: refreshTokens.familyOf(first).tokens[1] })
    expect(left).not.toHaveProperty('accessToken')
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toBeInstanceOf(TokenRequestError)
    expect(refreshTokens.presented).toHaveLength(1)
  })

  it('is not kept if it states no sensible life, and goes to those who wait for it', async () => {
    const refreshTokens = createRefreshTokens({ more: () => ({ expires_in: 0 }) })
    const { auth, stored } = await setUpConnected({ refreshTokens })

    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[0])
    expect(await stored()).not.toHaveProperty('accessToken')
    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1])
  })
})

describe('a store that fails', () => {
  it('is a 503 of its own class, of which no text gets out, and nothing is lost', async () => {
    const { auth, events, failing, first, refreshTokens, stored } = await setUpConnected()
    failing.add('get')

    const error = await failureOf(auth.getNextcloudToken(ALICE))

    expect(error).toBeInstanceOf(StorageError)
    expect(error).toMatchObject({ status: 503, code: 'ERR_STORAGE' })
    expect(JSON.stringify([error, events, (error as Error).message])).not.toMatch(/redis|password/)
    expect(refreshTokens.presented).toEqual([])
    failing.clear()
    expect(await stored()).toMatchObject({ refreshToken: first, state: 'active' })
  })

  /** The store fails from the moment at which the server has rotated. */
  async function setUpFailing() {
    const setup = await setUpConnected()
    setup.as.script('/token', (request, res) => {
      setup.failing.add('put')
      setup.refreshTokens.answer(request, res)
    })
    return setup
  }

  it('after the server has rotated is tried again, and then the pair is kept and written first', async () => {
    const { auth, events, failing, first, refreshTokens, stored } = await setUpFailing()

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toBeInstanceOf(StorageError)

    expect(typesOf({ events }).filter((type) => type === 'storage.failed').length).toBeGreaterThan(3)
    expect(await stored()).toMatchObject({ state: 'presented', refreshToken: first })

    failing.clear()
    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[0])
    expect(refreshTokens.presented).toEqual([first])
    const [, second] = refreshTokens.familyOf(first).tokens
    expect(await stored()).toMatchObject({ state: 'active', refreshToken: second })
  })

  it('for a moment after the server has rotated costs the caller nothing but that moment', async () => {
    const { auth, clock, failing, refreshTokens } = await setUpFailing()
    const { sleep } = clock
    vi.spyOn(clock, 'sleep').mockImplementationOnce((ms) => {
      failing.clear()
      return sleep(ms)
    })

    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[0])
  })

  it.each([
    [
      'by itself, when it is back',
      ({ clock }: Awaited<ReturnType<typeof setUpFailing>>) => Promise.resolve(clock.advance(SECOND)),
    ],
    ['on close()', ({ auth }: Awaited<ReturnType<typeof setUpFailing>>) => auth.close()],
    [
      'on close(), while which it is away for a moment longer',
      ({ auth, clock, failing }: Awaited<ReturnType<typeof setUpFailing>>) => {
        failing.add('put')
        const { sleep } = clock
        vi.spyOn(clock, 'sleep').mockImplementationOnce((ms) => {
          failing.clear()
          return sleep(ms)
        })
        return auth.close()
      },
    ],
  ])('gets what it missed %s', async (_name, cause) => {
    const setup = await setUpFailing()
    await failureOf(setup.auth.getNextcloudToken(ALICE))

    setup.failing.clear()
    await cause(setup)

    await vi.waitFor(async () => expect(await setup.stored()).toMatchObject({ state: 'active' }))
    expect(await setup.open().getNextcloudToken(ALICE)).toBe(setup.refreshTokens.accessTokens[0])
    expect(setup.refreshTokens.presented).toEqual([setup.first])
  })
})

describe('a grant that cannot be opened', () => {
  it('is an error of its own, for every call that must open it, until it is disconnected', async () => {
    const { first, open, refreshTokens, stored } = await setUpConnected()
    const auth = open({ encryptionKey: Buffer.alloc(32, 'other').toString('base64url') })

    for (const call of [auth.getNextcloudToken(ALICE), auth.isProvisioned(ALICE), auth.rotate(ALICE)]) {
      expect(await failureOf(call)).toBeInstanceOf(SealedValueError)
    }
    expect(await stored()).toMatchObject({ refreshToken: first })
    expect(refreshTokens.presented).toEqual([])

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect(await stored()).toBeUndefined()
  })

  it('opens with an older key, and is sealed with the new one when it is written', async () => {
    const { open, stored } = await setUpConnected()
    const newKey = Buffer.alloc(32, 'new').toString('base64url')

    await open({ encryptionKey: [newKey, ENCRYPTION_KEY] }).getNextcloudToken(ALICE)

    expect(await failureOf(stored())).toBeInstanceOf(SealedValueError)
    expect(await open({ encryptionKey: newKey }).isProvisioned(ALICE)).toBe(true)
  })
})

it('close() waits until the lease is given back', async () => {
  const { calls, open, storage } = await setUpConnected()
  const remove = storage.delete.bind(storage)
  let removed = false
  vi.spyOn(storage, 'delete').mockImplementation(async (...args) => {
    await turn()
    await turn()
    removed = await remove(...args)
    return removed
  })
  const auth = open()
  await auth.getNextcloudToken(ALICE)
  expect(removed).toBe(false)

  await auth.close()

  expect(removed).toBe(true)
  expect(calls.at(-1)).toBe('delete')
})
