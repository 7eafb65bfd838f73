import type { StorageAdapter } from '../storage-adapter.js'
import { type Contract, freshKey, LONG, MARGIN } from './contract.js'

/** Milliseconds: short for a test, long for a store. */
const SHORT = 150

async function expired({ stored, wait }: Contract, adapter: StorageAdapter): Promise<{ key: string; version: string }> {
  const entry = await stored(adapter, 'expired', SHORT)
  await wait(SHORT + MARGIN)
  return entry
}

/**
 * Does `body` with a short ttl. Where the store was so slow that the ttl may have ended within it, the outcome says nothing, and
 * `body` is done again with a longer one.
 */
async function beforeItsEnd(body: (ttlMs: number) => Promise<void>): Promise<void> {
  for (let ttlMs = SHORT * 2; ; ttlMs *= 2) {
    const start = performance.now()
    try {
      return await body(ttlMs)
    } catch (error) {
      if (performance.now() - start < ttlMs || ttlMs > 10_000) throw error
    }
  }
}

/** Entries with a ttl. */
export function describeExpiry(contract: Contract): void {
  const { describe, test, stored, put, holds, isAbsent, wait } = contract

  describe('an entry with a ttl', () => {
    test('is there before its end', async (adapter) => {
      const { key, version } = await stored(adapter, 'lives', LONG)
      await holds(adapter, key, 'lives', version)
    })
    test('is there before its end, counted in milliseconds', async (adapter) => {
      const { key, version } = await stored(adapter, 'lives', LONG)
      await wait(SHORT)
      await holds(adapter, key, 'lives', version)
    })
    test('is absent after its end', async (adapter) => {
      await isAbsent(adapter, (await expired(contract, adapter)).key)
    })
    test('is absent after its end also when it was replaced with a ttl', async (adapter) => {
      const { key, version } = await stored(adapter, 'first', LONG)
      await put(adapter, key, 'second', version, SHORT)
      await wait(SHORT + MARGIN)
      await isAbsent(adapter, key)
    })
    test('lives no longer because it was read', async (adapter) => {
      const { key } = await stored(adapter, 'value', SHORT * 2)
      await wait(SHORT)
      await adapter.get(key)
      await wait(SHORT + MARGIN)
      await isAbsent(adapter, key)
    })
    test('lives no longer because of a put or delete with another version', async (adapter) => {
      for (let ttlMs = SHORT; ; ttlMs *= 2) {
        const start = performance.now()
        const { key } = await stored(adapter, 'value', ttlMs)
        await adapter.put(key, 'other', 'foreign', LONG)
        await adapter.put(key, 'other', null, LONG)
        await adapter.delete(key, 'foreign')
        // A store so slow that the entry had ended before may have taken the second.
        const isLate = performance.now() - start >= ttlMs
        await wait(ttlMs + MARGIN)
        if (!isLate || ttlMs > 10_000) return isAbsent(adapter, key)
      }
    })
    test('lives on when it is replaced with a longer ttl', async (adapter) => {
      await beforeItsEnd(async (ttlMs) => {
        const { key, version } = await stored(adapter, 'first', ttlMs)
        const second = await put(adapter, key, 'second', version, LONG)
        await wait(ttlMs + MARGIN)
        await holds(adapter, key, 'second', second)
      })
    })
    test('never expires when it is replaced without a ttl', async (adapter) => {
      await beforeItsEnd(async (ttlMs) => {
        const { key, version } = await stored(adapter, 'first', ttlMs)
        const second = await put(adapter, key, 'second', version)
        await wait(ttlMs + MARGIN)
        await holds(adapter, key, 'second', second)
      })
    })
    test('may have a ttl of 30 days and of a part of a millisecond', async (adapter) => {
      const { key, version } = await stored(adapter, 'long', 30 * 24 * 3_600_000)
      await holds(adapter, key, 'long', version)
      const short = await stored(adapter, 'short', 0.4)
      await wait(MARGIN)
      await isAbsent(adapter, short.key)
    })
  })
}

/** Entries whose ttl has ended. */
export function describeExpired(contract: Contract): void {
  const { describe, assert, test, put, holds, isAbsent, wait } = contract

  describe('an entry that has expired', () => {
    test('counts as absent for put with null, which gives a new version', async (adapter) => {
      const { key, version } = await expired(contract, adapter)
      const second = await put(adapter, key, 'second', null)
      assert.ok(second !== version, 'the version of the expired entry came back')
      await holds(adapter, key, 'second', second)
    })
    test('leaves nothing of its ttl to the entry that comes after it', async (adapter) => {
      const { key } = await expired(contract, adapter)
      const second = await put(adapter, key, 'second', null)
      await wait(SHORT + MARGIN)
      await holds(adapter, key, 'second', second)
    })
    test('can be created again with a ttl, and expires again', async (adapter) => {
      const { key } = await expired(contract, adapter)
      await put(adapter, key, 'second', null, SHORT)
      await wait(SHORT + MARGIN)
      await isAbsent(adapter, key)
    })
    test('makes put with its version resolve to null, and stays absent', async (adapter) => {
      const { key, version } = await expired(contract, adapter)
      assert.strictEqual(await adapter.put(key, 'second', version), null)
      await isAbsent(adapter, key)
    })
    test('makes delete with its version resolve to false', async (adapter) => {
      const { key, version } = await expired(contract, adapter)
      assert.strictEqual(await adapter.delete(key, version), false)
    })
    test('is not found by its version once another was created', async (adapter) => {
      const { key, version } = await expired(contract, adapter)
      const second = await put(adapter, key, 'second', null)
      assert.strictEqual(await adapter.put(key, 'third', version), null)
      assert.strictEqual(await adapter.delete(key, version), false)
      await holds(adapter, key, 'second', second)
    })
    test('takes no other entry with it', async (adapter) => {
      const other = freshKey()
      const version = await put(adapter, other, 'other', null)
      await isAbsent(adapter, (await expired(contract, adapter)).key)
      await holds(adapter, other, 'other', version)
    })
  })
}
