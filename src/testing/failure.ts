import type { StorageAdapter } from '../storage-adapter.js'
import { freshKey, type TestFunctions } from './contract.js'

const VERSION = '00000000-0000-4000-8000-000000000000'

const NO_LIST = new Error('There is no list')

const CALLS: readonly (readonly [name: string, call: (adapter: StorageAdapter) => Promise<unknown>])[] = [
  ['get', (adapter) => adapter.get(freshKey())],
  ['put with null', (adapter) => adapter.put(freshKey(), 'value', null)],
  ['put with null and a ttl', (adapter) => adapter.put(freshKey(), 'value', null, 60_000)],
  ['put with a version', (adapter) => adapter.put(freshKey(), 'value', VERSION)],
  ['put with a foreign version', (adapter) => adapter.put(freshKey(), 'value', 'foreign')],
  ['delete', (adapter) => adapter.delete(freshKey(), VERSION)],
  ['delete with a foreign version', (adapter) => adapter.delete(freshKey(), 'foreign')],
  [
    'list, where the adapter has it,',
    (adapter) => (adapter.list ? adapter.list({ limit: 1 }) : Promise.reject(NO_LIST)),
  ],
]

/** An adapter over a store that is gone. An error that it swallows would turn an outage into "not connected". */
export function describeFailure(
  { describe, it, assert }: TestFunctions,
  unavailable: (() => StorageAdapter | Promise<StorageAdapter>) | undefined,
): void {
  describe('when the store is gone', () => {
    if (unavailable === undefined) {
      it('LEFT OUT: whether calls reject. Give options.unavailable, which makes an adapter over a store that is gone', () => {
        assert.strictEqual(unavailable, undefined)
        return Promise.resolve()
      })
      return
    }
    for (const [name, call] of CALLS) {
      it(`${name} rejects`, async () => {
        const adapter = await unavailable()
        // The first call and the second: a failed set-up must not count as done.
        for (const time of ['first', 'second']) {
          const outcome = await outcomeOf(() => call(adapter))
          assert.strictEqual(outcome, 'rejected', `the ${time} call of ${name} ${outcome}, while the store is gone`)
        }
        await adapter.close?.()
      })
    }
  })
}

async function outcomeOf(call: () => Promise<unknown>): Promise<string> {
  let pending
  try {
    pending = call()
  } catch {
    return 'threw instead of giving a promise'
  }
  return Promise.resolve(pending).then(
    (result) => `resolved to ${String(result)}`,
    () => 'rejected',
  )
}
