import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { NotProvisionedError, UpstreamUnavailableError, type StorageAdapter } from '../../../src/index.js'
import { createRefreshTokens } from '../../support/refresh-tokens.js'
import type { ScriptedAnswer } from '../../support/scripted-authorization-server.js'
import { failureOf, turn } from '../../support/promises.js'
import { holdTokenRequests, tokenAnswer, tokenError } from '../../support/token-endpoint.js'
import { setUpConnected, type GrantWorld } from '../../support/connected-user.js'
import { world, type World } from '../../support/world.js'

/** With the first token in the cache, and that long after it was asked for. */
async function setUpAfter(ms: number, ...answers: ScriptedAnswer[]) {
  const setup = await world({ options: { http: { retries: 0 } } })
  if (answers.length > 0) setup.as.script('/token', ...answers)
  const info = await setup.signIn()
  const first = await info.extra.getNextcloudToken()
  setup.clock.advance(ms)
  return { ...setup, info, first, getNextcloudToken: info.extra.getNextcloudToken }
}

/** Answers so many milliseconds after the request. */
const late =
  ({ clock }: Pick<World, 'clock'>, ms: number, token: string): ScriptedAnswer =>
  (_request, res) => {
    clock.advance(ms)
    res.end(JSON.stringify(tokenAnswer(token).json))
  }

describe('a token of 300 s', () => {
  it('is served for its first 270 s, and is not renewed unless it is asked for', async () => {
    const { clock, exchanges, first, getNextcloudToken } = await setUpAfter(269_999)
    expect(await getNextcloudToken()).toBe(first)
    clock.advance(30_000)
    await turn()
    expect(exchanges()).toBe(1)
  })

  it.each([270_000, 299_999])('is served at once after %i ms, and renewed meanwhile, once', async (ms) => {
    const { as, auth, exchanges, first, getNextcloudToken } = await setUpAfter(ms)
    const requests = holdTokenRequests(as)
    const before = auth.stats()

    const tokens = await Promise.all(Array.from({ length: 100 }, () => getNextcloudToken()))

    expect(new Set(tokens)).toEqual(new Set([first]))
    await requests.arrival()
    expect(await getNextcloudToken()).toBe(first)
    await turn()
    expect(exchanges()).toBe(2)
    expect(auth.stats()).toMatchObject({
      nextcloudCacheHits: before.nextcloudCacheHits + 101,
      nextcloudCacheMisses: before.nextcloudCacheMisses,
    })
    requests.answer(tokenAnswer('renewed'))
  })

  it('is never served from 300 s on, also while its renewal is under way: the call waits for that', async () => {
    const { as, clock, exchanges, first, getNextcloudToken } = await setUpAfter(299_999)
    const requests = holdTokenRequests(as)
    expect(await getNextcloudToken()).toBe(first)
    await requests.arrival()
    clock.advance(1)
    const call = getNextcloudToken()
    requests.answer(tokenAnswer('renewed'))
    expect(await call).toBe('renewed')
    expect(exchanges()).toBe(2)
    clock.advance(300_000)
    as.script('/token', tokenAnswer('third'))
    expect(await getNextcloudToken()).toBe('third')
  })

  it('gives way to the renewed one, whose life counts from the renewal', async () => {
    const { clock, exchanges, fetched, first, getNextcloudToken } = await setUpAfter(275_000)
    expect(await getNextcloudToken()).toBe(first)
    await fetched(2)
    clock.advance(269_999)
    expect(await getNextcloudToken()).toBe('nextcloud-token-2')
    await turn()
    expect(exchanges()).toBe(2)
    clock.advance(1)
    expect(await getNextcloudToken()).toBe('nextcloud-token-2')
    await fetched(3)
    expect(await getNextcloudToken()).toBe('nextcloud-token-3')
  })

  it('is renewed with the scopes and audience it was asked for with', async () => {
    const { as, clock, fetched, signIn } = await world()
    const { getNextcloudToken } = (await signIn()).extra
    const options = { scopes: ['write'], audience: ['files'] }
    const first = await getNextcloudToken(options)
    clock.advance(270_000)
    expect(await getNextcloudToken(options)).toBe(first)
    await fetched(2)
    const [before, after] = as.received('/token').map(({ form }) => [form.getAll('scope'), form.getAll('audience')])
    expect(after).toEqual(before)
    expect(await getNextcloudToken(options)).toBe('nextcloud-token-2')
  })
})

