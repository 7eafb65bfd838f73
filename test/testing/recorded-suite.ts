import assert from 'node:assert/strict'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { storageContract, type StorageContractOptions } from '../../src/testing/storage-contract.js'

/** What came of the suite: titles with those of their groups in front. */
export interface Recorded {
  readonly passed: readonly string[]
  readonly failed: readonly string[]
}

/** Runs the contract without any test runner, one test after the other as they were registered. */
export async function recordedSuite(
  makeAdapter: () => StorageAdapter | Promise<StorageAdapter>,
  options?: StorageContractOptions,
): Promise<Recorded> {
  const groups: string[] = []
  const tests: { title: string; body: () => Promise<void> }[] = []
  storageContract(
    {
      describe(title, body) {
        groups.push(title)
        body()
        groups.pop()
      },
      it(title, body) {
        // Without the name of the whole suite.
        tests.push({ title: [...groups.slice(1), title].join(' '), body })
      },
      assert,
    },
    makeAdapter,
    options,
  )
  const passed: string[] = []
  const failed: string[] = []
  for (const { title, body } of tests) {
    await body().then(
      () => passed.push(title),
      () => failed.push(title),
    )
  }
  return { passed, failed }
}
