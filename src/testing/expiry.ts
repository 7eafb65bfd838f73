import type { StorageAdapter } from '../storage-adapter.js'
import { type Contract, freshKey, LONG, MARGIN } from './contract.js'

/** Milliseconds: short for a test, long for a store. */
const SHORT = 150
/** Milliseconds. */
const SECOND = 1_000

async function expired({ stored, wait }: Contract, adapter: StorageAdapter): Promise<{ key: string; version: string }> {
  const entry = await stored(adapter, 'expired', SHORT)
  await wait(SHORT + MARGIN)
  return entry
}

/** Milliseconds. A store that does not write twice within it is judged all the same, because runners end a test after 2 or 5 seconds. */
const LONGEST = 2_000

/**
 * Fails unless an entry with a short ttl, which is replaced with `next` before its end, is there after that end. Where the store was so
 * slow that the replacement may have been late, nothing is judged, and both are written again with a longer ttl.
 */
async function livesOn(
  { check, stored, holds, wait }: Contract,
  adapter: StorageAdapter,
  next?: number,
): Promise<void> {
  for (let ttlMs = SHORT * 2; ; ttlMs *= 2) {
    const start = performance.now()
    const { key, version } = await stored(adapter, 'first', ttlMs)
    const second = await adapter.put(key, 'second', version, next)
    if (performance.now() - start >= ttlMs && ttlMs < LONGEST) continue
    check(second !== null, 'put resolved to null and not to a version')
    await wait(ttlMs + MARGIN)
    return holds(adapter, key, 'second', String(second))
  }
}

/** Fails unless the entry has expired by now; a ttl that is only rounded up is told from one that has no effect. */
async function hasExpired({ check, isAbsent, wait }: Contract, adapter: StorageAdapter, key: string): Promise<void> {
  if (!(await adapter.get(key))) return isAbsent(adapter, key)
  await wait(SECOND)
  const isRounded = (await adapter.get(key)) === undefined
  const found = isRounded ? 'a second later it was gone: a ttl counts in milliseconds' : 'so it was a second later'
  check(false, `the entry was still there after the end of its ttl, and ${found}`)
}

/** Entries with a ttl. */
export function describeExpiry(contract: Contract): void {
  const { describe, test, stored, put, holds, wait } = contract

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
      await hasExpired(contract, adapter, (await expired(contract, adapter)).key)
    })
    test('is absent after its end also when it was replaced with a ttl', async (adapter) => {
      const { key, version } = await stored(adapter, 'first', LONG)
      await put(adapter, key, 'second', version, SHORT)
      await wait(SHORT + MARGIN)
      await hasExpired(contract, adapter, key)
    })
    test('lives no longer because it was read', async (adapter) => {
      const { key } = await stored(adapter, 'value', SHORT * 2)
      await wait(SHORT)
      await adapter.get(key)
      await wait(SHORT + MARGIN)
      await hasExpired(contract, adapter, key)
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
        if (!isLate || ttlMs > LONGEST) return hasExpired(contract, adapter, key)
      }
    })
    test('lives on when it is replaced with a longer ttl', async (adapter) => {
      await livesOn(contract, adapter, LONG)
    })
    test('never expires when it is replaced without a ttl', async (adapter) => {
      await livesOn(contract, adapter)
    })
    test('may have a ttl of 400 days and of a part of a millisecond', async (adapter) => {
      const { key, version } = await stored(adapter, 'long', 400 * 24 * 3_600_000)
      const short = await stored(adapter, 'short', 0.4)
      await wait(MARGIN)
      await holds(adapter, key, 'long', version)
      await hasExpired(contract, adapter, short.key)
    })
  })
}

/** Entries whose ttl has ended. */
export function describeExpired(contract: Contract): void {
  const { describe, check, test, put, putIsLate, deleteIsLate, holds, isAbsent, wait } = contract

  describe('an entry that has expired', () => {
    test('counts as absent for put with null, which gives a new version', async (adapter) => {
      const { key, version } = await expired(contract, adapter)
      const second = await put(adapter, key, 'second', null)
      check(second !== version, 'the version of the expired entry came back')
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
      await hasExpired(contract, adapter, key)
    })
    test('makes put with its version resolve to null, and stays absent', async (adapter) => {
      const { key, version } = await expired(contract, adapter)
      await putIsLate(adapter, key, 'second', version)
      await isAbsent(adapter, key)
    })
    test('makes delete with its version resolve to false', async (adapter) => {
      const { key, version } = await expired(contract, adapter)
      await deleteIsLate(adapter, key, version)
    })
    test('is not found by its version once another was created', async (adapter) => {
      const { key, version } = await expired(contract, adapter)
      const second = await put(adapter, key, 'second', null)
      await putIsLate(adapter, key, 'third', version)
      await deleteIsLate(adapter, key, version)
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
