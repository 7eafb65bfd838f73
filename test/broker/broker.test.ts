import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { SubjectTokenRejectedError } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { failureOf, turn } from '../support/promises.js'
import { holdTokenRequests, tokenAnswer } from '../support/token-endpoint.js'
import { world } from '../support/world.js'

describe('the cache', () => {
  it('asks for nothing before the first call, and serves every later one for the same user and token', async () => {
    const { as, auth, signIn } = await world()
    const info = await signIn()
    expect(as.received('/token')).toEqual([])
    const first = await info.extra.getNextcloudToken()
    expect(await info.extra.getNextcloudToken()).toBe(first)
    expect(await auth.getNextcloudToken(info)).toBe(first)
    expect(await (await auth.verify(info.token)).extra.getNextcloudToken()).toBe(first)
    expect(as.received('/token')).toHaveLength(1)
  })

  it('keeps apart users, MCP tokens, scopes and audiences', async () => {
    const { as, clock, signIn } = await world()
    const alice = await signIn()
    const bob = await signIn({ sub: 'bob' })
    clock.advance(1_000)
    const aliceLater = await signIn()
    const get = alice.extra.getNextcloudToken
    const everyCall = () =>
      Promise.all([
        get(),
        bob.extra.getNextcloudToken(),
        aliceLater.extra.getNextcloudToken(),
        get({ scopes: ['read'] }),
        get({ scopes: ['read', 'write'] }),
        get({ audience: 'files' }),
        get({ audience: ['files', 'talk'] }),
      ])

    const tokens = await everyCall()

    expect(new Set(tokens).size).toBe(7)
    expect(await everyCall()).toEqual(tokens)
    expect(as.received('/token')).toHaveLength(7)
  })

  it('takes a call that spells out what is configured as the same', async () => {
    const { exchanges, signIn } = await world({ options: { nextcloud: { audience: 'nextcloud', scopes: ['read'] } } })
    const { getNextcloudToken } = (await signIn()).extra
    const token = await getNextcloudToken()
    expect(await getNextcloudToken({ audience: 'nextcloud', scopes: ['read'] })).toBe(token)
    expect(await getNextcloudToken({ audience: ['nextcloud'] })).toBe(token)
    expect(await getNextcloudToken({})).toBe(token)
    expect(exchanges()).toBe(1)
  })

  it('holds as many tokens as it is told to, drops the one used least recently and counts everything', async () => {
    const { auth, exchanges, signIn } = await world({ options: { cache: { nextcloudTokens: 2 } } })
    const [alice, bob, carol] = [await signIn(), await signIn({ sub: 'bob' }), await signIn({ sub: 'carol' })]
    await Promise.all([alice.extra.getNextcloudToken(), alice.extra.getNextcloudToken()])
    for (const user of [bob, alice, carol]) await user.extra.getNextcloudToken()
    expect(auth.stats()).toMatchObject({
      nextcloudCacheHits: 1,
      nextcloudCacheMisses: 4,
      exchanges: 3,
      refreshes: 0,
      evictions: 1,
      sizes: { nextcloudTokens: 2 },
    })

    await alice.extra.getNextcloudToken()
    expect(exchanges()).toBe(3)
    await bob.extra.getNextcloudToken()
    expect(exchanges()).toBe(4)
  })

  it('is off with nextcloudTokens: 0, where only calls at the same time share a request', async () => {
    const { auth, exchanges, signIn } = await world({ options: { cache: { nextcloudTokens: 0 } } })
    const { getNextcloudToken } = (await signIn()).extra
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
    expect(await getNextcloudToken()).toBe('nextcloud-token-2')
    expect(await Promise.all([getNextcloudToken(), getNextcloudToken()])).toEqual(Array(2).fill('nextcloud-token-3'))
    expect(exchanges()).toBe(3)
    expect(auth.stats().sizes.nextcloudTokens).toBe(0)
  })
})

