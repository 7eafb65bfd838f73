import { describe, expect, it, vi } from 'vitest'
import type { McpAuthOptions } from '../../../src/index.js'
import { afterStart, setUpConnected } from '../../support/connected-user.js'
import { failureOf, turn, until } from '../../support/promises.js'

const ALICE = { subject: 'alice' }
const BOB = { subject: 'bob' }
const SECOND = 1_000
const CHECK = 10 * SECOND
/** Milliseconds until a call of the store is given up. */
const STORE_TIMEOUT = 5_000

type Failure = 'rejects' | 'hangs'

/** Alice and more users are connected, with a token each in the cache, on a store whose rows can fail one by one. */
async function setUp(users: readonly string[] = ['alice', 'bob'], options: McpAuthOptions = {}) {
  const setup = await setUpConnected({}, options)
  const { as, connect, grants, storage } = setup
  for (const subject of users) if (subject !== 'alice') await connect(subject)
  const failing = new Map<string, Failure>()
  const get = storage.get.bind(storage)
  const held: { wait: (key: string) => Promise<void> | undefined } = { wait: () => undefined }
  storage.get = async (key) => {
    const failure = failing.get(key)
    if (failure === undefined) {
      const entry = await get(key)
      await held.wait(key)
      return entry
    }
    return failure === 'rejects' ? Promise.reject(new Error('this row is broken')) : new Promise(() => undefined)
  }
  const keyOf = (subject: string) => grants.store.keyOf({ issuer: as.issuer, subject })
  const auth = setup.open()
  const tokens = await Promise.all(users.map((subject) => auth.getNextcloudToken({ subject })))
  await turn()
  return {
    ...setup,
    held,
    keyOf,
    auth,
    tokens,
    fail: (subject: string, how: Failure = 'rejects') => failing.set(keyOf(subject), how),
    heal: () => failing.clear(),
    disconnectElsewhere: (subject: string) => grants.store.disconnect({ issuer: as.issuer, subject }, undefined),
  }
}

describe('a look that fails', () => {
  it.each(['rejects', 'hangs'] as const)('for one user (it %s) changes nothing for others', async (how) => {
    const { auth, clock, tokens, fail, disconnectElsewhere } = await setUp()
    fail('alice', how)
    clock.advance(CHECK)
    const alice = auth.getNextcloudToken(ALICE)
    await turn()
    clock.advance(STORE_TIMEOUT)
    expect(await alice).toBe(tokens[0])

    await disconnectElsewhere('bob')
    clock.advance(CHECK)

    // Alice's row fails again, and she does not wait for it. Bob does, and the store answers.
    expect(await auth.getNextcloudToken(ALICE)).toBe(tokens[0])
    expect(await failureOf(auth.getNextcloudToken(BOB))).toMatchObject({ reason: 'revoked' })
  })

  it('for two users changes nothing for a third, and for three means that nobody waits until one look succeeds', async () => {
    const users = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank']
    const { auth, clock, tokens, fail, heal, disconnectElsewhere } = await setUp(users)
    const call = (subject: string) => auth.getNextcloudToken({ subject })
    for (const subject of ['alice', 'bob']) fail(subject)
    clock.advance(CHECK)
    expect(await Promise.all(['alice', 'bob'].map(call))).toEqual(tokens.slice(0, 2))
    await disconnectElsewhere('frank')
    expect(await failureOf(call('frank'))).toMatchObject({ reason: 'revoked' })

    for (const subject of users) fail(subject, 'hangs')
    clock.advance(CHECK)
    const waiting = ['carol', 'dave', 'alice', 'bob'].map(call)
    await turn()
    clock.advance(STORE_TIMEOUT)
    expect(await Promise.all(waiting)).toEqual([tokens[2], tokens[3], tokens[0], tokens[1]])

    // The clock stands still, so this would not end if it waited.
    expect(await call('erin')).toBe(tokens[4])

    heal()
    clock.advance(CHECK)
    expect(await call('alice')).toBe(tokens[0])
    await turn()
    clock.advance(CHECK)
    for (const subject of ['carol', 'erin']) await disconnectElsewhere(subject)
    for (const subject of ['carol', 'erin']) expect(await failureOf(call(subject))).toMatchObject({ reason: 'revoked' })
  })
})

