import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { TokenRequestError, UpstreamUnavailableError } from '../../src/index.js'
import { failureOf, holdTokenRequests, setUp, tokenAnswer, tokenError, turn } from '../support/broker-setup.js'
import { manualClock } from '../support/clock.js'
import type { ScriptedAnswer } from '../support/scripted-authorization-server.js'

const ONE_ATTEMPT = { http: { retries: 0 } }
const AWAY = { status: 503 }

describe('an authorization server that gives no usable answer', () => {
  const unusable: Record<string, ScriptedAnswer> = {
    'a status 500': { status: 500 },
    'a status 503': { status: 503 },
    'a status 429': { status: 429 },
    'a 5xx that says invalid_grant': { status: 500, json: { error: 'invalid_grant' } },
    'a redirect': { status: 302, headers: { location: '/elsewhere' } },
    'a redirect that says invalid_grant': {
      status: 302,
      headers: { location: '/elsewhere' },
      json: { error: 'invalid_grant' },
    },
    'a status 201': { status: 201, ...tokenAnswer('token') },
    'a status 204': { status: 204 },
    'a permanent redirect': { status: 308, headers: { location: '/elsewhere' } },
    'no JSON': { text: '<html>Welcome to the proxy</html>' },
    'a refusal that is not JSON': { status: 403, text: 'Forbidden' },
    'a refusal without error': { status: 400, json: { message: 'no' } },
    'a refusal with an error that is no text': { status: 400, json: { error: { code: 4 } } },
    'a refusal with an empty error': { status: 400, json: { error: '' } },
    'a list': { json: ['access_token', 'token'] },
    'a text': { json: 'token' },
    null: { text: 'null' },
    'too many bytes': tokenAnswer('x'.repeat(2_000)),
    'a body that breaks off': (_request, res) => {
      res.writeHead(200, { 'content-length': '100' }).write('{"access_token":')
      setImmediate(() => res.destroy())
    },
    'a broken connection': (_request, res) => res.destroy(),
    temporarily_unavailable: tokenError('temporarily_unavailable'),
    server_error: tokenError('server_error'),
    'temporarily_unavailable under 403': tokenError('temporarily_unavailable', undefined, 403),
  }

  it.each(Object.entries(unusable))('is 503 with Retry-After and no challenge: %s', async (_name, answer) => {
    const { as, signIn } = await setUp({ http: { retries: 0, maxResponseBytes: 1_500 } })
    as.script('/token', answer)
    const failure = await failureOf((await signIn()).extra.getNextcloudToken())
    expect(failure).toBeInstanceOf(UpstreamUnavailableError)
    expect(failure).toMatchObject({
      code: 'ERR_UPSTREAM_UNAVAILABLE',
      status: 503,
      statusCode: 503,
      expose: false,
      retryAfter: 1,
      headers: { 'Cache-Control': 'no-store', 'Retry-After': '1' },
      body: { error: 'temporarily_unavailable', error_description: 'The authorization server is not available' },
    })
    expect((failure as UpstreamUnavailableError).headers).not.toHaveProperty('WWW-Authenticate')
  })

  it('is 503 when it refuses connections', async () => {
    const { as, signIn } = await setUp()
    const { getNextcloudToken } = (await signIn()).extra
    await as.stop()
    const failure = await failureOf(getNextcloudToken())
    expect(failure).toMatchObject({ status: 503, message: `${as.issuer}/token cannot be reached (ECONNREFUSED)` })
  })

  it('is 503 after http.timeout when it does not answer', async () => {
    const { as, signIn } = await setUp({ http: { timeout: 50 } })
    holdTokenRequests(as)
    const failure = await failureOf((await signIn()).extra.getNextcloudToken())
    expect(failure).toMatchObject({ status: 503, message: `${as.issuer}/token did not answer within 50 ms` })
  })

  it('is never followed to where it redirects: the MCP token stays here', async () => {
    const { as, signIn } = await setUp(ONE_ATTEMPT)
    as.script('/token', { status: 307, headers: { location: '/elsewhere' } })
    await failureOf((await signIn()).extra.getNextcloudToken())
    expect(as.received('/elsewhere')).toEqual([])
  })
})

