import type { StorageAdapter } from '../storage-adapter.js'
import { checkWith, freshKey, type LeaveOut, NO_LIST, skipOf, type TestFunctions } from './contract.js'

const VERSION = '00000000-0000-4000-8000-000000000000'

const LIST = 'list, where the adapter has it,'

const CALLS: readonly (readonly [name: string, call: (adapter: StorageAdapter) => Promise<unknown>])[] = [
  ['get', (adapter) => adapter.get(freshKey())],
  ['put with null', (adapter) => adapter.put(freshKey(), 'value', null)],
  ['put with null and a ttl', (adapter) => adapter.put(freshKey(), 'value', null, 60_000)],
  ['put with a version', (adapter) => adapter.put(freshKey(), 'value', VERSION)],
  ['put with a foreign version', (adapter) => adapter.put(freshKey(), 'value', 'foreign')],
  ['delete', (adapter) => adapter.delete(freshKey(), VERSION)],
  ['delete with a foreign version', (adapter) => adapter.delete(freshKey(), 'foreign')],
  [LIST, async (adapter) => adapter.list?.({ limit: 1 })],
]

/** Makes an adapter over a store that cannot be used. */
type MakeUnavailable = () => StorageAdapter | Promise<StorageAdapter>

/** The ways in which a store can be unavailable, each under its name: what the store does then. Or the one way, in which it is gone. */
export type UnavailableStores = MakeUnavailable | Readonly<Record<string, MakeUnavailable>>

const NAMED = 'whether calls reject. Give options.unavailable, which makes an adapter over a store that is gone'

/** Milliseconds after which the package takes a call for failed. */
const PATIENCE = 5_000

/** Adapters over stores that are unavailable. An error that is swallowed would turn an outage into "not connected". */
export function describeFailure(
  functions: TestFunctions,
  leaveOut: LeaveOut,
  unavailable: UnavailableStores = {},
): void {
  const ways = Object.entries(typeof unavailable === 'function' ? { gone: unavailable } : unavailable)
  const { describe, it } = functions
  if (ways.length === 0) {
    describe('the store: gone', () => {
      it(`LEFT OUT: ${NAMED}`, async function (...context) {
        await Promise.resolve()
        leaveOut(NAMED, skipOf([...context, this]))
      })
    })
  }
  for (const [way, makeAdapter] of ways) {
    describe(`the store: ${way}`, () => {
      for (const [name, call] of CALLS) {
        it(`${name} rejects`, async function (...context) {
          const adapter = await makeAdapter()
          try {
            if (name === LIST && adapter.list === undefined) leaveOut(NO_LIST, skipOf([...context, this]))
            else await rejects(functions, adapter, { way, name, call })
          } finally {
            await adapter.close?.()
          }
        })
      }
    })
  }
}

async function rejects(
  functions: TestFunctions,
  adapter: StorageAdapter,
  { way, name, call }: { way: string; name: string; call: (adapter: StorageAdapter) => Promise<unknown> },
): Promise<void> {
  const check = checkWith(functions, 2)
  // The first call and the second: a failed set-up must not count as done.
  for (const time of ['first', 'second']) {
    const outcome = await outcomeOf(() => call(adapter))
    check(outcome === 'rejected', `the ${time} call of ${name} ${outcome}, the store: ${way}`)
  }
}

async function outcomeOf(call: () => Promise<unknown>): Promise<string> {
  let pending
  try {
    pending = call()
  } catch {
    return 'threw instead of giving a promise'
  }
  const settled = Promise.resolve(pending).then(
    (result) => `resolved to ${String(result)}`,
    () => 'rejected',
  )
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`did not end within ${PATIENCE} ms`), PATIENCE)
  })
  return Promise.race([settled, silence]).finally(() => clearTimeout(timer))
}
