import { describe, expect, it, vi } from 'vitest'
import { ConfigurationError, StorageError } from '../../src/errors/errors.js'
import { createEvents, type McpAuthEvent } from '../../src/events.js'
import { createTokenRecords, type SharedToken } from '../../src/grants/token-records.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { failureOf, turn } from '../support/promises.js'
import { watchedStorage } from '../support/storages.js'
import { OWNER } from './opened.js'

const HOUR = 3_600_000
const TOKEN: SharedToken = { token: 'exchanged', expiresIn: 60, sentAt: 1, order: 1 }
const HOW = { expected: null, ttlMs: 60_000 }

/** Token records over memory whose calls are counted and can be made to fail, or to wait until they are let go. */
function setUp() {
  const clock = manualClock()
  const memory = new MemoryStorage({}, clock)
  const watched = watchedStorage(memory)
  const events: McpAuthEvent[] = []
  const open = (keyByte: number) =>
    createTokenRecords(
      { storage: watched.storage, encryptionKeys: [new Uint8Array(32).fill(keyByte)] },
      clock,
      createEvents((event) => events.push(event), clock),
    )
  const tokens = open(7)
  return {
    clock,
    memory,
    ...watched,
    events,
    tokens,
    key: tokens.keyOf(OWNER, 'token', 'parameters'),
    other: open(8),
    /** Holds the next call of one kind up. */
    hold: (call: 'get' | 'put') => {
      const own = watched.storage[call].bind(watched.storage) as (...args: unknown[]) => Promise<never>
      let letGo = (): void => undefined
      vi.spyOn(watched.storage, call).mockImplementationOnce(async (...args: unknown[]) => {
        await new Promise<void>((resolve) => (letGo = resolve))
        return own(...args)
      })
      return () => letGo()
    },
  }
}

describe('a token that instances share', () => {
  it('is what another instance has stored, under a key of its own for each user’s token and its parameters', async () => {
    const { tokens, key } = setUp()
    expect(await tokens.read(key)).toBeUndefined()
    const version = await tokens.write(key, TOKEN, HOW)

    const stored = await tokens.read(key)

    expect([stored?.version, await stored?.open()]).toEqual([version, TOKEN])
    expect(await tokens.write(key, { ...TOKEN, order: 2 }, HOW)).toBeNull()
    const keys = [key, tokens.keyOf(OWNER, 'token', 'others'), tokens.keyOf(OWNER, 'another', 'parameters')]
    expect(new Set(keys).size).toBe(3)
  })

  it('is forgotten by the store when its time is over', async () => {
    const { tokens, key, clock } = setUp()
    await tokens.write(key, TOKEN, HOW)
    clock.advance(60_000)
    expect(await tokens.read(key)).toBeUndefined()
  })

  it.each<[what: string, value: unknown, isOne: boolean]>([
    ['without a stated life', { token: 'exchanged', sentAt: 1, order: 1 }, true],
    ['that is empty', { ...TOKEN, token: '' }, false],
    ['that is no text', { ...TOKEN, token: 1 }, false],
    ['whose life is no number', { ...TOKEN, expiresIn: '60' }, false],
    ['without a time', { ...TOKEN, sentAt: undefined }, false],
    ['without an order', { ...TOKEN, order: null }, false],
    ['that is a list', [TOKEN], false],
    ['that is nothing', null, false],
  ])('%s is one or none', async (_what, value, isOne) => {
    const { tokens, key } = setUp()
    await tokens.write(key, value as SharedToken, HOW)
    expect(await (await tokens.read(key))?.open()).toEqual(isOne ? value : undefined)
  })

  it('that only another key opens is none, and is told of once an hour', async () => {
    const { tokens, key, other, events, clock } = setUp()
    await other.write(key, TOKEN, HOW)
    await other.read(key)
    expect(events).toEqual([])
    const look = async () => (await (await tokens.read(key))?.open()) ?? events.length

    expect([await look(), await look()]).toEqual([1, 1])
    expect(events).toMatchObject([{ type: 'config.warning', option: 'encryptionKey' }])
    clock.advance(HOUR - 1)
    await other.write(key, TOKEN, HOW)
    expect(await look()).toBe(1)
    clock.advance(1)
    expect(await look()).toBe(2)
  })
})