describe('calls at the same time', () => {
  it('make one request, a thousand of them', async () => {
    const { as, auth, signIn } = await world()
    const requests = holdTokenRequests(as)
    const info = await signIn()
    const calls = Array.from({ length: 1_000 }, (_, index) =>
      index % 2 === 0 ? info.extra.getNextcloudToken() : auth.getNextcloudToken(info),
    )
    await requests.arrival()
    await turn()
    requests.answer(tokenAnswer('the one'))

    expect(new Set(await Promise.all(calls))).toEqual(new Set(['the one']))
    expect(as.received('/token')).toHaveLength(1)
  })

  it('share a failure too, and the request that failed', async () => {
    const { as, signIn } = await world({ options: { http: { retries: 0 } } })
    as.script('/token', { status: 503 })
    const { getNextcloudToken } = (await signIn()).extra
    const failures = await Promise.all(Array.from({ length: 100 }, () => failureOf(getNextcloudToken())))
    expect(failures.every((failure) => (failure as { status: number }).status === 503)).toBe(true)
    expect(as.received('/token')).toHaveLength(1)
  })
})

describe('an abort', () => {
  it('ends the wait of its own caller alone', async () => {
    const { as, exchanges, signIn } = await world()
    const requests = holdTokenRequests(as)
    const { getNextcloudToken } = (await signIn()).extra
    const controller = new AbortController()
    const given = getNextcloudToken({ signal: controller.signal })
    const other = getNextcloudToken({ signal: new AbortController().signal })
    const patient = getNextcloudToken()
    await requests.arrival()

    const reason = new Error('the caller has hung up')
    controller.abort(reason)
    expect(await failureOf(given)).toBe(reason)
    requests.answer(tokenAnswer('in time'))

    expect(await Promise.all([other, patient])).toEqual(['in time', 'in time'])
    expect(exchanges()).toBe(1)
  })

  it('of every caller lets the request go on, and the token counts as handed to none', async () => {
    const { as, exchanges, fetched, signIn } = await world()
    const requests = holdTokenRequests(as)
    const { getNextcloudToken } = (await signIn()).extra
    const controller = new AbortController()
    const given = getNextcloudToken({ signal: controller.signal })
    await requests.arrival()
    controller.abort()
    expect(await failureOf(given)).toMatchObject({ name: 'AbortError' })
    requests.answer(tokenAnswer('without a caller'))
    await fetched(1)

    expect(await getNextcloudToken({ forceRefresh: true })).toBe('without a caller')
    expect(await getNextcloudToken()).toBe('without a caller')
    expect(exchanges()).toBe(1)
  })

  it('that came before the call rejects it, and nothing is asked', async () => {
    const { exchanges, signIn } = await world()
    const { getNextcloudToken } = (await signIn()).extra
    const reason = new Error('too late')
    expect(await failureOf(getNextcloudToken({ signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(exchanges()).toBe(0)

    await getNextcloudToken()
    expect(await failureOf(getNextcloudToken({ signal: AbortSignal.abort(reason) }))).toBe(reason)
  })

  it('is no longer listened for once the call has ended', async () => {
    const { signIn } = await world()
    const { signal } = new AbortController()
    await (await signIn()).extra.getNextcloudToken({ signal })
    await turn()
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})

describe('forceRefresh', () => {
  it('asks although a token is cached, and the new one serves from then on', async () => {
    const { exchanges, signIn } = await world()
    const { getNextcloudToken } = (await signIn()).extra
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
    expect(await getNextcloudToken({ forceRefresh: true })).toBe('nextcloud-token-2')
    expect(await getNextcloudToken()).toBe('nextcloud-token-2')
    expect(await getNextcloudToken({ forceRefresh: false })).toBe('nextcloud-token-2')
    expect(exchanges()).toBe(2)
  })

  it('takes a token that was renewed and that no caller has had yet, instead of asking for another', async () => {
    const { clock, exchanges, fetched, signIn } = await world()
    const { getNextcloudToken } = (await signIn()).extra
    await getNextcloudToken()
    clock.advance(270_000)
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
    await fetched(2)
    expect(await getNextcloudToken({ forceRefresh: true })).toBe('nextcloud-token-2')
    expect(exchanges()).toBe(2)
    expect(await getNextcloudToken({ forceRefresh: true })).toBe('nextcloud-token-3')
  })

  it('never leaves the token that is taken as bad to later calls, even if the new one cannot be kept', async () => {
    const { as, signIn } = await world()
    as.script('/token', tokenAnswer('bad'), tokenAnswer('good', { expires_in: 0 }), tokenAnswer('better'))
    const { getNextcloudToken } = (await signIn()).extra
    expect(await getNextcloudToken()).toBe('bad')
    expect(await getNextcloudToken({ forceRefresh: true })).toBe('good')
    expect(await getNextcloudToken()).toBe('better')
  })

  it('replaces the token for its own scopes and audience only', async () => {
    const { exchanges, signIn } = await world()
    const { getNextcloudToken } = (await signIn()).extra
    const token = await getNextcloudToken()
    const files = await getNextcloudToken({ audience: 'files' })
    expect(await getNextcloudToken({ audience: 'files', forceRefresh: true })).not.toBe(files)
    expect(await getNextcloudToken()).toBe(token)
    expect(exchanges()).toBe(3)
  })
})

describe("the MCP token's end", () => {
  it('is the end of the Nextcloud token too, by the wall clock at the time of the answer, not of the sign-in', async () => {
    const { as, clock, exchanges, signIn } = await world()
    const info = await signIn({ exp: clock.now() / 1_000 + 300 })
    as.script('/token', tokenAnswer('long-lived', { expires_in: 3_600 }))
    clock.advance(200_000)
    await info.extra.getNextcloudToken()
    clock.advance(99_999)
    await info.extra.getNextcloudToken()
    await turn()
    expect(exchanges()).toBe(1)

    clock.advance(1)
    await info.extra.getNextcloudToken()
    expect(exchanges()).toBe(2)
  })

  it('ends exchanges too, after the clock tolerance: 401, and nothing is asked', async () => {
    const { clock, exchanges, signIn } = await world({ options: { clockTolerance: 5 } })
    const { getNextcloudToken } = (await signIn({ exp: clock.now() / 1_000 + 100 })).extra
    clock.advance(104_999)
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
    clock.advance(1)
    for (const options of [undefined, { forceRefresh: true }])
      expect(await failureOf(getNextcloudToken(options))).toBeInstanceOf(SubjectTokenRejectedError)
    expect(exchanges()).toBe(1)
  })

  it('is noticed on the wall clock when the machine has slept, which the monotonic clock does not count', async () => {
    const running = manualClock()
    let slept = 0
    const { exchanges, signIn } = await world({ clock: { ...running, now: () => running.now() + slept } })
    const { getNextcloudToken } = (await signIn()).extra
    await getNextcloudToken()
    slept = 3_604_999
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
    slept += 1
    expect(await failureOf(getNextcloudToken())).toBeInstanceOf(SubjectTokenRejectedError)
    expect(exchanges()).toBe(1)
  })
})

describe('close()', () => {
  it('waits for the requests under way', async () => {
    const { as, auth, signIn } = await world()
    const requests = holdTokenRequests(as)
    const order: string[] = []
    const call = (await signIn()).extra.getNextcloudToken().then(() => order.push('token'))
    await requests.arrival()
    const closing = auth.close().then(() => order.push('closed'))
    await turn()
    expect(order).toEqual([])
    requests.answer(tokenAnswer('last'))
    await Promise.all([call, closing])
    expect(order).toEqual(['token', 'closed'])
  })
})

it('without nextcloud in the options, tokens verify and a Nextcloud token is a configuration error', async () => {
  const { auth, signIn } = await world({ mode: 'none' })
  const info = await signIn()
  const expected = { name: 'ConfigurationError', code: 'ERR_CONFIGURATION', status: 500, option: 'nextcloud.url' }
  expect(await failureOf(info.extra.getNextcloudToken())).toMatchObject(expected)
  expect(await failureOf(auth.getNextcloudToken(info))).toMatchObject(expected)
  expect(await failureOf(auth.nextcloudFetch(info, '/'))).toMatchObject(expected)
})