describe('attempts within one call', () => {
  it('are three, with a pause that grows, and one of them is enough', async () => {
    const { as, clock, events, exchanges, signIn } = await setUp()
    as.script('/token', AWAY, (_request, res) => res.destroy(), tokenAnswer('third time lucky'))
    expect(await (await signIn()).extra.getNextcloudToken()).toBe('third time lucky')
    expect(clock.pauses).toEqual([100, 200])
    expect(exchanges()).toBe(3)
    expect(events.map(({ type }) => type)).toEqual(['nextcloud.token'])
  })

  it('end with the third: the last failure is the answer', async () => {
    const { as, clock, signIn } = await setUp()
    as.script('/token', AWAY, AWAY, { status: 429 }, tokenAnswer('never asked for'))
    expect(await failureOf((await signIn()).extra.getNextcloudToken())).toMatchObject({ httpStatus: 429 })
    expect(clock.pauses).toEqual([100, 200])
    expect(as.received('/token')).toHaveLength(3)
  })

  it('are as many as http.retries says', async () => {
    const { as, signIn } = await setUp({ http: { retries: 4 } })
    as.script('/token', AWAY)
    await failureOf((await signIn()).extra.getNextcloudToken())
    expect(as.received('/token')).toHaveLength(5)
  })

  it.each([
    [0, [50, 100]],
    [0.999, [149.9, 299.8]],
  ])('are apart by half to one and a half of the pause, by chance (%d)', async (chance, pauses) => {
    const { as, clock, signIn } = await setUp({}, { ...manualClock(), random: () => chance })
    as.script('/token', AWAY)
    await failureOf((await signIn()).extra.getNextcloudToken())
    expect(clock.pauses).toEqual(pauses.map((pause) => expect.closeTo(pause, 6) as number))
  })

  it('wait for as long as Retry-After says', async () => {
    const { as, clock, signIn } = await setUp()
    as.script('/token', { status: 429, headers: { 'retry-after': '3' } }, tokenAnswer('after three seconds'))
    expect(await (await signIn()).extra.getNextcloudToken()).toBe('after three seconds')
    expect(clock.pauses).toEqual([3_000])
  })

  it('are not made when Retry-After goes beyond http.timeout', async () => {
    const { as, clock, signIn } = await setUp({ http: { timeout: 5_000 } })
    as.script('/token', { status: 503, headers: { 'retry-after': '5' } }, tokenAnswer('too late'))
    expect(await failureOf((await signIn()).extra.getNextcloudToken())).toMatchObject({ status: 503, retryAfter: 5 })
    expect(clock.pauses).toEqual([])
  })

  it('are not made when their pause goes beyond what is left of http.timeout', async () => {
    const { as, clock, signIn } = await setUp({ http: { timeout: 300 } })
    as.script('/token', AWAY)
    await failureOf((await signIn()).extra.getNextcloudToken())
    expect(clock.pauses).toEqual([100])
    expect(as.received('/token')).toHaveLength(2)
  })

  it.each(['invalid_grant', 'invalid_client', 'invalid_target', 'invalid_request'])(
    'are one when the answer is %s',
    async (error) => {
      const { as, clock, signIn } = await setUp()
      as.script('/token', tokenError(error))
      await failureOf((await signIn()).extra.getNextcloudToken())
      expect(as.received('/token')).toHaveLength(1)
      expect(clock.pauses).toEqual([])
    },
  )

  it('are one when the answer cannot be used', async () => {
    const { as, signIn } = await setUp()
    as.script('/token', tokenAnswer(''))
    await failureOf((await signIn()).extra.getNextcloudToken())
    expect(as.received('/token')).toHaveLength(1)
  })
})

