import type { StorageAdapter } from '../../src/storage-adapter.js'
import { MemoryStorage } from '../../src/storage/memory.js'

/** A call of an adapter. */
export type StorageCall = 'get' | 'put' | 'delete'

/** Memory whose calls can be counted and made to fail. */
export function watchedStorage(memory = new MemoryStorage()) {
  const calls: StorageCall[] = []
  const failing = new Set<StorageCall>()
  const watch =
    <A extends unknown[], T>(name: StorageCall, call: (...args: A) => Promise<T>) =>
    (...args: A): Promise<T> => {
      calls.push(name)
      return failing.has(name) ? Promise.reject(new Error('redis://user:password@store is away')) : call(...args)
    }
  const storage: StorageAdapter = {
    shared: true,
    get: watch('get', memory.get.bind(memory)),
    put: watch('put', memory.put.bind(memory)),
    delete: watch('delete', memory.delete.bind(memory)),
  }
  return { storage, calls, failing }
}
