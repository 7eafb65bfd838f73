import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { acquireLease } from '../../src/grants/lease.js'
import { opened } from './opened.js'

const KEY = 'v1:lease'
const LIFE = 9_000

function open() {
  const { records, clock, ...rest } = opened()
  return {
    ...rest,
    clock,
    acquire: () => acquireLease({ records, clock, lifeMs: LIFE }, KEY),
    /** Lets time pass in steps in which the renewals of a lease can be carried out. */
    pass: async (ms: number): Promise<void> => {
      for (let left = ms; left > 0; left -= 1_000) {
        clock.advance(Math.min(1_000, left))
        for (let turns = 0; turns < 5; turns += 1) await setImmediate()
      }
    },
  }
}

describe('a lease', () => {
  it('is held by one at a time, and can be had again once it is given back', async () => {
    const { acquire } = open()
    const lease = await acquire()
    expect(lease?.isHeld()).toBe(true)
    expect(await acquire()).toBeUndefined()

    await lease?.release()

    expect((await acquire())?.isHeld()).toBe(true)
  })

  it('is renewed at each third of its life until it is given back', async () => {
    const { acquire, pass, memory, calls } = open()
    const lease = await acquire()

    await pass(10 * LIFE)

    expect(lease?.isHeld()).toBe(true)
    expect(calls).toHaveLength(31)
    expect(await acquire()).toBeUndefined()
    await lease?.release()
    await pass(LIFE)
    expect(calls).toHaveLength(33)
    expect(await memory.get(KEY)).toBeUndefined()
  })

  it('is no longer surely held when its life has passed since before it was asked for', async () => {
    const { acquire, clock, storage } = open()
    const put = storage.put.bind(storage)
    storage.put = async (...args) => {
      clock.advance(1_000)
      return put(...args)
    }
    const lease = await acquire()

    clock.advance(LIFE - 1_001)
    expect(lease?.isHeld()).toBe(true)
    clock.advance(1)
    expect(lease?.isHeld()).toBe(false)
  })

  it('is held through a store that fails for half of its life', async () => {
    const { acquire, pass, failing } = open()
    const lease = await acquire()
    failing.add('put')
    await pass(LIFE / 2)
    failing.clear()

    await pass(LIFE)

    expect(lease?.isHeld()).toBe(true)
  })

  it('is lost, and another’s to take, when the store fails for longer', async () => {
    const { acquire, pass, failing } = open()
    const lease = await acquire()
    failing.add('put')
    await pass(LIFE)
    failing.clear()

    expect(lease?.isHeld()).toBe(false)
    expect((await acquire())?.isHeld()).toBe(true)
    expect(lease?.isHeld()).toBe(false)
  })

  it('is not held any more as soon as a renewal finds another’s in its place', async () => {
    const { acquire, pass, memory } = open()
    const lease = await acquire()
    const { version = '' } = (await memory.get(KEY)) ?? {}
    await memory.put(KEY, 'another’s', version)

    await pass(LIFE / 3)

    expect(lease?.isHeld()).toBe(false)
  })

  it('that a renewal has lost takes nothing of the next holder’s with it, and asks the store for nothing, when it is given back', async () => {
    const { acquire, pass, memory, calls } = open()
    const lease = await acquire()
    const { version = '' } = (await memory.get(KEY)) ?? {}
    await memory.put(KEY, 'another’s', version)
    await pass(LIFE / 3)
    calls.length = 0

    await lease?.release()

    expect(calls).toEqual([])
    expect(await memory.get(KEY)).toMatchObject({ value: 'another’s' })
  })

  it('that ran out does not take the next holder’s with it when it is given back', async () => {
    const { acquire, clock, memory } = open()
    const lease = await acquire()
    clock.advance(LIFE)
    await acquire()
    const before = await memory.get(KEY)

    await lease?.release()

    expect(before).toBeDefined()
    expect(await memory.get(KEY)).toEqual(before)
  })

  it('that is being renewed when it is given back is gone all the same, and is not renewed again', async () => {
    const { acquire, clock, memory, calls, pass } = open()
    const lease = await acquire()
    clock.advance(LIFE / 3)

    await lease?.release()

    expect(await memory.get(KEY)).toBeUndefined()
    await pass(LIFE)
    expect(calls).toEqual(['put', 'put', 'delete'])
  })

  it.each([
    ['is held on', LIFE],
    ['can be given back', 0],
  ])('whose renewal was carried out and not answered %s', async (_, more) => {
    const { acquire, pass, memory, storage } = open()
    const lease = await acquire()
    const put = storage.put.bind(storage)
    storage.put = async (...args) => {
      storage.put = put
      await put(...args)
      throw new Error('The connection broke')
    }
    await pass(LIFE / 3 + more)
    expect(lease?.isHeld()).toBe(true)
    expect(await acquire()).toBeUndefined()

    await lease?.release()

    expect(await memory.get(KEY)).toBeUndefined()
  })

  it('that cannot be given back at once is given back when the store works again, or else left to run out', async () => {
    const { acquire, pass, memory, calls, failing } = open()
    const lease = await acquire()
    failing.add('delete')
    await lease?.release()
    await pass(2_000)
    expect(await memory.get(KEY)).toBeDefined()
    failing.clear()
    await pass(1_000)
    expect(await memory.get(KEY)).toBeUndefined()

    const next = await acquire()
    failing.add('put').add('delete')
    await pass(LIFE / 2)
    await next?.release()
    calls.length = 0
    await pass(2 * LIFE)
    expect(calls).toHaveLength(8)
  })
})