describe('after a failure', () => {
  it('there is no attempt for 1 s, then 2 s, doubling to 30 s', async () => {
    const { as, clock, signIn } = await setUp(ONE_ATTEMPT)
    as.script('/token', AWAY)
    const { getNextcloudToken } = (await signIn()).extra
    let sent = 0
    for (const seconds of [1, 2, 4, 8, 16, 30, 30, 30]) {
      const failure = await failureOf(getNextcloudToken())
      expect(failure).toMatchObject({ retryAfter: seconds, headers: { 'Retry-After': String(seconds) } })
      expect(as.received('/token')).toHaveLength((sent += 1))

      clock.advance(seconds * 1_000 - 1)
      expect(await failureOf(getNextcloudToken())).toMatchObject({ status: 503, retryAfter: 1 })
      expect(await failureOf(getNextcloudToken({ forceRefresh: true }))).toMatchObject({ status: 503 })
      expect(as.received('/token')).toHaveLength(sent)
      clock.advance(1)
    }
  })

  it('the answer says how long it still is, and what it was', async () => {
    const { as, clock, signIn } = await setUp(ONE_ATTEMPT)
    as.script('/token', { status: 502, headers: { 'retry-after': '20' } })
    const { getNextcloudToken } = (await signIn()).extra
    const first = await failureOf(getNextcloudToken())
    clock.advance(7_400)
    const later = await failureOf(getNextcloudToken())
    expect(first).toMatchObject({ retryAfter: 20, httpStatus: 502 })
    expect(later).toMatchObject({ retryAfter: 13, httpStatus: 502, headers: { 'Retry-After': '13' } })
    expect(later).toHaveProperty('message', (first as Error).message)
  })

  it.each([
    ['120', 120],
    [new Date(Date.UTC(2026, 0, 1, 0, 2)).toUTCString(), 120],
    ['0', 1],
    ['999999999', 3_600],
    ['soon', 1],
    ['-5', 1],
    [new Date(Date.UTC(2025, 0, 1)).toUTCString(), 1],
  ])('Retry-After: %s keeps it off for %i s', async (retryAfter, seconds) => {
    const { as, clock, signIn } = await setUp(ONE_ATTEMPT)
    as.script('/token', { status: 503, headers: { 'retry-after': retryAfter } }, tokenAnswer('back'))
    const { getNextcloudToken } = (await signIn()).extra
    expect(await failureOf(getNextcloudToken())).toMatchObject({ retryAfter: seconds })
    clock.advance(seconds * 1_000 - 1)
    await failureOf(getNextcloudToken())
    expect(as.received('/token')).toHaveLength(1)
    clock.advance(1)
    expect(await getNextcloudToken()).toBe('back')
  })

  it('a success begins the count anew', async () => {
    const { as, clock, signIn } = await setUp(ONE_ATTEMPT)
    as.script('/token', AWAY, AWAY, tokenAnswer('back'), AWAY)
    const { getNextcloudToken } = (await signIn()).extra
    expect(await failureOf(getNextcloudToken())).toMatchObject({ retryAfter: 1 })
    clock.advance(1_000)
    expect(await failureOf(getNextcloudToken())).toMatchObject({ retryAfter: 2 })
    clock.advance(2_000)
    expect(await getNextcloudToken()).toBe('back')
    expect(await failureOf(getNextcloudToken({ forceRefresh: true }))).toMatchObject({ retryAfter: 1 })
  })

  it('nobody and nothing else is kept off: other users, another token, scopes and audience of the same user', async () => {
    const { as, clock, signIn } = await setUp(ONE_ATTEMPT)
    const alice = await signIn()
    const bob = await signIn({ sub: 'bob' })
    clock.advance(1_000)
    const aliceLater = await signIn()
    as.script('/token', AWAY, tokenAnswer('healthy again'))
    await failureOf(alice.extra.getNextcloudToken())

    for (const other of [bob.extra, aliceLater.extra]) expect(await other.getNextcloudToken()).toBe('healthy again')
    expect(await alice.extra.getNextcloudToken({ scopes: ['read'] })).toBe('healthy again')
    expect(await alice.extra.getNextcloudToken({ audience: 'files' })).toBe('healthy again')
    expect(await failureOf(alice.extra.getNextcloudToken())).toMatchObject({ status: 503 })
  })

  it.each(['invalid_grant', 'invalid_client', 'invalid_target'])(
    'of %s the same refusal is given, unasked',
    async (error) => {
      const { as, clock, signIn } = await setUp()
      as.script('/token', tokenError(error, 'because'), tokenAnswer('mended'))
      const { getNextcloudToken } = (await signIn()).extra
      const first = await failureOf(getNextcloudToken())
      clock.advance(999)
      const second = await failureOf(getNextcloudToken())
      expect(second).toEqual(first)
      expect((second as Error).constructor).toBe((first as Error).constructor)
      expect(as.received('/token')).toHaveLength(1)
      clock.advance(1)
      expect(await getNextcloudToken()).toBe('mended')
    },
  )

  it('a refusal and an outage count together', async () => {
    const { as, clock, signIn } = await setUp(ONE_ATTEMPT)
    as.script('/token', tokenError('invalid_client'), AWAY)
    const { getNextcloudToken } = (await signIn()).extra
    expect(await failureOf(getNextcloudToken())).toBeInstanceOf(TokenRequestError)
    clock.advance(1_000)
    expect(await failureOf(getNextcloudToken())).toMatchObject({ status: 503, retryAfter: 2 })
  })

  it('a call that comes when it is over shares its request with the others that do', async () => {
    const { as, clock, exchanges, signIn } = await setUp(ONE_ATTEMPT)
    as.script('/token', AWAY, tokenAnswer('back'))
    const { getNextcloudToken } = (await signIn()).extra
    await failureOf(getNextcloudToken())
    clock.advance(1_000)
    expect(await Promise.all([getNextcloudToken(), getNextcloudToken()])).toEqual(['back', 'back'])
    expect(exchanges()).toBe(2)
  })
})

