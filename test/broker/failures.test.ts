import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { describe, expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/index.js'
import { failureOf, turn } from '../support/promises.js'
import { tokenAnswer, tokenError } from '../support/token-endpoint.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice' }
const ONE_ATTEMPT = { http: { retries: 0 } }
const UNAVAILABLE = { status: 503 }

/** The calls of a user whose token requests get these answers, one attempt each. */
async function setUpAnswers(...answers: Parameters<Awaited<ReturnType<typeof world>>['as']['script']>[1][]) {
  const setup = await world({ options: ONE_ATTEMPT })
  setup.as.script('/token', ...answers)
  return { ...setup, ...(await setup.signIn()).extra }
}

describe('an authorization server that gives no usable answer', () => {
  it.each<[string, Parameters<typeof setUpAnswers>[0]]>([
    ['a status 500 that says invalid_grant', { status: 500, json: { error: 'invalid_grant' } }],
    ['a redirect', { status: 302, headers: { location: '/elsewhere' }, json: { error: 'invalid_grant' } }],
    ['a status 201', { status: 201, ...tokenAnswer('token') }],
    ['no JSON', { text: '<html>Welcome to the proxy</html>' }],
    ['a broken connection', (_request, res) => res.destroy()],
    ['temporarily_unavailable', tokenError('temporarily_unavailable')],
  ])('is 503 with Retry-After and no challenge: %s', async (_name, answer) => {
    const { as, getNextcloudToken } = await setUpAnswers(answer)
    const failure = (await failureOf(getNextcloudToken())) as UpstreamUnavailableError
    expect(failure).toBeInstanceOf(UpstreamUnavailableError)
    expect(failure).toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503, expose: false, retryAfter: 1 })
    expect(failure.headers).toEqual({ 'Cache-Control': 'no-store', 'Retry-After': '1' })
    expect(failure.body).toEqual({
      error: 'temporarily_unavailable',
      error_description: 'The authorization server is not available',
    })
    // The MCP token stays here.
    expect(as.received('/elsewhere')).toEqual([])
  })

  it('is asked three times within one call, and one answer is enough', async () => {
    const { as, events, exchanges, signIn } = await world()
    as.script('/token', UNAVAILABLE, (_request, res) => res.destroy(), tokenAnswer('third time lucky'))
    expect(await (await signIn()).extra.getNextcloudToken()).toBe('third time lucky')
    expect(exchanges()).toBe(3)
    expect(events.map(({ type }) => type)).toEqual(['nextcloud.token'])
  })

  it.each(['invalid_grant', 'invalid_client', 'invalid_target', 'invalid_request'])(
    'is not what says %s: there is one attempt, and no other grant or endpoint is tried',
    async (error) => {
      const { as, signIn } = await world()
      as.script('/token', tokenError(error))
      await failureOf((await signIn()).extra.getNextcloudToken())
      expect(as.received().filter(({ method }) => method === 'POST')).toHaveLength(1)
    },
  )
})

