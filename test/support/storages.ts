import type { StorageAdapter } from '../../src/storage-adapter.js'
import { MemoryStorage } from '../../src/storage/memory.js'

/** A call of an adapter. */
export type StorageCall = 'get' | 'put' | 'delete' | 'list'

/** Memory whose calls can be counted, read and made to fail. */
export function watchedStorage(memory = new MemoryStorage()) {
  const calls: StorageCall[] = []
  /** Every key and every value so far. */
  const seen: string[] = []
  const keys = new Set<string>()
  const failing = new Set<StorageCall>()
  const watch =
    <A extends unknown[], T>(name: StorageCall, call: (...args: A) => Promise<T>) =>
    (...args: A): Promise<T> => {
      calls.push(name)
      seen.push(...args.filter((argument) => typeof argument === 'string'))
      if (typeof args[0] === 'string') keys.add(args[0])
      return failing.has(name) ? Promise.reject(new Error('redis://user:password@store is unavailable')) : call(...args)
    }
  const storage: StorageAdapter = {
    shared: true,
    get: watch('get', memory.get.bind(memory)),
    put: watch('put', memory.put.bind(memory)),
    delete: watch('delete', memory.delete.bind(memory)),
    list: watch('list', memory.list.bind(memory)),
  }
  return { storage, calls, seen, keys, failing }
}

/** A store that can be made to fail. */
export interface FaultyStorage extends StorageAdapter {
  /** Calls so far. */
  readonly calls: () => number
  /** Fails from the call with this number on, counted from now, for so many calls. */
  readonly failFrom: (call: number, count?: number) => void
  readonly heal: () => void
}

export function faultyStorage(inner: StorageAdapter = new MemoryStorage()): FaultyStorage {
  let calls = 0
  let failing: readonly [first: number, end: number] = [Infinity, Infinity]
  function guard<T>(run: () => Promise<T>): Promise<T> {
    calls += 1
    return calls >= failing[0] && calls < failing[1] ? Promise.reject(new Error('the store is unavailable')) : run()
  }
  return {
    shared: true,
    get: (key) => guard(() => inner.get(key)),
    put: (...args) => guard(() => inner.put(...args)),
    delete: (...args) => guard(() => inner.delete(...args)),
    calls: () => calls,
    failFrom(call, count = Infinity) {
      failing = [calls + call, calls + call + count]
    },
    heal() {
      failing = [Infinity, Infinity]
    },
  }
}

/** A store in which deletions wait for each other: so many at a time come about at the very same moment. */
export function meetingStorage(
  inner: StorageAdapter = new MemoryStorage(),
): StorageAdapter & { readonly meet: (count: number) => void } {
  let missing = 0
  let open = (): void => undefined
  let meeting = Promise.resolve()
  return {
    shared: true,
    get: (key) => inner.get(key),
    put: (...args) => inner.put(...args),
    async delete(...args) {
      missing -= 1
      if (missing === 0) open()
      await meeting
      return inner.delete(...args)
    },
    meet(count) {
      missing = count
      meeting = new Promise((resolve) => (open = resolve))
    },
  }
}

/** Memory in which something happens just before a write, once. */
export function overtakenStorage(): StorageAdapter & {
  /** @param put the write, counted from now */
  readonly before: (put: number, act: () => Promise<unknown>) => void
} {
  const memory = new MemoryStorage()
  let left = 0
  let act = (): Promise<unknown> => Promise.resolve()
  return {
    shared: true,
    get: (key) => memory.get(key),
    list: (page) => memory.list(page),
    delete: (...args) => memory.delete(...args),
    async put(...args) {
      left -= 1
      if (left === 0) await act()
      return memory.put(...args)
    },
    before(put, what) {
      left = put
      act = what
    },
  }
}