describe('the life of a token', () => {
  it('begins with the attempt that was answered, not with the first', async () => {
    const { as, clock, exchanges, signIn } = await world()
    as.script('/token', { status: 503, headers: { 'retry-after': '2' } }, tokenAnswer('second attempt'))
    const { getNextcloudToken } = (await signIn()).extra
    await getNextcloudToken()
    clock.advance(269_999)
    await getNextcloudToken()
    await turn()
    expect(exchanges()).toBe(2)
  })

  it('may be over on arrival: all who wait get the token, and it is not kept', async () => {
    const setup = await world()
    setup.as.script('/token', late(setup, 300_000, 'dead'), tokenAnswer('short', { expires_in: 0 }))
    const { getNextcloudToken } = (await setup.signIn()).extra
    for (const token of ['dead', 'short', 'short']) {
      expect(await Promise.all([getNextcloudToken(), getNextcloudToken()])).toEqual([token, token])
      expect(setup.auth.stats().sizes.nextcloudTokens).toBe(0)
    }
  })

  it.each([
    [10, 290_000],
    [60, 240_000],
    [3_600, 240_000],
  ])('goes by cache.renewBefore, here %i s, up to a fifth of it', async (renewBefore, ms) => {
    const { clock, exchanges, fetched, signIn } = await world({ options: { cache: { renewBefore } } })
    const { getNextcloudToken } = (await signIn()).extra
    await getNextcloudToken()
    clock.advance(ms - 1)
    await getNextcloudToken()
    await turn()
    expect(exchanges()).toBe(1)
    clock.advance(1)
    await getNextcloudToken()
    await fetched(2)
    expect(exchanges()).toBe(2)
  })
})

it('a token of 300 s in constant use costs at most 1.12 of the least possible requests', async () => {
  const seconds = 3 * 3_600
  const { clock, exchanges, signIn } = await world()
  const { getNextcloudToken } = (await signIn({ exp: Math.floor(clock.now() / 1_000) + 2 * seconds })).extra
  for (let second = 0; second < seconds; second += 1) {
    await getNextcloudToken()
    await turn()
    clock.advance(1_000)
  }
  expect(exchanges() / (seconds / 300)).toBeLessThanOrEqual(1.12)
})

describe('an outage', () => {
  it('is not noticed while the cached token lives, and is 503 from its end on', async () => {
    const { as, clock, first, failed, getNextcloudToken } = await setUpAfter(270_000)
    await as.stop()
    for (const [count, ms] of [29_999, 1].entries()) {
      expect(await getNextcloudToken()).toBe(first)
      await failed(count + 1)
      clock.advance(ms)
    }
    expect(await failureOf(getNextcloudToken())).toBeInstanceOf(UpstreamUnavailableError)
  })

  it('makes one attempt at renewal per cool-down, and one event, however many calls there are', async () => {
    const setup = await setUpAfter(270_000, tokenAnswer('first'), { status: 503 })
    const { clock, events, exchanges, first, failed, getNextcloudToken } = setup
    for (const [count, pause] of [1_000, 2_000, 4_000].entries()) {
      expect(await getNextcloudToken()).toBe(first)
      await failed(count + 1)
      clock.advance(pause - 1)
      expect(await getNextcloudToken()).toBe(first)
      await turn()
      expect(exchanges()).toBe(count + 2)
      expect(events.filter(({ type }) => type === 'nextcloud.failed')).toHaveLength(count + 1)
      clock.advance(1)
    }
  })

  it('does not become the answer for the living token when the authorization server refuses its renewal', async () => {
    const refusal = tokenError('invalid_grant')
    const { first, failed, getNextcloudToken } = await setUpAfter(270_000, tokenAnswer('first'), refusal)
    expect(await getNextcloudToken()).toBe(first)
    await failed(1)
    expect(await getNextcloudToken()).toBe(first)
  })
})

