import { describe, expect, it, vi } from 'vitest'
import { ConfigurationError, SubjectTokenRejectedError, type StorageAdapter } from '../../src/index.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { failureOf, turn } from '../support/promises.js'
import { sharingWorld, tokenOf, type Tampering } from '../support/sharing.js'
import { LIFE } from '../support/token-endpoint.js'

// The store of shared tokens is a cache: whatever becomes of it, no call fails for it, and nobody gets a token that is not theirs or has ended.

const SECOND = 1_000
const FORCED = { forceRefresh: true }
const never = (): Promise<never> => new Promise(() => undefined)
const broken = (): Promise<never> => Promise.reject(new Error('redis://user:password@store is unavailable'))

/** A token of alice that one instance has stored, and the key of its record. */
async function setUp() {
  const setup = await sharingWorld()
  const { open, mint, memory } = setup
  const [first, other] = [open(), open()]
  const alice = await mint()
  const token = await tokenOf(first, alice)
  const [key = ''] = await settledKeys(memory, 1)
  return { ...setup, first, other, alice, token, key }
}

/** The keys in the store, when no lease is there any more. */
async function settledKeys(memory: Pick<StorageAdapter, 'list'>, count: number): Promise<string[]> {
  const keys = async (): Promise<string[]> => (await memory.list?.({ limit: 100 })) ?? []
  await vi.waitFor(async () => expect(await keys()).toHaveLength(count))
  return keys()
}

/** Lets time pass until so many exchanges have come, or the call has ended. Resolves to the milliseconds of that. */
async function timeUntil(isOver: () => boolean, clock: ManualClock, call: Promise<string>): Promise<number> {
  const startedAt = clock.monotonic()
  const state = { ended: false }
  const end = (): boolean => (state.ended = true)
  call.then(end, end)
  while (!state.ended && !isOver() && clock.monotonic() - startedAt < 60 * SECOND) {
    await new Promise((resolve) => setTimeout(resolve, 1))
    if (!isOver()) clock.advance(10)
  }
  return clock.monotonic() - startedAt
}

describe('where the store gives, instead of a record,', () => {
  const REPLACEMENTS: [string, (value: string, ofBob: string) => string][] = [
    ['another user’s', (_value, ofBob) => ofBob],
    ['half of it', (value) => value.slice(0, value.length / 2)],
    ['nothing', () => ''],
    ['a text that nobody sealed', () => '{"token":"stolen","sentAt":0,"order":1e300}'],
    ['one with a bit changed', (value) => `${value.slice(0, -3)}${value.at(-3) === 'A' ? 'B' : 'A'}${value.slice(-2)}`],
    ['a text of a megabyte', () => 'x'.repeat(1_000_000)],
  ]
  it.each(REPLACEMENTS)('%s, the token is exchanged again, and no other one is served', async (_name, replace) => {
    const { other, alice, token, key, open, mint, memory, tampering, exchanged } = await setUp()
    const ofBob = await tokenOf(open(), await mint({ sub: 'bob' }))
    const [one = '', two = ''] = await settledKeys(memory, 2)
    const { value } = (await memory.get(one === key ? two : one))!
    tampering.get = async (at, get) => {
      const entry = await get(at)
      return at === key && entry !== undefined ? { ...entry, value: replace(entry.value, value) } : entry
    }

    const got = await tokenOf(other, alice)

    expect([token, ofBob]).not.toContain(got)
    expect(got).toBe(`nextcloud-token-${exchanged()}`)
    expect(await tokenOf(other, alice)).toBe(got)
  })

  it('an older one, no instance that knows the newer one serves the older', async () => {
    const { first, other, alice, token, key, clock, memory, tampering, exchanged } = await setUp()
    const old = (await memory.get(key))!
    const second = await tokenOf(first, alice, FORCED)
    expect(await tokenOf(other, alice)).toBe(second)
    tampering.get = (at, get) => (at === key ? Promise.resolve(old) : get(at))

    clock.advance(20 * SECOND)
    expect([await tokenOf(first, alice), await tokenOf(other, alice)]).toEqual([second, second])
    for (const auth of [first, other]) expect([token, second]).not.toContain(await tokenOf(auth, alice, FORCED))
    expect(exchanged()).toBe(4)
  })

  it('one that has ended, the token is exchanged again', async () => {
    const { other, alice, key, clock, memory, tampering, exchanged } = await setUp()
    const ended = (await memory.get(key))!
    tampering.get = (at, get) => (at === key ? Promise.resolve(ended) : get(at))
    clock.advance(LIFE * SECOND)
    expect(await tokenOf(other, alice)).toBe('nextcloud-token-2')
    expect(exchanged()).toBe(2)
  })
})

