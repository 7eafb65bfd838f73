import type { StorageAdapter } from '../storage-adapter.js'
import { type Contract, freshKey } from './contract.js'

const CALLERS = 16
/** A race that is lost by the defect only sometimes is run so many times. */
const ROUNDS = 5

/** One of many callers at once, on one adapter or on another one over the same store. */
interface Caller {
  readonly adapter: StorageAdapter
  readonly value: string
  readonly index: number
}

async function callers({ another }: Contract, adapter: StorageAdapter): Promise<readonly Caller[]> {
  const adapters = [adapter, await another(adapter)]
  return Array.from({ length: CALLERS }, (_, index) => ({
    adapter: adapters[index % 2] ?? adapter,
    value: `caller ${index}`,
    index,
  }))
}

type Outcome = string | boolean | null

/** All callers attempt the same; exactly one is told that it was first, by a version or by true, and so it is in the store. */
async function race(
  contract: Contract,
  adapter: StorageAdapter,
  before: 'absent' | 'stored',
  attempt: (caller: Caller, key: string, version: string) => Promise<Outcome>,
): Promise<void> {
  const { check, stored, holds, isAbsent } = contract
  const all = await callers(contract, adapter)
  for (let round = 0; round < ROUNDS; round += 1) {
    const { key, version } = before === 'stored' ? await stored(adapter) : { key: freshKey(), version: '' }
    const outcomes = await Promise.all(
      all.map(async (caller) => ({ value: caller.value, won: await attempt(caller, key, version) })),
    )
    const winners = outcomes.filter(({ won }) => won !== null && won !== false)
    check(winners.length === 1, `${CALLERS} callers at once, and ${toldFirst(winners.map(({ won }) => won))}`)
    const { value = '', won = null } = winners[0] ?? {}
    if (typeof won === 'string') await holds(adapter, key, value, won)
    else await isAbsent(adapter, key)
  }
}

function toldFirst(winners: readonly Outcome[]): string {
  const by = { put: winners.filter((won) => won !== true).length, delete: winners.filter((won) => won === true).length }
  return `put told ${by.put} and delete told ${by.delete} that they were first`
}

/** Many callers at once, on one adapter and on two over the same store. */
export function describeConcurrency(contract: Contract): void {
  const { describe, check, test, stored, holds } = contract

  describe('of many callers at once', () => {
    test('exactly one creates an entry by put', (adapter) =>
      race(contract, adapter, 'absent', (caller, key) => caller.adapter.put(key, caller.value, null)))
    test('exactly one replaces an entry by put', (adapter) =>
      race(contract, adapter, 'stored', (caller, key, version) => caller.adapter.put(key, caller.value, version)))
    test('exactly one deletes an entry by delete', (adapter) =>
      race(contract, adapter, 'stored', (caller, key, version) => caller.adapter.delete(key, version)))
    test('exactly one is first when some replace an entry by put and others delete it', (adapter) =>
      race(contract, adapter, 'stored', ({ adapter: its, index, value }, key, version) =>
        index % 4 < 2 ? its.put(key, value, version) : its.delete(key, version),
      ))
    test('each finds its own entry when each writes another key', async (adapter) => {
      const all = await callers(contract, adapter)
      await Promise.all(
        all.map(async (caller) => {
          const { key, version } = await stored(caller.adapter, caller.value)
          await holds(caller.adapter, key, caller.value, version)
        }),
      )
    })
    test('none loses an update that read, changed and wrote until it was the first', async (adapter) => {
      const all = (await callers(contract, adapter)).slice(0, 6)
      const { key } = await stored(adapter, '0')
      // Of those that read the same version one gets on, so that as many attempts as there are callers are enough.
      const added = await Promise.all(all.map((caller) => add(caller.adapter, key, all.length)))
      check(!added.includes(false), 'a caller was never the first, though nobody else was left to be it')
      const sum = (await adapter.get(key))?.value
      check(sum === String(all.length), `${all.length} callers added one each, and the sum is ${String(sum)}`)
    })
  })
}

/** Whether a number in the store was read, raised and written first in so many attempts. */
async function add(adapter: StorageAdapter, key: string, attempts: number): Promise<boolean> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const entry = await adapter.get(key)
    if (entry && (await adapter.put(key, String(Number(entry.value) + 1), entry.version)) !== null) return true
  }
  return false
}

/** Tests with two adapters on one store. They are left out where it is not shared. */
function pairs({ test, another, leaveOut }: Contract): Pairs {
  return (title, body) =>
    test(title, async (adapter, skip) =>
      adapter.shared ? body(adapter, await another(adapter)) : leaveOut(NOT_SHARED, skip),
    )
}
const NOT_SHARED = 'two adapters on one store, because the adapter says that it is not `shared`'
type Pairs = (title: string, body: (adapter: StorageAdapter, other: StorageAdapter) => Promise<void>) => void

/** Whether there is one store, which all other tests with two adapters take for granted. */
export function describeTwo(contract: Contract): void {
  const { check, stored } = contract
  pairs(contract)('gives two adapters on one store by `makeAdapter`, where it is shared', async (adapter, other) => {
    const { key } = await stored(adapter)
    const found = await other.get(key)
    const advice = 'if each call of makeAdapter opens a store of its own, open one store outside of it'
    check(found !== undefined, `the second adapter of makeAdapter does not see what the first one wrote: ${advice}`)
  })
}

/** Two adapters on one store, where it is shared. */
export function describeSharing(contract: Contract): void {
  const { describe, stored, put, putIsLate, remove, deleteIsLate, holds, isAbsent } = contract
  const { check } = contract.under(3)
  const test = pairs(contract)
  describe('two adapters on one store, where it is shared,', () => {
    test('never give a version of the other one to an entry', async (adapter, other) => {
      const key = freshKey()
      const versions: string[] = []
      for (let round = 0; round < 5; round += 1) {
        const created = await put(adapter, key, 'same', null)
        const replaced = await put(other, key, 'same', created)
        versions.push(created, replaced)
        await remove(adapter, key, replaced)
      }
      const advice = 'a counter in the adapter starts again with every adapter and every process'
      check(new Set(versions).size === versions.length, `a version came back: ${versions.join(', ')}; ${advice}`)
    })
    test('see what the other one wrote, at once', async (adapter, other) => {
      const { key, version } = await stored(adapter, 'first')
      await holds(other, key, 'first', version)
      await holds(adapter, key, 'second', await put(other, key, 'second', version))
    })
    test('see what the other one did since their last get, at once', async (adapter, other) => {
      const key = freshKey()
      await isAbsent(adapter, key)
      const first = await put(other, key, 'first', null)
      await holds(adapter, key, 'first', first)
      const second = await put(other, key, 'second', first)
      await holds(adapter, key, 'second', second)
      await remove(other, key, second)
      await isAbsent(adapter, key)
    })
    test('are told that the other one was first', async (adapter, other) => {
      const { key, version } = await stored(adapter, 'first')
      await putIsLate(other, key, 'late', null)
      const second = await put(other, key, 'second', version)
      await putIsLate(adapter, key, 'late', version)
      await deleteIsLate(adapter, key, version)
      await holds(adapter, key, 'second', second)
    })
    test('see what the other one deleted', async (adapter, other) => {
      const { key, version } = await stored(adapter)
      await remove(other, key, version)
      await isAbsent(adapter, key)
      await putIsLate(adapter, key, 'late', version)
    })
  })
}