const ALICE = { subject: 'alice' }

type Death = (call: 'get' | 'put' | 'delete', count: number) => 'before' | 'after' | undefined

/** A way to the store that ends like that of a process: from some moment on, nothing comes back any more. */
function mortal(storage: StorageAdapter, dies: Death) {
  const counts = { get: 0, put: 0, delete: 0 }
  let dead = false
  let bury = (): void => undefined
  let die = (): void => undefined
  const death = new Promise<void>((resolve) => (die = resolve))
  const buried = new Promise<never>((_resolve, reject) => (bury = () => reject(new Error('It is dead'))))
  buried.catch(() => undefined)
  async function pass<T>(call: keyof typeof counts, work: () => Promise<T>): Promise<T> {
    counts[call] += 1
    const end = dead ? 'before' : dies(call, counts[call])
    const result = end === 'before' ? undefined : await work()
    if (end === undefined) return result as T
    dead = true
    die()
    return buried
  }
  const way: StorageAdapter = {
    shared: true,
    get: (key) => pass('get', () => storage.get(key)),
    put: (key, value, expected, ttlMs) => pass('put', () => storage.put(key, value, expected, ttlMs)),
    delete: (key, expected) => pass('delete', () => storage.delete(key, expected)),
  }
  return { way, bury, death }
}

/** The key of Alice's grant. */
const keyOfAlice = ({ as, grants }: GrantWorld) => grants.store.keyOf({ issuer: as.issuer, subject: 'alice' })

/** Calls an instance that dies, and gets no answer; resolves when it is dead. */
function callInVain({ open, storage }: GrantWorld, dies: Death): Promise<void> {
  const { way, bury, death } = mortal(storage, dies)
  open({ storage: way })
    .getNextcloudToken(ALICE)
    .catch(() => undefined)
  onTestFinished(bury)
  return death
}

describe('a renewal that another instance has left behind', () => {
  it.each([
    ['its lease', 'before the lease has run out', 1, 10_000],
    ['a mark', 'before 3 s more, for an answer that could not be stored', 2, 13_000],
  ])('with %s is taken over within 15 s, and not %s', async (_what, _until, put, least) => {
    const setup = await world({ mode: 'refresh-token' })
    const { clock, open, refreshTokens } = setup
    const first = await setup.connect()
    await callInVain(setup, (call, count) => (call === 'put' && count === put ? 'after' : undefined))
    const death = clock.monotonic()

    await open().getNextcloudToken(ALICE)

    expect(clock.monotonic() - death).toBeGreaterThanOrEqual(least)
    expect(clock.monotonic() - death).toBeLessThanOrEqual(15_000)
    expect(refreshTokens.presented).toEqual([first])
  })

  it.each([
    ['at once', 10_200],
    ['in the last moment', 12_700],
  ])('is not taken over when the answer gets into the store %s, and is waited for no longer', async (_, storedAt) => {
    const setup = await world({ mode: 'refresh-token' })
    const { clock, connect, grants, open, refreshTokens } = setup
    const first = await connect()
    await callInVain(setup, (call, count) => (call === 'put' && count === 3 ? 'before' : undefined))
    const key = keyOfAlice(setup)
    const [, second = ''] = refreshTokens.familyOf(first).tokens
    const accessToken = {
      token: refreshTokens.accessTokens[0]!,
      expiresIn: 300,
      sentAt: clock.now(),
      askedFor: grants.askedFor,
    }
    await turn()
    const { sleep } = clock
    const end = clock.monotonic() + storedAt
    const spy = vi.spyOn(clock, 'sleep').mockImplementation(async (ms) => {
      await sleep(ms)
      if (clock.monotonic() < end) return
      spy.mockImplementation(sleep)
      const stored = await grants.store.read(key)
      const rotated = { presentedBy: undefined, refreshToken: second, fingerprint: 'second', accessToken }
      await grants.store.write(key, { ...stored!.grant, ...rotated, state: 'active' }, stored!.version)
    })

    expect(await open().getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[0])

    expect(clock.monotonic()).toBeLessThan(end + 1_000)
    expect(refreshTokens.presented).toEqual([first])
  })

  it('is waited for by everybody else for 15 s at most, then they are told to come again', async () => {
    const setup = await world({ mode: 'refresh-token' })
    await setup.connect()
    const lease = await setup.grants.acquireLease(keyOfAlice(setup))
    const before = setup.clock.monotonic()

    const failure = await failureOf(setup.open().getNextcloudToken(ALICE))

    expect(failure).toBeInstanceOf(UpstreamUnavailableError)
    expect(failure).toMatchObject({ status: 503, retryAfter: 1 })
    expect(setup.clock.monotonic() - before).toBeGreaterThanOrEqual(15_000)
    expect(setup.clock.monotonic() - before).toBeLessThan(15_600)
    await lease?.release()
  })
})