describe('where time passes while the store answers,', () => {
  it('a token that ends meanwhile is not served', async () => {
    const { other, alice, key, clock, tampering } = await setUp()
    clock.advance((LIFE - 1) * SECOND)
    tampering.get = async (at, get) => {
      const entry = await get(at)
      if (at === key) clock.advance(SECOND)
      return entry
    }
    expect(await tokenOf(other, alice)).toBe('nextcloud-token-2')
  })

  it('the token of an MCP token that ends meanwhile is not served, nor is that one exchanged', async () => {
    const { open, mint, clock, tampering, exchanged } = await sharingWorld()
    const user = await mint({ exp: Math.floor(clock.now() / SECOND) + 60 })
    await tokenOf(open(), user)
    const other = open()
    const info = await other.verify(user)
    tampering.get = async (at, get) => {
      const entry = await get(at)
      clock.advance(65 * SECOND)
      return entry
    }
    expect(await failureOf(info.extra.getNextcloudToken())).toBeInstanceOf(SubjectTokenRejectedError)
    expect(exchanged()).toBe(1)
  })
})

describe('a store that fails', () => {
  const wrong = (answer: unknown) => () => Promise.resolve(answer) as Promise<never>
  const FAULTS: [string, Tampering][] = [
    ['in reads', { get: broken }],
    ['in writes', { put: broken }],
    ['in deletions', { delete: broken }],
    ['in everything', { get: broken, put: broken, delete: broken }],
    [
      'by throwing',
      {
        get: () => {
          throw new TypeError('no connection')
        },
      },
    ],
    ['because it is not set up', { get: () => Promise.reject(new ConfigurationError('There is no table', 'storage')) }],
    ['with an answer that is none', { get: wrong(null), put: wrong(7), delete: wrong('no') }],
    ['with an entry that is none', { get: wrong({ value: 7, version: 'a' }) }],
    ['with versions that are none', { put: wrong(undefined) }],
  ]
  it.each(FAULTS)('%s fails no call, and each instance exchanges at most once for each user', async (_name, fault) => {
    const { clock, open, mint, tampering, exchanged } = await sharingWorld()
    Object.assign(tampering, fault)
    const auths = [open(), open()]
    for (let lives = 1; lives <= 2; lives += 1) {
      for (const sub of ['alice', 'bob']) {
        const user = await mint({ sub })
        for (const auth of auths) {
          const token = await tokenOf(auth, user)
          expect(token).toMatch(/^nextcloud-token-\d+$/)
          expect(await tokenOf(auth, user)).toBe(token)
          clock.advance(15 * SECOND)
          expect(await tokenOf(auth, user)).toBe(token)
          clock.advance(3 * SECOND)
        }
      }
      expect(exchanged()).toBeLessThanOrEqual(4 * lives)
      clock.advance(LIFE * SECOND)
    }
  })

  const DELAYS: [string, (clock: ManualClock) => Tampering][] = [
    ['never answers', () => ({ get: never, put: never, delete: never })],
    ['never answers a write', () => ({ put: never })],
    [
      'takes 3 s for each answer',
      (clock) => {
        const late = async <T>(work: () => Promise<T>): Promise<T> => {
          await new Promise<void>((resolve) => clock.after(3 * SECOND, resolve))
          return work()
        }
        return {
          get: (key, get) => late(() => get(key)),
          put: (key, value, expected, ttlMs, put) => late(() => put(key, value, expected, ttlMs)),
          delete: (key, expected, remove) => late(() => remove(key, expected)),
        }
      },
    ],
  ]
  it.each(DELAYS)(
    'because it %s holds a call up for less than 2 s, and the next ones not at all',
    async (_name, fault) => {
      const { clock, open, mint, tampering, exchanged } = await sharingWorld()
      const auth = open()
      await auth.verify(await mint())
      Object.assign(tampering, fault(clock))
      const [alice, bob] = [await mint(), await mint({ sub: 'bob' })]

      const call = tokenOf(auth, alice)
      expect(await timeUntil(() => exchanged() > 0, clock, call)).toBeLessThanOrEqual(2 * SECOND)
      const before = clock.monotonic()
      const next = tokenOf(auth, bob)
      expect(
        await timeUntil(
          () => false,
          clock,
          Promise.all([call, next]).then(() => ''),
        ),
      ).toBeLessThan(2 * SECOND)
      expect(await tokenOf(auth, alice)).toBe(await call)
      expect(exchanged()).toBe(2)
      expect(clock.monotonic() - before).toBeLessThan(2 * SECOND)
    },
  )

  it('that stands still holds up a cached token for less than 2 s, once', async () => {
    const { first, alice, token, clock, tampering } = await setUp()
    Object.assign(tampering, { get: never, put: never, delete: never })
    clock.advance(10 * SECOND)
    const call = tokenOf(first, alice)
    expect(await timeUntil(() => false, clock, call)).toBeLessThanOrEqual(2 * SECOND)
    expect(await call).toBe(token)
    expect(await tokenOf(first, alice)).toBe(token)
  })

  it('is asked by one call in 2 s, and used again as soon as it answers', async () => {
    const { calls, clock, open, mint, tampering } = await sharingWorld()
    const auth = open()
    tampering.get = broken
    const users = await Promise.all(Array.from({ length: 30 }, (_, index) => mint({ sub: `user-${index}` })))
    for (const user of users.slice(0, 20)) await tokenOf(auth, user)
    expect(calls).toHaveLength(1)
    clock.advance(2 * SECOND)
    await Promise.all(users.slice(20, 28).map((user) => tokenOf(auth, user)))
    expect(calls).toHaveLength(2)

    delete tampering.get
    clock.advance(2 * SECOND)
    const other = open()
    for (const user of users.slice(28)) expect(await tokenOf(auth, user)).toBe(await tokenOf(other, user))
  })

  it('gets what was exchanged meanwhile when it works again', async () => {
    const { clock, open, mint, tampering, exchanged } = await sharingWorld()
    const auth = open()
    const user = await mint()
    Object.assign(tampering, { get: broken, put: broken })
    const token = await tokenOf(auth, user)
    delete tampering.get
    delete tampering.put
    clock.advance(10 * SECOND)
    expect(await tokenOf(auth, user)).toBe(token)
    await vi.waitFor(async () => {
      clock.advance(10 * SECOND)
      expect(await tokenOf(open(), user)).toBe(token)
    })
    expect(exchanged()).toBe(1)
  })

  it('is given back a lease that came too late, which would be renewed for ever', async () => {
    const { clock, open, memory, mint, tampering, exchanged } = await sharingWorld()
    let arrive = (): void => undefined
    const arrival = new Promise<void>((resolve) => (arrive = resolve))
    tampering.put = async (key, value, expected, ttlMs, put) => {
      const version = await put(key, value, expected, ttlMs)
      await arrival
      return version
    }
    const call = tokenOf(open(), await mint())
    await timeUntil(() => exchanged() > 0, clock, call)
    await call
    arrive()
    delete tampering.put
    await settledKeys(memory, 0)
  })

  it('that always says that another instance has the turn holds a call up for 6 s', async () => {
    const { clock, open, mint, tampering } = await sharingWorld({ clock: manualClock() })
    tampering.put = () => Promise.resolve(null)
    const before = clock.monotonic()
    expect(await tokenOf(open(), await mint())).toBe('nextcloud-token-1')
    expect(clock.monotonic() - before).toBeGreaterThanOrEqual(6 * SECOND)
    expect(clock.monotonic() - before).toBeLessThan(7 * SECOND)
  })

  it('is no reason not to begin, and an adapter that is not set up is', async () => {
    const { open, tampering } = await sharingWorld()
    tampering.get = broken
    await open().ready()
    tampering.get = () => Promise.reject(new ConfigurationError('There is no table', 'storage'))
    expect(await failureOf(open().ready())).toBeInstanceOf(ConfigurationError)
  })

  it('is named in the events and in the health, and no event has a token', async () => {
    const { events, open, mint, tampering } = await sharingWorld()
    const auth = open()
    const user = await mint()
    const token = await tokenOf(auth, user)
    tampering.get = broken
    await tokenOf(auth, await mint({ sub: 'bob' }))
    expect(events.filter(({ type }) => type === 'storage.failed')).toHaveLength(1)
    expect((await auth.health()).storage).toEqual({ ok: false })
    for (const secret of [token, user, 'password']) expect(JSON.stringify(events)).not.toContain(secret)
    delete tampering.get
    await turn()
  })
})

it('the store holds neither token nor user in plain text, and each record says of which key it is', async () => {
  const { alice, token, key, memory } = await setUp()
  const { value } = (await memory.get(key))!
  const header = Buffer.from(value.slice(0, value.indexOf('.')), 'base64url').toString()
  expect(JSON.parse(header)).toMatchObject({ enc: 'A256GCM', record: key })
  for (const secret of [alice, token, 'alice']) expect(`${key}${value}${header}`).not.toContain(secret)
})