describe('a look that nobody waits for', () => {
  it('takes a token from the cache whose grant has ended', async () => {
    const { auth, clock, tokens, fail, heal, disconnectElsewhere } = await setUp()
    fail('alice')
    clock.advance(CHECK)
    expect(await auth.getNextcloudToken(ALICE)).toBe(tokens[0])
    heal()
    await disconnectElsewhere('alice')
    clock.advance(CHECK)

    expect(await auth.getNextcloudToken(ALICE)).toBe(tokens[0])

    await until(() => auth.stats().sizes.nextcloudTokens === 1)
    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })
  })

  it('replaces a token by the one that another instance has got', async () => {
    const { auth, calls, clock, open, tokens, fail, heal, refreshTokens } = await setUp()
    fail('alice')
    clock.advance(CHECK)
    expect(await auth.getNextcloudToken(ALICE)).toBe(tokens[0])
    heal()
    const other = open()
    await afterStart({ auth: other, clock })
    await other.rotate(ALICE)
    clock.advance(CHECK)
    calls.length = 0

    expect(await auth.getNextcloudToken(ALICE)).toBe(tokens[0])
    const another = refreshTokens.accessTokens.at(-1)
    await vi.waitFor(async () => expect(await auth.getNextcloudToken(ALICE)).toBe(another))

    expect(refreshTokens.accessTokens).toHaveLength(3)
    // The version and the grant, once.
    expect(calls.filter((call) => call === 'get')).toHaveLength(2)
  })

  it('and that finds a grant which does not open makes the next one be waited for', async () => {
    const { auth, clock, tokens, storage, fail, heal, grants, as } = await setUp()
    const key = grants.store.keyOf({ issuer: as.issuer, subject: 'alice' })
    fail('alice')
    clock.advance(CHECK)
    expect(await auth.getNextcloudToken(ALICE)).toBe(tokens[0])
    heal()
    const entry = await storage.get(key)
    await storage.put(key, 'not sealed', entry!.version)
    clock.advance(CHECK)

    expect(await auth.getNextcloudToken(ALICE)).toBe(tokens[0])
    await vi.waitFor(async () => {
      expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ code: 'ERR_STORAGE_SEALED' })
    })
  })
})

it('a token that ends while the store is looked into is not handed out', async () => {
  const { auth, clock, tokens, fail, heal, refreshTokens } = await setUp(['alice'], { cache: { renewBefore: 0 } })
  clock.advance(298 * SECOND)
  fail('alice', 'hangs')
  const late = auth.getNextcloudToken(ALICE)
  await turn()
  heal()
  clock.advance(STORE_TIMEOUT)

  const token = await late

  expect(token).not.toBe(tokens[0])
  expect(refreshTokens.accessTokens).toContain(token)
})

describe('a look that ends after its token was replaced', () => {
  async function setUpHeld() {
    const setup = await setUp(['alice'])
    const { held, keyOf, clock } = setup
    let end = (): void => undefined
    clock.advance(CHECK)
    return {
      ...setup,
      end: () => end(),
      /** Lets the look of a call read the grant, after its version. The look ends when it is told to, with what it has read. */
      lookOf: async (call: () => Promise<string>): Promise<{ readonly token: Promise<string> }> => {
        let reads = 0
        held.wait = (key) => {
          if (key !== keyOf('alice') || (reads += 1) !== 2) return undefined
          return new Promise((go) => (end = go))
        }
        const token = call()
        await until(() => reads >= 2)
        return { token }
      },
    }
  }

  it('leaves the new token where it was, if it saw the grant disconnected', async () => {
    const { auth, connect, disconnectElsewhere, lookOf, end, calls } = await setUpHeld()
    await disconnectElsewhere('alice')
    const waiting = await lookOf(() => auth.getNextcloudToken(ALICE))
    await connect('alice')
    const fresh = await auth.getNextcloudToken(ALICE, { forceRefresh: true })
    calls.length = 0

    end()

    expect(await waiting.token).toBe(fresh)
    expect(await auth.getNextcloudToken(ALICE)).toBe(fresh)
    expect(calls).toEqual([])
  })

  it('does not replace the new token by one that another instance had got before', async () => {
    const { auth, open, lookOf, end, refreshTokens } = await setUpHeld()
    await open().rotate(ALICE)
    const waiting = await lookOf(() => auth.getNextcloudToken(ALICE))
    await auth.rotate(ALICE)
    const [, , newest] = refreshTokens.accessTokens

    end()

    expect(newest).toBeDefined()
    expect(await waiting.token).toBe(newest)
    expect(await auth.getNextcloudToken(ALICE)).toBe(newest)
  })
})
