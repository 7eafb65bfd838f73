import type { StorageAdapter } from '../storage-adapter.js'
import { describeConcurrency, describeSharing, describeTwo } from './concurrency.js'
import { type Contract, contract, type TestFunctions } from './contract.js'
import { describeExpired, describeExpiry } from './expiry.js'
import { describeFailure, type UnavailableStores } from './failure.js'
import { describeKeys, describeValues } from './keys-and-values.js'
import { describeList } from './list.js'
import { describeDelete, describeForeignVersions, describeGetAndPut, describeVersions } from './versions.js'

export type { StorageAdapter, StoredEntry } from '../storage-adapter.js'
export type { TestFunctions } from './contract.js'
export type { UnavailableStores } from './failure.js'

/** The groups of tests, each with the rule of docs/write-an-adapter.md that they test. */
const RULES: readonly (readonly [rule: number, ...groups: ((contract: Contract) => void)[]])[] = [
  [3, describeVersions],
  [4, describeForeignVersions],
  [7, describeValues],
  [6, describeKeys],
  [5, describeExpiry, describeExpired],
  [1, describeConcurrency],
  [9, describeSharing],
  [8, describeList],
]

/** Options of {@link storageContract}. */
export interface StorageContractOptions {
  /**
   * Makes an adapter over a store that is gone: a server that was stopped, a closed connection. Or several, each under what its store
   * does: `{ 'refuses connections': …, 'answers 503': …, hangs: … }`. It enables the groups that find swallowed errors. Each call is made
   * twice, and must reject within 5 seconds and both within the test runner's time limit, so give the client a short limit and
   * switch off endless reconnecting. Default: the group is one test, which is skipped and says that the group was left out.
   */
  readonly unavailable?: UnavailableStores | undefined
  /**
   * Lets `ms` milliseconds of the store's own clock go by. Default: waits for them, a few seconds in the whole suite. A store
   * whose clock the test holds can move it instead.
   */
  readonly wait?: ((ms: number) => Promise<void>) | undefined
}

/**
 * Registers the tests that every storage adapter must pass, with the functions of any test runner: node:test, vitest, jest,
 * mocha. The store need not be empty, because every test uses fresh keys. It is left with a few entries.
 *
 * @param functions `describe` and `it` of the runner, and `assert` of node:assert, vitest or chai
 * @param makeAdapter makes an adapter; called for every test, and twice where the adapter says that it is `shared`: both must be
 *   on the same store then. An adapter with `close()` is closed at the end of the test.
 *
 * @example
 * import assert from 'node:assert/strict'
 * import { describe, it } from 'node:test'
 * import { MemoryStorage } from 'mcp-nextcloud-auth'
 * import { storageContract } from 'mcp-nextcloud-auth/testing'
 *
 * storageContract({ describe, it, assert }, () => new MemoryStorage())
 */
export function storageContract(
  functions: TestFunctions,
  makeAdapter: () => StorageAdapter | Promise<StorageAdapter>,
  options: StorageContractOptions = {},
): void {
  const wait = options.wait ?? ((ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)))
  const suite = contract({ functions, makeAdapter, wait })
  suite.describe('the storage contract', () => {
    suite.test('says with `shared` whether other processes see the same data', async (adapter) => {
      await Promise.resolve()
      suite.check(typeof adapter.shared === 'boolean', `shared is ${String(adapter.shared)}, and must be true or false`)
    })
    describeTwo(suite)
    describeGetAndPut(suite)
    describeDelete(suite)
    for (const [rule, ...groups] of RULES) for (const group of groups) group(suite.under(rule))
    describeFailure(functions, suite.leaveOut, options.unavailable)
  })
}