describe('clientAuth that throws', () => {
  it('is a failure of this server, and stays one while it cools down', async () => {
    let calls = 0
    const clientAuth = () => {
      calls += 1
      throw new Error('the key vault is away')
    }
    const { as, clock, signIn } = await setUp({ clientAuth })
    const { getNextcloudToken } = (await signIn()).extra
    for (const expectedCalls of [1, 1, 2]) {
      const failure = await failureOf(getNextcloudToken())
      expect(failure).toMatchObject({ name: 'InternalError', code: 'ERR_INTERNAL', status: 500 })
      expect(failure).toHaveProperty('cause.message', 'the key vault is away')
      expect((failure as { headers: object }).headers).toEqual({ 'Cache-Control': 'no-store' })
      expect(calls).toBe(expectedCalls)
      clock.advance(500)
    }
    expect(as.received('/token')).toEqual([])
  })
})

describe('clientAuth that outlasts http.timeout', () => {
  /** Timers that a test fires; what goes through sockets is not held up by them. */
  async function setUpSlowClientAuth() {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const ends: (() => void)[] = []
    const clientAuth = () => new Promise<void>((resolve) => ends.push(resolve))
    const setup = await setUp({ clientAuth, http: { timeout: 5_000 } })
    const end = (): void => ends.forEach((resolve) => resolve())
    onTestFinished(end)
    const failure = failureOf((await setup.signIn()).extra.getNextcloudToken())
    await turn()
    setup.clock.advance(5_000)
    vi.advanceTimersByTime(5_000)
    return { ...setup, end, failure: () => failure }
  }

  it('is an outage once it ends, and nothing is sent', async () => {
    const { as, end, failure } = await setUpSlowClientAuth()
    end()
    expect(await failure()).toMatchObject({ status: 503 })
    await turn()
    expect(as.received('/token')).toEqual([])
  })

  it('is a failure at http.timeout, whether or not it ever ends', async () => {
    const { failure } = await setUpSlowClientAuth()
    let failed: unknown
    void failure().then((error) => (failed = error))
    await turn()
    expect(failed).toHaveProperty('status')
  })
})

describe('discovery', () => {
  const DOCUMENT = '/.well-known/openid-configuration'

  it('that fails is 503 for the token, and no token request is sent', async () => {
    const { as, clock, exchanges, signIn } = await setUp(({ issuer }) => ({
      ...ONE_ATTEMPT,
      authorizationServer: { jwksUri: `${issuer}/jwks` },
    }))
    const { getNextcloudToken } = (await signIn()).extra
    as.script(DOCUMENT, AWAY)
    expect(await failureOf(getNextcloudToken())).toMatchObject({ status: 503, retryAfter: 1 })
    expect(exchanges()).toBe(0)

    as.script(DOCUMENT)
    clock.advance(1_000)
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
  })

  it('without a token endpoint is a configuration error that names the option', async () => {
    const { as, exchanges, signIn } = await setUp()
    delete as.metadata['token_endpoint']
    const failure = await failureOf((await signIn()).extra.getNextcloudToken())
    expect(failure).toMatchObject({
      name: 'ConfigurationError',
      status: 500,
      option: 'authorizationServer.tokenEndpoint',
    })
    expect(exchanges()).toBe(0)
  })

  it('is not needed where the endpoints are configured', async () => {
    const { as, signIn } = await setUp(({ issuer }) => ({
      authorizationServer: { tokenEndpoint: `${issuer}/token`, jwksUri: `${issuer}/jwks` },
    }))
    as.script(DOCUMENT, AWAY)
    expect(await (await signIn()).extra.getNextcloudToken()).toBe('nextcloud-token-1')
    expect(as.received(DOCUMENT)).toEqual([])
  })
})