describe('a store of tokens that fails', () => {
  it('is left alone for two seconds, and asked by one call at a time then, until it answers', async () => {
    const { tokens, key, failing, calls, clock, hold } = setUp()
    failing.add('get')
    const ask = () => failureOf(tokens.read(key))
    expect(tokens.mayAsk()).toBe(true)
    expect(await ask()).toBeInstanceOf(StorageError)
    for (let round = 0; round < 2; round += 1) {
      calls.length = 0
      clock.advance(1_999)
      expect(tokens.mayAsk()).toBe(false)
      expect(await ask()).toMatchObject({ detail: 'The storage failed a moment ago' })
      expect(calls).toEqual([])
      clock.advance(1)
      expect(tokens.mayAsk()).toBe(true)
      expect(await ask()).toMatchObject({ detail: expect.not.stringContaining('a moment ago') as string })
      expect(calls).toEqual(['get'])
    }

    failing.clear()
    clock.advance(2_000)
    const letGo = hold('get')
    const one = tokens.read(key)
    await turn()
    expect(await ask()).toMatchObject({ detail: 'The storage failed a moment ago' })
    letGo()
    expect(await one).toBeUndefined()
    expect(tokens.mayAsk()).toBe(true)
    expect(await Promise.all([tokens.read(key), tokens.read(key)])).toEqual([undefined, undefined])
  })

  it('is left alone for two seconds from its failure on, and not from the question', async () => {
    const { tokens, key, clock, storage } = setUp()
    vi.spyOn(storage, 'get').mockImplementationOnce(() => {
      clock.advance(1_000)
      return Promise.reject(new Error('unavailable'))
    })
    await failureOf(tokens.read(key))
    clock.advance(1_999)
    expect(tokens.mayAsk()).toBe(false)
    clock.advance(1)
    expect(tokens.mayAsk()).toBe(true)
  })

  it('is one that answers nobody for 1.8 s', async () => {
    const { tokens, key, clock, hold } = setUp()
    hold('get')
    const settled = vi.fn()
    const failure = failureOf(tokens.read(key).finally(settled))
    await turn()
    clock.advance(1_799)
    await turn()
    expect(settled).not.toHaveBeenCalled()
    clock.advance(1)

    expect(await failure).toMatchObject({ detail: 'The storage answered nothing for 1800 ms' })
    expect(tokens.mayAsk()).toBe(false)
  })

  it('is not one that answers others meanwhile', async () => {
    const { tokens, key, clock, hold } = setUp()
    const letGo = hold('get')
    const slow = tokens.read(key)
    await turn()
    hold('get')
    const slower = failureOf(tokens.read(key))
    await turn()
    clock.advance(1_000)
    await tokens.read(key)
    clock.advance(800)
    await turn()
    letGo()
    expect(await slow).toBeUndefined()
    for (const ms of [1_000, 799]) {
      clock.advance(ms)
      await turn()
      expect(tokens.mayAsk()).toBe(true)
    }
    clock.advance(1)
    expect(await slower).toMatchObject({ detail: 'The storage answered nothing for 1800 ms' })
  })

  it.each<[what: string, error: Error, refuses: boolean]>([
    ['is no reason not to begin', new Error('unavailable'), false],
    ['is one where it is not set up', new ConfigurationError('The table is not there'), true],
  ])('%s', async (_what, error, refuses) => {
    const { tokens, storage } = setUp()
    vi.spyOn(storage, 'put').mockRejectedValue(error)
    expect(await tokens.ready().catch((reason: unknown) => reason)).toBe(refuses ? error : undefined)
  })
})

describe('the right to exchange', () => {
  it('is one instance’s for each token, until it is given back', async () => {
    const { tokens, other, key } = setUp()
    const lease = await tokens.acquireLease(key)
    expect(lease?.isHeld()).toBe(true)
    expect(await other.acquireLease(key)).toBeUndefined()
    expect(await other.acquireLease(tokens.keyOf(OWNER, 'another', ''))).toBeDefined()

    await lease?.release()

    expect(await other.acquireLease(key)).toBeDefined()
  })

  it('that comes when nobody waits for it any more is given back', async () => {
    const { tokens, other, key, clock, storage, hold } = setUp()
    const letGo = hold('put')
    const put = vi.spyOn(storage, 'put')
    const failure = failureOf(tokens.acquireLease(key))
    await vi.waitFor(() => expect(put).toHaveBeenCalled())
    clock.advance(1_800)
    expect(await failure).toBeInstanceOf(StorageError)

    letGo()

    await vi.waitFor(async () => expect(await other.acquireLease(key)).toBeDefined())
  })
})