describe('an instance that stood still until its lease had run out', () => {
  it('does not send the refresh token any more, and takes what another has got', async () => {
    const setup = await world({ mode: 'refresh-token' })
    const { as, clock, open, refreshTokens } = setup
    const first = await setup.connect()
    const other = open()
    await other.ready()
    // The grant is marked, and nothing is sent yet.
    as.script('/.well-known/openid-configuration', async (_request, res) => {
      clock.advance(10_000)
      await other.getNextcloudToken(ALICE)
      res.end(JSON.stringify(as.metadata))
    })

    const token = await open().getNextcloudToken(ALICE)

    expect(token).toBe(refreshTokens.accessTokens[0])
    expect(refreshTokens.presented).toEqual([first])
  })
})

describe('an answer that comes after the user has', () => {
  it.each(['a fresh pair', 'a refusal'])('disconnected brings nothing back: %s', async (answer) => {
    const setup = await setUpConnected()
    const { auth, as, first, open, refreshTokens, stored } = setup
    as.script('/token', async (request, res) => {
      await open().revoke(ALICE)
      if (answer === 'a refusal') refreshTokens.revoke(first)
      refreshTokens.answer(request, res)
    })

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })

    expect(await stored()).toMatchObject({ state: 'disconnected', generation: 2 })
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toBeInstanceOf(NotProvisionedError)
  })

  it.each(['a fresh pair', 'a refusal'])('connected again gives way to the new connection: %s', async (answer) => {
    const { auth, as, connect, events, first, refreshTokens, stored } = await setUpConnected()
    let second = ''
    const meanwhile: ScriptedAnswer = async (request, res) => {
      second = await connect()
      if (answer === 'a refusal') refreshTokens.revoke(first)
      refreshTokens.answer(request, res)
    }
    as.script('/token', meanwhile, refreshTokens.answer)

    expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens.at(-1))

    expect(refreshTokens.presented).toEqual([first, second])
    expect(await stored()).toMatchObject({ refreshToken: refreshTokens.familyOf(second).tokens[1] })
    expect(events.map(({ type }) => type)).not.toContain('grant.lost')
  })
})

describe('the write-ahead mark', () => {
  it('is in the store while the refresh token is on its way, and nothing is sent where it cannot be written', async () => {
    const { as, open, refreshTokens, stored, storage } = await setUpConnected()
    let meanwhile: unknown
    as.script('/token', async (request, res) => {
      meanwhile = await stored()
      refreshTokens.answer(request, res)
    })
    let puts = 0
    const put: StorageAdapter['put'] = (...args) =>
      (puts += 1) === 2 ? Promise.reject(new Error('unavailable')) : storage.put(...args)
    const failing = { ...storage, put }

    expect(await failureOf(open({ storage: failing }).getNextcloudToken(ALICE))).toMatchObject({ code: 'ERR_STORAGE' })
    expect(refreshTokens.presented).toEqual([])
    await open().getNextcloudToken(ALICE)

    expect(meanwhile).toMatchObject({ state: 'presented', presentedBy: expect.any(String) as string })
    const after = await stored()
    expect(after).toMatchObject({ state: 'active' })
    expect(after?.presentedBy).toBeUndefined()
  })
})

