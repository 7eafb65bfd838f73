import assert from 'node:assert/strict'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { storageContract, type StorageContractOptions } from '../../src/testing/storage-contract.js'

/** What came of the suite: titles with those of their groups in front. */
export interface Recorded {
  readonly passed: readonly string[]
  readonly failed: readonly string[]
  readonly skipped: readonly string[]
  /** What the tests that failed say. */
  readonly messages: readonly string[]
}

class Skipped extends Error {}
/** What a runner gives to a test that can skip itself. */
const SKIPPING = {
  skip() {
    throw new Skipped()
  },
}

/** Runs the contract without any test runner, one test after the other as they were registered. */
export async function recordedSuite(
  makeAdapter: () => StorageAdapter | Promise<StorageAdapter>,
  options?: StorageContractOptions,
  { canSkip = false } = {},
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
        const whole = [...groups.slice(1), title].join(' ')
        tests.push({ title: whole, body: () => body.call(undefined, ...(canSkip ? [SKIPPING] : [])) })
      },
      assert,
    },
    makeAdapter,
    options,
  )
  const passed: string[] = []
  const failed: string[] = []
  const skipped: string[] = []
  const messages: string[] = []
  for (const { title, body } of tests) {
    await body().then(
      () => passed.push(title),
      (error: unknown) => {
        if (error instanceof Skipped) return skipped.push(title)
        messages.push(error instanceof Error ? error.message : '')
        return failed.push(title)
      },
    )
  }
  return { passed, failed, skipped, messages }
}
