import { describe, expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/index.js'
import { failureOf, holdTokenRequests, setUp, tokenAnswer, turn } from '../support/broker-setup.js'
import type { ScriptedAnswer } from '../support/scripted-authorization-server.js'

/** With the first token in the cache, and that long after it was asked for. */
async function setUpAfter(ms: number, ...answers: ScriptedAnswer[]) {
  const setup = await setUp({ http: { retries: 0 } })
  if (answers.length > 0) setup.as.script('/token', ...answers)
  const info = await setup.signIn()
  const first = await info.extra.getNextcloudToken()
  setup.clock.advance(ms)
  return { ...setup, info, first, getNextcloudToken: info.extra.getNextcloudToken }
}

describe('a token of 300 s', () => {
  it('is served without a thought for its first 240 s', async () => {
    const { exchanges, first, getNextcloudToken } = await setUpAfter(239_999)
    expect(await getNextcloudToken()).toBe(first)
    await turn()
    expect(exchanges()).toBe(1)
  })

  it.each([240_000, 270_000, 299_999])('is served at once after %i ms, and renewed meanwhile, once', async (ms) => {
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

  it('is never served from 300 s on', async () => {
    const { exchanges, getNextcloudToken } = await setUpAfter(300_000)
    expect(await getNextcloudToken()).toBe('nextcloud-token-2')
    expect(exchanges()).toBe(2)
  })

  it('is never served from 300 s on while its renewal is still under way: the call waits for that', async () => {
    const { as, clock, exchanges, first, getNextcloudToken } = await setUpAfter(299_999)
    const requests = holdTokenRequests(as)
    expect(await getNextcloudToken()).toBe(first)
    await requests.arrival()
    clock.advance(1)
    const call = getNextcloudToken()
    requests.answer(tokenAnswer('renewed'))
    expect(await call).toBe('renewed')
    expect(exchanges()).toBe(2)
  })

  it('gives way to the renewed one, whose life counts from the renewal', async () => {
    const { clock, exchanges, fetched, first, getNextcloudToken } = await setUpAfter(250_000)
    expect(await getNextcloudToken()).toBe(first)
    await fetched(2)
    clock.advance(239_999)
    expect(await getNextcloudToken()).toBe('nextcloud-token-2')
    await turn()
    expect(exchanges()).toBe(2)
    clock.advance(1)
    expect(await getNextcloudToken()).toBe('nextcloud-token-2')
    await fetched(3)
    expect(await getNextcloudToken()).toBe('nextcloud-token-3')
  })

  it('is not renewed when nobody asks for it', async () => {
    const { clock, exchanges } = await setUpAfter(240_000)
    clock.advance(10_000)
    await turn()
    expect(exchanges()).toBe(1)
  })

  it('is renewed with the scopes and audience it was asked for with', async () => {
    const { as, clock, fetched, signIn } = await setUp()
    const { getNextcloudToken } = (await signIn()).extra
    const options = { scopes: ['write'], audience: ['files'] }
    const first = await getNextcloudToken(options)
    clock.advance(240_000)
    expect(await getNextcloudToken(options)).toBe(first)
    await fetched(2)
    const [before, after] = as.received('/token').map(({ form }) => [form.getAll('scope'), form.getAll('audience')])
    expect(after).toEqual(before)
    expect(await getNextcloudToken(options)).toBe('nextcloud-token-2')
  })
})

describe('the life of a token', () => {
  it('begins before the request, not with the answer', async () => {
    const { as, clock, exchanges, signIn } = await setUp()
    as.script('/token', (_request, res) => {
      clock.advance(100_000)
      res.end(JSON.stringify(tokenAnswer('slow').json))
    })
    const { getNextcloudToken } = (await signIn()).extra
    await getNextcloudToken()
    clock.advance(139_999)
    await getNextcloudToken()
    await turn()
    expect(exchanges()).toBe(1)
    clock.advance(60_001)
    await getNextcloudToken()
    expect(exchanges()).toBe(2)
  })

  it('begins with the attempt that was answered, not with the first', async () => {
    const { as, clock, exchanges, signIn } = await setUp()
    as.script('/token', { status: 503, headers: { 'retry-after': '2' } }, tokenAnswer('second attempt'))
    const { getNextcloudToken } = (await signIn()).extra
    await getNextcloudToken()
    clock.advance(239_999)
    await getNextcloudToken()
    await turn()
    expect(exchanges()).toBe(2)
  })

  it('may be over on arrival: everybody who waits gets the token, and it is not kept', async () => {
    const { as, auth, clock, signIn } = await setUp()
    as.script(
      '/token',
      (_request, res) => {
        clock.advance(300_000)
        res.end(JSON.stringify(tokenAnswer('dead').json))
      },
      tokenAnswer('living'),
    )
    const { getNextcloudToken } = (await signIn()).extra
    expect(await Promise.all([getNextcloudToken(), getNextcloudToken()])).toEqual(['dead', 'dead'])
    expect(auth.stats().sizes.nextcloudTokens).toBe(0)
    expect(await getNextcloudToken()).toBe('living')
  })

  it('is 300 s when the answer does not say', async () => {
    const { as, clock, exchanges, signIn } = await setUp()
    as.script(
      '/token',
      tokenAnswer('silent', { expires_in: undefined }),
      tokenAnswer('again', { expires_in: undefined }),
    )
    const { getNextcloudToken } = (await signIn()).extra
    for (const token of ['silent', 'again']) {
      expect(await getNextcloudToken()).toBe(token)
      clock.advance(239_999)
      expect(await getNextcloudToken()).toBe(token)
      clock.advance(60_001)
    }
    await turn()
    expect(exchanges()).toBe(2)
  })

  it.each([null, 0, -1, '300', 'soon', true, {}])(
    'is not known when expires_in is %j: handed out, not kept',
    async (value) => {
      const { as, auth, exchanges, signIn } = await setUp()
      as.script('/token', tokenAnswer('short', { expires_in: value }))
      const { getNextcloudToken } = (await signIn()).extra
      expect(await Promise.all([getNextcloudToken(), getNextcloudToken()])).toEqual(['short', 'short'])
      expect(await getNextcloudToken()).toBe('short')
      expect(exchanges()).toBe(2)
      expect(auth.stats().sizes.nextcloudTokens).toBe(0)
    },
  )

  it('goes by cache.renewBefore where that is less than a fifth of it', async () => {
    const { clock, exchanges, fetched, signIn } = await setUp({ cache: { renewBefore: 10 } })
    const { getNextcloudToken } = (await signIn()).extra
    await getNextcloudToken()
    clock.advance(289_999)
    await getNextcloudToken()
    await turn()
    expect(exchanges()).toBe(1)
    clock.advance(1)
    await getNextcloudToken()
    await fetched(2)
    expect(exchanges()).toBe(2)
  })
})

describe('a token whose MCP token ends first', () => {
  it('is not renewed, since the new one would end with it', async () => {
    const { clock, exchanges, signIn } = await setUp()
    const { getNextcloudToken } = (await signIn({ exp: clock.now() / 1_000 + 290 })).extra
    await getNextcloudToken()
    clock.advance(289_999)
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
    await turn()
    expect(exchanges()).toBe(1)
  })
})

describe('an outage', () => {
  it('is not noticed while the cached token lives, and is 503 from its end on', async () => {
    const { as, clock, events, first, failed, getNextcloudToken } = await setUpAfter(240_000)
    await as.stop()
    expect(await getNextcloudToken()).toBe(first)
    await failed(1)
    clock.advance(59_999)
    expect(await getNextcloudToken()).toBe(first)
    await failed(2)
    expect(events.filter(({ type }) => type === 'nextcloud.failed')).toMatchObject(
      Array(2).fill({ code: 'ERR_UPSTREAM_UNAVAILABLE' }),
    )
    clock.advance(1)
    expect(await failureOf(getNextcloudToken())).toBeInstanceOf(UpstreamUnavailableError)
  })

  it('makes one attempt at renewal per cool-down, and one event, however many calls there are', async () => {
    const setup = await setUpAfter(240_000, tokenAnswer('first'), { status: 503 })
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

  it('that ends in time is over with the next renewal', async () => {
    const { as, clock, failed, fetched, first, getNextcloudToken } = await setUpAfter(240_000)
    await as.stop()
    expect(await getNextcloudToken()).toBe(first)
    await failed(1)
    await as.restart()
    clock.advance(1_000)
    expect(await getNextcloudToken()).toBe(first)
    await fetched(2)
    expect(await getNextcloudToken()).toBe('nextcloud-token-2')
  })

  it('does not become the answer for the living token when the authorization server refuses its renewal', async () => {
    const { first, failed, getNextcloudToken } = await setUpAfter(240_000, tokenAnswer('first'), {
      status: 400,
      json: { error: 'invalid_grant' },
    })
    expect(await getNextcloudToken()).toBe(first)
    await failed(1)
    expect(await getNextcloudToken()).toBe(first)
  })
})
