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

/** The tools that the tests of a group are written with. */
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
/** Milliseconds to wait beyond the end of a ttl, because some stores count in coarse steps. */
export const MARGIN = 50

/** The tools of the suite, over the runner's functions and the user's factory. */
export function contract(
  functions: TestFunctions,
  makeAdapter: () => StorageAdapter | Promise<StorageAdapter>,
  wait: (ms: number) => Promise<void>,
): Contract {
  const { assert, it } = functions
  const opened = new WeakMap<StorageAdapter, StorageAdapter[]>()
  const put: Contract['put'] = async (adapter, ...args) => asVersion(assert, await adapter.put(...args))
  return {
    ...functions,
    put,
    wait,
    test: (title, body) =>
      void it(title, async () => {
        const adapter = await makeAdapter()
        opened.set(adapter, [])
        try {
          await body(adapter)
        } finally {
          for (const one of new Set([...(opened.get(adapter) ?? []), adapter])) await one.close?.()
        }
      }),
    another: async (adapter) => {
      if (!adapter.shared) return adapter
      const other = await makeAdapter()
      opened.get(adapter)?.push(other)
      return other
    },
    stored: async (adapter, value = 'value', ttlMs) => {
      const key = freshKey()
      return { key, version: await put(adapter, key, value, null, ttlMs) }
    },
    holds: async (adapter, key, ...entry) => isEntry(assert, await adapter.get(key), ...entry),
    isAbsent: async (adapter, key) => isNothing(assert, await adapter.get(key)),
  }
}

type Assert = TestFunctions['assert']

function asVersion(assert: Assert, answer: unknown): string {
  assert.ok(typeof answer === 'string' && answer !== '', `put resolved to ${String(answer)} and not to a version`)
  return String(answer)
}

function isEntry(assert: Assert, entry: StoredEntry | undefined, value: string, version: string): void {
  assert.ok(entry !== undefined, 'get resolved to undefined, but the entry is there')
  // Not compared in the runner's own words, which would show 64 KiB of difference.
  assert.ok(entry?.value === value, `get gave another value than was put (${value.length} characters)`)
  assert.strictEqual(entry?.version, version)
}

function isNothing(assert: Assert, entry: unknown): void {
  const found = entry === null ? 'null' : 'an entry'
  assert.ok(entry === undefined, `get must resolve to undefined, it resolved to ${found}`)
}
