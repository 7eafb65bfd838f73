import type { StorageAdapter } from '../../../src/storage-adapter.js'
import { call, type Scheduler } from './scheduler.js'

interface Entry {
  readonly value: string
  readonly version: string
  readonly deadAt: number
}

/** A store in hand, which all instances share. */
export interface ModelStore {
  /** The adapter of one instance. Each call is a step. */
  readonly of: (instance: string) => StorageAdapter
  readonly entry: (key: string) => Entry | undefined
  readonly keys: () => readonly string[]
  /** Every value that was ever written. */
  readonly written: readonly string[]
}

export function createStore(scheduler: Scheduler): ModelStore {
  const entries = new Map<string, Entry>()
  const written: string[] = []
  const entry = (key: string): Entry | undefined => {
    const found = entries.get(key)
    return found !== undefined && found.deadAt > scheduler.now() ? found : undefined
  }
  const of = (instance: string): StorageAdapter => {
    let writes = 0
    const ask = <T>(what: string, key: string, carryOut: () => T): Promise<T> =>
      call({
        ...{ scheduler, instance, name: `${what} ${key.slice(3, 9)}`, on: key },
        carryOut,
        failure: (fault) => new Error(fault),
      })
    return {
      shared: true,
      get: (key) => ask('get', key, () => entry(key)),
      put: (key, value, expected, ttlMs = Infinity) =>
        ask('put', key, () => {
          if ((entry(key)?.version ?? null) !== expected) return null
          written.push(value)
          const version = `${instance}${(writes += 1)}`
          entries.set(key, { value, version, deadAt: scheduler.now() + ttlMs })
          return version
        }),
      delete: (key, expected) => ask('delete', key, () => entry(key)?.version === expected && entries.delete(key)),
    }
  }
  return { of, entry, keys: () => [...entries.keys()].filter((key) => entry(key) !== undefined), written }
}
