import { createRequire } from 'node:module'
import type * as Caches from 'lru-cache'

const { LRUCache } = createRequire(import.meta.url)('lru-cache') as typeof Caches

/** Entries of a cache, more than the model needs. */
const MOST = 50

/** The cache of the package, for fewer entries: it allocates all its places at once, which took nine tenths of the time of the model. */
export class SmallCache<K extends object | string, V extends object | string | number | true> extends LRUCache<K, V> {
  constructor(options: Caches.LRUCache.Options<K, V, unknown> & { readonly max: number }) {
    super({ ...options, max: Math.min(options.max, MOST) })
  }
}
