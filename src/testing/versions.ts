import { randomInt, randomUUID } from 'node:crypto'
import type { StorageAdapter } from '../storage-adapter.js'
import { type Contract, freshKey, LONG } from './contract.js'

/**
 * Versions of any form except the adapter's own: a caller with one is told that another was first. Those of a form that adapters use are
 * made at random, so that no write has them, of a counter neither.
 */
const FOREIGN: readonly (readonly [name: string, of: (stored: string) => string])[] = [
  ['the empty string', () => ''],
  ['a UUID that no write has', () => randomUUID()],
  ['a number', () => String(randomInt(2 ** 46, 2 ** 47))],
  ['the word null', () => 'null'],
  ['quotes and a statement', () => `'; DROP TABLE x; --"\``],
  ['wildcards', () => '%'],
  ['the asterisk, which is any version to HTTP', () => '*'],
  ['a very long text', () => 'v'.repeat(100_000)],
  ['unicode', () => 'версия ❄ 𝒗'],
  ['NUL', () => 'a\0b'],
  ['line breaks', () => '\r\n*1\r\n'],
  // What a parser that is kind would take for the stored one.
  ['the stored one in a list, as HTTP takes it', (stored) => `"foreign", ${stored}`],
  ['the stored one, which closes a quote and goes on', (stored) => `${stored}", "foreign`],
  ['the stored one as a weak ETag', (stored) => `W/${stored}`],
  ['the stored one in quotes', (stored) => `"${stored}"`],
  ['the stored one with a blank behind', (stored) => `${stored} `],
  ['the stored one with a zero in front', (stored) => `0${stored}`],
]

/** The version of another key's entry, which was written twice: a count of the writes of each key is a good version as well. */
async function anothers({ stored, put }: Contract, adapter: StorageAdapter): Promise<string> {
  const { key, version } = await stored(adapter, 'another')
  return put(adapter, key, 'another', version)
}

/** get and put, one caller at a time. */
export function describeGetAndPut(contract: Contract): void {
  const { describe, check, test, stored, put, putIsLate, holds, isAbsent } = contract
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
      await putIsLate(adapter, key, 'second', null)
      await holds(adapter, key, 'first', version)
    })
    test('with null resolves to null when there is an entry with a ttl that goes on', async (adapter) => {
      const { key, version } = await stored(adapter, 'first', LONG)
      await putIsLate(adapter, key, 'second', null, LONG)
      await holds(adapter, key, 'first', version)
    })
    test('with the stored version replaces the value and gives a new version', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      const second = await put(adapter, key, 'second', version)
      check(second !== version, 'the version is still the same')
      await holds(adapter, key, 'second', second)
    })
    test('with a version that was replaced resolves to null and changes nothing', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      const second = await put(adapter, key, 'second', version)
      await putIsLate(adapter, key, 'third', version)
      await holds(adapter, key, 'second', second)
    })
    test('with a version resolves to null when there is no entry, and creates none', async (adapter) => {
      const { version } = await stored(adapter)
      const key = freshKey()
      await putIsLate(adapter, key, 'value', version)
      await isAbsent(adapter, key)
    })
    test("with another key's version resolves to null and changes nothing", async (adapter) => {
      const { key, version } = await stored(adapter, 'mine')
      await putIsLate(adapter, key, 'changed', await anothers(contract, adapter))
      await holds(adapter, key, 'mine', version)
    })
    test('of the same value is a write as well, with a new version', async (adapter) => {
      const { key, version } = await stored(adapter, 'same')
      const second = await put(adapter, key, 'same', version)
      check(second !== version, 'the version is still the same')
      await putIsLate(adapter, key, 'late', version)
    })
  })
}

/** delete, one caller at a time. */
export function describeDelete(contract: Contract): void {
  const { describe, test, stored, put, remove, deleteIsLate, holds, isAbsent } = contract
  describe('delete', () => {
    test('with the stored version removes the entry and resolves to true', async (adapter) => {
      const { key, version } = await stored(adapter)
      await remove(adapter, key, version)
      await isAbsent(adapter, key)
    })
    test('with a version that was replaced resolves to false and removes nothing', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      const second = await put(adapter, key, 'second', version)
      await deleteIsLate(adapter, key, version)
      await holds(adapter, key, 'second', second)
    })
    test('resolves to false when there is no entry, or no longer', async (adapter) => {
      const { key, version } = await stored(adapter)
      await deleteIsLate(adapter, freshKey(), version)
      await remove(adapter, key, version)
      await deleteIsLate(adapter, key, version)
    })
    test("removes no other key's entry", async (adapter) => {
      const { key, version } = await stored(adapter, 'removed')
      const other = await stored(adapter, 'other')
      await deleteIsLate(adapter, other.key, await anothers(contract, adapter))
      await remove(adapter, key, version)
      await holds(adapter, other.key, 'other', other.version)
    })
    test('of an entry lets put with null create it again', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      await adapter.delete(key, version)
      await holds(adapter, key, 'second', await put(adapter, key, 'second', null))
    })
  })
}

/** Versions that come back, or do not. */
export function describeVersions(contract: Contract): void {
  const { describe, check, test, stored, put, putIsLate, remove, deleteIsLate, holds } = contract
  describe('a version', () => {
    test('never repeats, not after delete and create of the same value either', async (adapter) => {
      const key = freshKey()
      const versions: string[] = []
      for (let round = 0; round < 5; round += 1) {
        const created = await put(adapter, key, 'same', null)
        const replaced = await put(adapter, key, 'same', created)
        versions.push(created, replaced)
        await remove(adapter, key, replaced)
      }
      check(new Set(versions).size === versions.length, `a version came back: ${versions.join(', ')}`)
    })
    test('from before delete and create matches no longer', async (adapter) => {
      const { key, version } = await stored(adapter, 'first')
      await adapter.delete(key, version)
      const second = await put(adapter, key, 'second', null)
      await putIsLate(adapter, key, 'third', version)
      await deleteIsLate(adapter, key, version)
      await holds(adapter, key, 'second', second)
    })
  })
}

/** Versions that no write has given. */
export function describeForeignVersions({
  describe,
  test,
  stored,
  putIsLate,
  deleteIsLate,
  holds,
  isAbsent,
}: Contract): void {
  describe('a version', () => {
    for (const [name, of] of FOREIGN) {
      test(`of another form is a miss and no error: ${name}`, async (adapter) => {
        const { key, version } = await stored(adapter, 'kept')
        const foreign = of(version)
        await putIsLate(adapter, key, 'changed', foreign)
        await deleteIsLate(adapter, key, foreign)
        await holds(adapter, key, 'kept', version)
        const absent = freshKey()
        await putIsLate(adapter, absent, 'created', foreign)
        await deleteIsLate(adapter, absent, foreign)
        await isAbsent(adapter, absent)
      })
    }
  })
}