describe('after a failure', () => {
  it('there is no attempt for 1 s, then 2 s, not even a forced one, and a success begins the count again', async () => {
    const { as, clock, getNextcloudToken } = await setUpAnswers(
      UNAVAILABLE,
      UNAVAILABLE,
      tokenAnswer('back'),
      UNAVAILABLE,
    )
    for (const [count, seconds] of [1, 2].entries()) {
      expect(await failureOf(getNextcloudToken())).toMatchObject({ retryAfter: seconds })
      clock.advance(seconds * 1_000 - 1)
      expect(await failureOf(getNextcloudToken())).toMatchObject({ status: 503, retryAfter: 1 })
      expect(await failureOf(getNextcloudToken({ forceRefresh: true }))).toMatchObject({ status: 503 })
      expect(as.received('/token')).toHaveLength(count + 1)
      clock.advance(1)
    }
    expect(await Promise.all([getNextcloudToken(), getNextcloudToken()])).toEqual(['back', 'back'])
    expect(as.received('/token')).toHaveLength(3)
    expect(await failureOf(getNextcloudToken({ forceRefresh: true }))).toMatchObject({ retryAfter: 1 })
  })

  it('no other caller is kept off: other users, another token, scopes and audience of the same user', async () => {
    const { as, clock, signIn } = await world({ options: ONE_ATTEMPT })
    const alice = await signIn()
    const bob = await signIn({ sub: 'bob' })
    clock.advance(1_000)
    const aliceLater = await signIn()
    as.script('/token', UNAVAILABLE, tokenAnswer('healthy again'))
    await failureOf(alice.extra.getNextcloudToken())

    for (const other of [bob.extra, aliceLater.extra]) expect(await other.getNextcloudToken()).toBe('healthy again')
    expect(await alice.extra.getNextcloudToken({ scopes: ['read'] })).toBe('healthy again')
    expect(await alice.extra.getNextcloudToken({ audience: 'files' })).toBe('healthy again')
    expect(await failureOf(alice.extra.getNextcloudToken())).toMatchObject({ status: 503 })
  })

  it.each(['invalid_grant', 'invalid_client'])('of %s the same refusal is given, without a request', async (error) => {
    const { as, clock, getNextcloudToken } = await setUpAnswers(tokenError(error, 'because'), tokenAnswer('mended'))
    const first = await failureOf(getNextcloudToken())
    clock.advance(999)
    const second = await failureOf(getNextcloudToken())
    expect(second).toEqual(first)
    expect((second as Error).constructor).toBe((first as Error).constructor)
    expect(as.received('/token')).toHaveLength(1)
    clock.advance(1)
    expect(await getNextcloudToken()).toBe('mended')
  })
})

it('discovery that fails is 503 for the token, and no token request is sent', async () => {
  const { as, clock, exchanges, signIn } = await world({
    options: ({ issuer }) => ({
      ...ONE_ATTEMPT,
      authorizationServer: { jwksUri: `${issuer}/jwks` },
    }),
  })
  const { getNextcloudToken } = (await signIn()).extra
  as.script('/.well-known/openid-configuration', UNAVAILABLE)
  expect(await failureOf(getNextcloudToken())).toMatchObject({ status: 503, retryAfter: 1 })
  expect(exchanges()).toBe(0)

  as.script('/.well-known/openid-configuration')
  clock.advance(1_000)
  expect(await getNextcloudToken()).toBe('nextcloud-token-1')
})

describe('a look at the grant of a cached token', () => {
  async function setUpHeld() {
    const memory = new MemoryStorage()
    let gate = Promise.resolve()
    const storage: StorageAdapter = {
      shared: true,
      get: (key) => gate.then(() => memory.get(key)),
      put: (...args) => memory.put(...args),
      delete: (...args) => memory.delete(...args),
    }
    const setup = await world({ mode: 'refresh-token', storage })
    await setup.connect()
    await setup.auth.getNextcloudToken(ALICE)
    setup.clock.advance(10_000)
    const key = setup.grants.store.keyOf({ issuer: setup.as.issuer, ...ALICE })
    return { ...setup, memory, key, hold: (until: Promise<void>) => void (gate = until) }
  }

  it('that finds one which does not open is the failure of the call, and reported', async () => {
    const { auth, memory, key, happened } = await setUpHeld()
    await memory.put(key, 'not to be opened', (await memory.get(key))!.version)

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ code: 'ERR_STORAGE_SEALED' })
    await happened('nextcloud.failed')
  })

  it('is not waited for any longer than its caller wants, which is no failure', async () => {
    const { auth, events, hold } = await setUpHeld()
    let release = (): void => undefined
    hold(new Promise((resolve) => (release = resolve)))
    const controller = new AbortController()
    const waiting = failureOf(auth.getNextcloudToken(ALICE, { signal: controller.signal }))
    await turn()

    controller.abort(new Error('enough'))

    expect(await waiting).toBe(controller.signal.reason)
    expect(events.filter(({ type }) => type === 'nextcloud.failed')).toEqual([])
    release()
  })
})
