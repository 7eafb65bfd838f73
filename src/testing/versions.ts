import { randomInt, randomUUID } from 'node:crypto'
import type { StorageAdapter } from '../storage-adapter.js'
import { type Contract, freshKey, LONG } from './contract.js'

/**
 * Versions of any form except the adapter's own: a caller with one is told that another was first. Those of a form that adapters use are
 * made at random, so that no write has them, of a counter neither.
 */
const FOREIGN: readonly (readonly [name: string, version: string])[] = [
  ['the empty string', ''],
  ['a UUID that no write has', randomUUID()],
  ['a number', String(randomInt(2 ** 46, 2 ** 47))],
  ['the word null', 'null'],
  ['quotes and a statement', `'; DROP TABLE x; --"\``],
  ['wildcards', '%'],
  ['a very long text', 'v'.repeat(100_000)],
  ['unicode', 'версия ❄ 𝒗'],
  ['NUL', 'a\0b'],
  ['line breaks', '\r\n*1\r\n'],
]

/** The version of another key's entry, which was written twice: a count of the writes of each key is a good version as well. */
async function anothers({ stored, put }: Contract, adapter: StorageAdapter): Promise<string> {
  const { key, version } = await stored(adapter, 'another')
  return put(adapter, key, 'another', version)
}

/** get and put, one caller at a time. */
export function describeGetAndPut(contract: Contract): void {
  const { describe, assert, test, stored, put, holds, isAbsent } = contract
  describe('get', () => {
    test('resolves to undefined for a key that was never written', async (adapter) => {
      await isAbsent(adapter, freshKey())
    })
    test('resolves to the value and the version that put resolved to', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      await holds(adapter, key, 'first', version)
      await holds(adapter, key, 'first', version)
    })
  })

  describe('put', () => {
    test('with null creates an entry that is absent', async (adapter) => {
      const key = freshKey()
      await holds(adapter, key, 'created', await put(adapter, key, 'created', null))
    })
    test('with null resolves to null when there is an entry, and changes nothing', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      assert.strictEqual(await adapter.put(key, 'second', null), null)
      await holds(adapter, key, 'first', version)
    })
    test('with null resolves to null when there is an entry with a ttl that goes on', async (adapter) => {
      const { key, version } = await stored(adapter, 'first', LONG)
      assert.strictEqual(await adapter.put(key, 'second', null, LONG), null)
      await holds(adapter, key, 'first', version)
    })
    test('with the stored version replaces the value and gives a new version', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      const second = await put(adapter, key, 'second', version)
      assert.ok(second !== version, 'the version is still the same')
      await holds(adapter, key, 'second', second)
    })
    test('with a version that was replaced resolves to null and changes nothing', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      const second = await put(adapter, key, 'second', version)
      assert.strictEqual(await adapter.put(key, 'third', version), null)
      await holds(adapter, key, 'second', second)
    })
    test('with a version resolves to null when there is no entry, and creates none', async (adapter) => {
      const { version } = await stored(adapter)
      const key = freshKey()
      assert.strictEqual(await adapter.put(key, 'value', version), null)
      await isAbsent(adapter, key)
    })
    test("with another key's version resolves to null and changes nothing", async (adapter) => {
      const { key, version } = await stored(adapter, 'mine')
      assert.strictEqual(await adapter.put(key, 'changed', await anothers(contract, adapter)), null)
      await holds(adapter, key, 'mine', version)
    })
    test('of the same value is a write as well, with a new version', async (adapter) => {
      const { key, version } = await stored(adapter, 'same')
      const second = await put(adapter, key, 'same', version)
      assert.ok(second !== version, 'the version is still the same')
      assert.strictEqual(await adapter.put(key, 'late', version), null)
    })
  })
}

/** delete, one caller at a time. */
export function describeDelete(contract: Contract): void {
  const { describe, assert, test, stored, put, holds, isAbsent } = contract
  describe('delete', () => {
    test('with the stored version removes the entry and resolves to true', async (adapter) => {
      const { key, version } = await stored(adapter)
      assert.strictEqual(await adapter.delete(key, version), true)
      await isAbsent(adapter, key)
    })
    test('with a version that was replaced resolves to false and removes nothing', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      const second = await put(adapter, key, 'second', version)
      assert.strictEqual(await adapter.delete(key, version), false)
      await holds(adapter, key, 'second', second)
    })
    test('resolves to false when there is no entry, or no longer', async (adapter) => {
      const { key, version } = await stored(adapter)
      assert.strictEqual(await adapter.delete(freshKey(), version), false)
      assert.strictEqual(await adapter.delete(key, version), true)
      assert.strictEqual(await adapter.delete(key, version), false)
    })
    test("removes no other key's entry", async (adapter) => {
      const { key, version } = await stored(adapter, 'removed')
      const other = await stored(adapter, 'other')
      assert.strictEqual(await adapter.delete(other.key, await anothers(contract, adapter)), false)
      assert.strictEqual(await adapter.delete(key, version), true)
      await holds(adapter, other.key, 'other', other.version)
    })
    test('of an entry lets put with null create it again', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      await adapter.delete(key, version)
      await holds(adapter, key, 'second', await put(adapter, key, 'second', null))
    })
  })
}

/** Versions, matching or not. */
export function describeVersions({ describe, assert, test, stored, put, holds, isAbsent }: Contract): void {
  describe('a version', () => {
    test('never repeats, not after delete and create of the same value either', async (adapter) => {
      const key = freshKey()
      const versions: string[] = []
      for (let round = 0; round < 5; round += 1) {
        const created = await put(adapter, key, 'same', null)
        const replaced = await put(adapter, key, 'same', created)
        versions.push(created, replaced)
        assert.strictEqual(await adapter.delete(key, replaced), true)
      }
      assert.strictEqual(new Set(versions).size, versions.length, `a version came back: ${versions.join(', ')}`)
    })
    test('from before delete and create matches no longer', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      await adapter.delete(key, version)
      const second = await put(adapter, key, 'second', null)
      assert.strictEqual(await adapter.put(key, 'third', version), null)
      assert.strictEqual(await adapter.delete(key, version), false)
      await holds(adapter, key, 'second', second)
    })
    for (const [name, foreign] of FOREIGN) {
      test(`of another form is a miss and no error: ${name}`, async (adapter) => {
        const { key, version } = await stored(adapter, 'kept')
        assert.strictEqual(await adapter.put(key, 'changed', foreign), null)
        assert.strictEqual(await adapter.delete(key, foreign), false)
        await holds(adapter, key, 'kept', version)
        const absent = freshKey()
        assert.strictEqual(await adapter.put(absent, 'created', foreign), null)
        assert.strictEqual(await adapter.delete(absent, foreign), false)
        await isAbsent(adapter, absent)
      })
    }
  })
}
