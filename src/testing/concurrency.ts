import type { StorageAdapter } from '../storage-adapter.js'
import { type Contract, freshKey, winners } from './contract.js'

const CALLERS = 16
/** A race that is lost by the defect only sometimes is run so many times. */
const ROUNDS = 5

/** Many callers at once, on one adapter and on two over the same store. */
export function describeConcurrency(contract: Contract): void {
  const { describe, assert, test, another, stored, put, holds, isAbsent } = contract

  const callers = async (adapter: StorageAdapter) => {
    const other = await another(adapter)
    return Array.from({ length: CALLERS }, (_, index) => ({
      value: `caller ${index}`,
      adapter: index % 2 === 0 ? adapter : other,
    }))
  }
  /** The winner's value is what is stored, under the version that the winner got. */
  const holdsTheWinners = async (
    adapter: StorageAdapter,
    key: string,
    won: readonly { value: string; version: string }[],
  ) => {
    assert.strictEqual(won.length, 1, `${won.length} of ${CALLERS} callers were told that they were first`)
    await holds(adapter, key, won[0]?.value ?? '', won[0]?.version ?? '')
  }

  describe('of many callers at once', () => {
    test('exactly one creates an entry', async (adapter) => {
      const all = await callers(adapter)
      for (let round = 0; round < ROUNDS; round += 1) {
        const key = freshKey()
        const won = await winners(
          all.map(async (caller) => {
            const version = await caller.adapter.put(key, caller.value, null)
            return version === null ? null : { value: caller.value, version }
          }),
        )
        await holdsTheWinners(adapter, key, won)
      }
    })
    test('exactly one replaces an entry', async (adapter) => {
      const all = await callers(adapter)
      for (let round = 0; round < ROUNDS; round += 1) {
        const { key, version: first } = await stored(adapter)
        const won = await winners(
          all.map(async (caller) => {
            const version = await caller.adapter.put(key, caller.value, first)
            return version === null ? null : { value: caller.value, version }
          }),
        )
        await holdsTheWinners(adapter, key, won)
      }
    })
    test('exactly one deletes an entry', async (adapter) => {
      const all = await callers(adapter)
      for (let round = 0; round < ROUNDS; round += 1) {
        const { key, version } = await stored(adapter)
        const won = await winners(all.map((caller) => caller.adapter.delete(key, version)))
        assert.strictEqual(won.length, 1, `${won.length} of ${CALLERS} callers were told that they deleted it`)
        await isAbsent(adapter, key)
      }
    })
    test('either one replaces an entry or one deletes it', async (adapter) => {
      const all = await callers(adapter)
      for (let round = 0; round < ROUNDS; round += 1) {
        const { key, version } = await stored(adapter)
        const attempts = all.map((caller, index) =>
          index % 4 < 2 ? caller.adapter.put(key, 'replaced', version) : caller.adapter.delete(key, version),
        )
        const won = await winners<string | true>(attempts)
        assert.strictEqual(won.length, 1, `${won.length} of ${CALLERS} callers were told that they were first`)
        if (typeof won[0] === 'string') await holds(adapter, key, 'replaced', won[0])
        else await isAbsent(adapter, key)
      }
    })
    test('each finds its own entry when each writes another key', async (adapter) => {
      const all = await callers(adapter)
      await Promise.all(
        all.map(async (caller) => {
          const { key, version } = await stored(caller.adapter, caller.value)
          await holds(caller.adapter, key, caller.value, version)
        }),
      )
    })
    test('none loses an update that read, changed and wrote until it was the first', async (adapter) => {
      const all = (await callers(adapter)).slice(0, 6)
      const { key } = await stored(adapter, '0')
      const add = async (caller: StorageAdapter): Promise<void> => {
        // Of those that read the same version one gets on, so that as many attempts as there are callers are enough.
        for (let attempt = 0; attempt < all.length; attempt += 1) {
          const entry = await caller.get(key)
          if (entry && (await caller.put(key, String(Number(entry.value) + 1), entry.version)) !== null) return
        }
        assert.ok(false, 'a caller was never the first, though nobody else was left to be it')
      }
      await Promise.all(all.map((caller) => add(caller.adapter)))
      assert.strictEqual((await adapter.get(key))?.value, String(all.length))
    })
  })

  describe('two adapters on one store, where it is shared,', () => {
    test('see what the other one wrote, at once', async (adapter) => {
      const other = await another(adapter)
      const { key, version } = await stored(adapter, 'first')
      await holds(other, key, 'first', version)
      await holds(adapter, key, 'second', await put(other, key, 'second', version))
    })
    test('are told that the other one was first', async (adapter) => {
      const other = await another(adapter)
      const { key, version } = await stored(adapter, 'first')
      assert.strictEqual(await other.put(key, 'late', null), null)
      const second = await put(other, key, 'second', version)
      assert.strictEqual(await adapter.put(key, 'late', version), null)
      assert.strictEqual(await adapter.delete(key, version), false)
      await holds(adapter, key, 'second', second)
    })
    test('see what the other one deleted', async (adapter) => {
      const other = await another(adapter)
      const { key, version } = await stored(adapter)
      assert.strictEqual(await other.delete(key, version), true)
      await isAbsent(adapter, key)
      assert.strictEqual(await adapter.put(key, 'late', version), null)
    })
  })
}
