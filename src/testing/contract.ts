import { randomBytes } from 'node:crypto'
import type { StorageAdapter, StoredEntry } from '../storage-adapter.js'

/** The functions of a test runner that the suite is registered with. Those of node:test, vitest, jest and mocha all fit. */
export interface TestFunctions {
  /** Groups tests. */
  readonly describe: (title: string, body: () => void) => unknown
  /** Registers a test. What the runner gives to a test (as an argument, or as `this` in mocha) is asked to skip it, if it can. */
  readonly it: (title: string, body: (this: unknown, ...context: readonly unknown[]) => Promise<void>) => unknown
  /** `node:assert`, or the `assert` of vitest or chai: of either, this function. */
  readonly assert: { readonly fail: (message: string) => unknown }
}

/** Fails unless it holds: with these words alone, to which the other functions of `assert` add some of their own. */
export type Check = (holds: boolean, message: string) => void

/** `rule`: the one of docs/write-an-adapter.md that a message names. */
export const checkWith =
  ({ assert }: Pick<TestFunctions, 'assert'>, rule?: number): Check =>
  (holds, message) => {
    if (!holds) assert.fail(rule === undefined ? message : `${message} (rule ${rule})`)
  }

/** The tools that the tests of a group are written with. */
export interface Contract extends Pick<TestFunctions, 'describe'> {
  readonly check: Check
  /** The same tools for a rule of docs/write-an-adapter.md, which every message names. */
  readonly under: (rule: number) => Contract
  readonly leaveOut: LeaveOut
  /** Registers a test with an adapter of its own, which is closed at its end. */
  readonly test: (title: string, body: (adapter: StorageAdapter, skip: Skip) => Promise<void>) => void
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
  /** Puts, and fails unless another was the first. */
  readonly putIsLate: (adapter: StorageAdapter, ...rest: Parameters<StorageAdapter['put']>) => Promise<void>
  /** Deletes, and fails unless it was the first. */
  readonly remove: (adapter: StorageAdapter, key: string, version: string) => Promise<void>
  /** Deletes, and fails unless another was the first. */
  readonly deleteIsLate: (adapter: StorageAdapter, key: string, version: string) => Promise<void>
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

/** What the tools stand on. */
interface Ground {
  /** The runner's. */
  readonly functions: TestFunctions
  /** The user's factory. */
  readonly makeAdapter: () => StorageAdapter | Promise<StorageAdapter>
  readonly wait: (ms: number) => Promise<void>
  readonly leaveOut: LeaveOut
}

/** The tools of the suite, over the runner's functions and the user's factory. */
export function contract(parts: Omit<Ground, 'leaveOut'>): Contract {
  return toolsOn({ ...parts, leaveOut: leavingOut() })
}

function toolsOn(ground: Ground, rule?: number): Contract {
  const { functions, makeAdapter, wait } = ground
  const { describe, it } = functions
  const check = checkWith(functions, rule)
  const opened = new WeakMap<StorageAdapter, StorageAdapter[]>()
  const put: Contract['put'] = async (adapter, ...args) => asVersion(check, await adapter.put(...args))
  return {
    describe,
    check,
    leaveOut: ground.leaveOut,
    under: (rule) => toolsOn(ground, rule),
    put,
    ...judgedCalls(check),
    wait,
    test: (title, body) =>
      void it(title, async function (...context) {
        const adapter = await makeAdapter()
        opened.set(adapter, [])
        try {
          await body(adapter, skipOf([...context, this]))
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
    holds: async (adapter, key, ...entry) => isEntry(check, await adapter.get(key), ...entry),
    isAbsent: async (adapter, key) => isNothing(check, await adapter.get(key)),
  }
}

/** What is left out of an adapter without `list`. */
export const NO_LIST = 'list, which the adapter does not have'

/** Skips the test that runs, in most runners by throwing. False: the runner cannot. */
export type Skip = (reason: string) => boolean

/** Leaves out the test that runs. Where the runner cannot skip it, it passes, and one warning says what was left out. */
export type LeaveOut = (what: string, skip: Skip) => void

function leavingOut(): LeaveOut {
  const told = new Set<string>()
  return (what, skip) => {
    if (skip(`LEFT OUT: ${what}`) || told.has(what)) return
    told.add(what)
    process.emitWarning(`LEFT OUT of the storage contract: ${what}`)
  }
}

/** `given`: the arguments and the `this` of a test. */
export function skipOf(given: readonly unknown[]): Skip {
  const able = given.map((one) => Object(one) as { skip?: unknown }).find(({ skip }) => typeof skip === 'function')
  return (reason) => {
    ;(able as { skip: (reason: string) => unknown } | undefined)?.skip(reason)
    return able !== undefined
  }
}

function judgedCalls(check: Check): Pick<Contract, 'putIsLate' | 'remove' | 'deleteIsLate'> {
  const expect = (call: string, answer: unknown, expected: boolean | null): void =>
    check(answer === expected, `${call} resolved to ${String(answer)} and not to ${expected}`)
  return {
    putIsLate: async (adapter, ...args) => expect('put', await adapter.put(...args), null),
    remove: async (adapter, key, version) => expect('delete', await adapter.delete(key, version), true),
    deleteIsLate: async (adapter, key, version) => expect('delete', await adapter.delete(key, version), false),
  }
}

function asVersion(check: Check, answer: unknown): string {
  check(typeof answer === 'string' && answer !== '', `put resolved to ${String(answer)} and not to a version`)
  return String(answer)
}

function isEntry(check: Check, entry: StoredEntry | undefined, value: string, version: string): void {
  check(entry !== undefined, 'get resolved to undefined, but the entry is there')
  // The values are not shown, because they may be of 64 KiB.
  check(entry?.value === value, `get gave another value than the one of ${value.length} characters that is stored`)
  check(entry?.version === version, `get gave the version ${String(entry?.version)}, and put ${version}`)
}

function isNothing(check: Check, entry: unknown): void {
  const found = entry === null ? 'null' : 'an entry'
  check(entry === undefined, `get must resolve to undefined, it resolved to ${found}`)
}
