import { assert, describe, expect, it } from 'vitest'
import { PUT_UNCOUNTED } from '../../src/storage-adapter.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { storageContract } from '../../src/testing/storage-contract.js'
import { manualClock } from '../support/clock.js'

describe('MemoryStorage', () => {
  const clock = manualClock()
  storageContract({ describe, it, assert }, () => new MemoryStorage(undefined, clock), {
    wait(ms) {
      clock.advance(ms)
      return Promise.resolve()
    },
  })

  it('is not shared with other processes', () => {
    expect(new MemoryStorage().shared).toBe(false)
  })

  it('counts a ttl on the clock of the system', async () => {
    const storage = new MemoryStorage()
    const version = await storage.put('key', 'value', null, 60_000)
    expect(await storage.get('key')).toEqual({ value: 'value', version })
  })

  it('has lost an entry at the very end of its ttl, and not a moment before', async () => {
    const time = manualClock()
    const storage = new MemoryStorage({}, time)
    await storage.put('key', 'value', null, 1_000)
    time.advance(999)
    expect(await storage.get('key')).toBeDefined()
    time.advance(1)
    expect(await storage.get('key')).toBeUndefined()
  })

  it('rejects a new entry beyond maxEntries, drops none for it, and still replaces and deletes', async () => {
    const storage = new MemoryStorage({ maxEntries: 2 })
    const first = (await storage.put('a', '1', null))!
    await storage.put('b', '1', null)
    await expect(storage.put('c', '1', null)).rejects.toThrow('MemoryStorage is full: it holds maxEntries (2) entries')
    expect(await storage.get('b')).toBeDefined()
    const second = (await storage.put('a', '2', first))!
    expect(await storage.delete('a', second)).toBe(true)
    expect(await storage.put('c', '1', null)).toEqual(expect.any(String))
  })

  it('makes room by removing what has expired before it rejects', async () => {
    const time = manualClock()
    const storage = new MemoryStorage({ maxEntries: 2 }, time)
    await storage.put('expires', '1', null, 1_000)
    await storage.put('lives', '1', null)
    await expect(storage.put('new', '1', null)).rejects.toThrow('full')
    time.advance(1_000)
    expect(await storage.put('new', '1', null)).toEqual(expect.any(String))
    expect(await storage.get('lives')).toBeDefined()
    await expect(storage.put('newer', '1', null)).rejects.toThrow('full')
  })

  it('does not count the leases of renewals, and counts what takes their place', async () => {
    const storage = new MemoryStorage({ maxEntries: 1 })
    const lease = (await storage[PUT_UNCOUNTED]('lease', '1', null, 1_000))!
    const count = (await storage.put('a', '1', null))!
    await storage[PUT_UNCOUNTED]('another lease', '1', null, 1_000)
    expect(await storage[PUT_UNCOUNTED]('gone', '1', 'of before', 1_000)).toBeNull()
    await expect(storage.put('b', '1', null)).rejects.toThrow('full')

    await storage.delete('lease', lease)
    await storage.delete('a', count)
    await storage.put('lease', '1', null)
    await expect(storage.put('b', '1', null)).rejects.toThrow('full')
  })

  it('holds 10,000 entries by default', async () => {
    const storage = new MemoryStorage()
    for (let index = 0; index < 10_000; index += 1) await storage.put(String(index), '', null)
    await expect(storage.put('10000', '', null)).rejects.toThrow('maxEntries (10000)')
  })

  it('rejects a ttl that is no number', async () => {
    await expect(new MemoryStorage().put('key', 'value', null, NaN)).rejects.toThrow(TypeError)
  })
})