describe('a grant that changes', () => {
  it('between the lease and the mark is read again: the refresh token of before is not sent', async () => {
    const { connect, open, refreshTokens, storage } = await setUpConnected()
    let second = ''
    let puts = 0
    const put: StorageAdapter['put'] = async (...args) => {
      puts += 1
      if (puts === 2) second = await connect()
      return storage.put(...args)
    }

    await open({ storage: { ...storage, put } }).getNextcloudToken(ALICE)

    expect(refreshTokens.presented).toEqual([second])
  })
})

describe('an instance that could not take back its mark', () => {
  it('does not wait for itself', async () => {
    const { auth, failing, ...setup } = await setUpConnected({}, { http: { retries: 0 } })
    setup.as.script(
      '/token',
      (_request, res) => {
        failing.add('put')
        res.writeHead(503).end()
      },
      setup.refreshTokens.answer,
    )
    await failureOf(auth.getNextcloudToken(ALICE))
    failing.clear()
    expect(await setup.stored()).toMatchObject({ presentedBy: expect.any(String) as string })
    setup.clock.advance(1_000)
    const before = setup.clock.monotonic()

    await auth.getNextcloudToken(ALICE)

    expect(setup.clock.monotonic()).toBe(before)
  })
})

describe('a refresh token that the server does not rotate', () => {
  it('cools down from the start again after a refresh that went well', async () => {
    const rotatesNot = { refreshTokens: createRefreshTokens({ rotates: false }) }
    const { as, auth, clock, refreshTokens } = await setUpConnected(rotatesNot, { http: { retries: 0 } })
    as.script('/token', { status: 503 }, { status: 503 }, refreshTokens.answer)
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ retryAfter: 1 })
    clock.advance(1_000)
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ retryAfter: 2 })
    clock.advance(2_000)
    await auth.getNextcloudToken(ALICE)
    clock.advance(300_000)
    as.script('/token', { status: 503 })

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ retryAfter: 1 })
  })

  it('keeps its end, until the server states another', async () => {
    let more = {}
    const refreshTokens = createRefreshTokens({ rotates: false, more: () => more })
    const setup = await world({ mode: 'refresh-token', refreshTokens })
    const { as, clock, grants, open } = setup
    const refreshToken = refreshTokens.issue()
    const refreshEndsAt = clock.now() + 900_000
    const connection = { refreshToken, refreshEndsAt, fingerprint: 'first', clientId: 'mcp-client', scopes: [] }
    await grants.store.connect({ issuer: as.issuer, subject: 'alice' }, connection)
    const auth = open()

    await auth.getNextcloudToken(ALICE)
    expect(await setup.stored()).toMatchObject({ refreshEndsAt })

    more = { refresh_expires_in: 1_800 }
    clock.advance(300_000)
    await auth.getNextcloudToken(ALICE)
    expect(await setup.stored()).toMatchObject({ refreshEndsAt: refreshEndsAt - 900_000 + 300_000 + 1_800_000 })
  })
})

describe('a renewal ahead', () => {
  it('does not put up with another instance’s token that is to be renewed as well', async () => {
    const { auth, clock, open, refreshTokens } = await setUpConnected({}, { cache: { grantCheck: 3_600 } })
    const first = await auth.getNextcloudToken(ALICE)
    await open().rotate(ALICE)
    clock.advance(275_000)

    expect(await auth.getNextcloudToken(ALICE)).toBe(first)

    await vi.waitFor(() => expect(refreshTokens.accessTokens).toHaveLength(3))
    await vi.waitFor(async () => expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[2]))
  })
})
