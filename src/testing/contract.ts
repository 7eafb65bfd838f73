import { randomBytes } from 'node:crypto'
import type { StorageAdapter, StoredEntry } from '../storage-adapter.js'

/** The functions of a test runner that the suite is registered with. Those of node:test, vitest, jest and mocha all fit. */
export interface TestFunctions {
  /** Groups tests. */
  readonly describe: (title: string, body: () => void) => unknown
  /** Registers a test. */
  readonly it: (title: string, body: () => Promise<void>) => unknown
  /** `node:assert`, or the `assert` of vitest or chai: of either, these two functions. */
  readonly assert: {
    readonly ok: (value: unknown, message?: string) => void
    readonly strictEqual: (actual: unknown, expected: unknown, message?: string) => void
  }
}

/** What the tests of one group are written with. */
export interface Contract extends TestFunctions {
  /** Registers a test with an adapter of its own, which is closed at its end. */
  readonly test: (title: string, body: (adapter: StorageAdapter) => Promise<void>) => void
  /** Another adapter on the same store where that is shared, else the same one. */
  readonly another: (adapter: StorageAdapter) => Promise<StorageAdapter>
  /** Writes an entry under a fresh key. */
  readonly stored: (
    adapter: StorageAdapter,
    value?: string,
    ttlMs?: number,
  ) => Promise<{ key: string; version: string }>
  /** Puts, and fails unless it was the first. */
  readonly put: (adapter: StorageAdapter, ...rest: Parameters<StorageAdapter['put']>) => Promise<string>
  /** Fails unless exactly this is stored. */
  readonly holds: (adapter: StorageAdapter, key: string, value: string, version: string) => Promise<void>
  /** Fails unless nothing is stored. */
  readonly isAbsent: (adapter: StorageAdapter, key: string) => Promise<void>
  readonly wait: (ms: number) => Promise<void>
}

/** A key of the form that this package uses, and of the full length that it may have. */
export const freshKey = (): string => `v1:${randomBytes(45).toString('base64url')}x`

/** A ttl, in milliseconds, that ends in no test. */
export const LONG = 60_000
/** Milliseconds to wait beyond the end of a ttl, for stores that count in coarse steps. */
export const MARGIN = 50

/** The tools of the suite, over the runner's functions and the user's factory. */
export function contract(
  functions: TestFunctions,
  makeAdapter: () => StorageAdapter | Promise<StorageAdapter>,
  wait: (ms: number) => Promise<void>,
): Contract {
  const { assert, it } = functions
  const opened = new WeakMap<StorageAdapter, StorageAdapter[]>()
  const put: Contract['put'] = async (adapter, key, ...rest) => {
    const version: unknown = await adapter.put(key, ...rest)
    assert.ok(typeof version === 'string' && version !== '', `put resolved to ${String(version)} and not to a version`)
    return String(version)
  }
  return {
    ...functions,
    put,
    wait,
    test(title, body) {
      it(title, async () => {
        const adapter = await makeAdapter()
        opened.set(adapter, [])
        try {
          await body(adapter)
        } finally {
          for (const one of new Set([...(opened.get(adapter) ?? []), adapter])) await one.close?.()
        }
      })
    },
    async another(adapter) {
      if (!adapter.shared) return adapter
      const other = await makeAdapter()
      opened.get(adapter)?.push(other)
      return other
    },
    async stored(adapter, value = 'value', ttlMs) {
      const key = freshKey()
      return { key, version: await put(adapter, key, value, null, ttlMs) }
    },
    async holds(adapter, key, value, version) {
      const entry: StoredEntry | undefined = await adapter.get(key)
      assert.ok(entry !== undefined, 'get resolved to undefined, but the entry is there')
      // Not compared by the runner's own words: a difference of 64 KiB is nobody's to read.
      assert.ok(entry?.value === value, `get gave another value than was put (${value.length} characters)`)
      assert.strictEqual(entry?.version, version)
    },
    async isAbsent(adapter, key) {
      const entry: unknown = await adapter.get(key)
      assert.ok(
        entry === undefined,
        `get has to resolve to undefined, it resolved to ${entry === null ? 'null' : 'an entry'}`,
      )
    },
  }
}

/** What those that were first came to: neither null nor false. A rejection is the test's failure. */
export async function winners<T>(attempts: readonly Promise<T | null | false>[]): Promise<T[]> {
  return (await Promise.all(attempts)).flatMap((result) => (result === null || result === false ? [] : [result]))
}
