import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { identityKey, type Identity } from '../grants/grant.js'
import { ONE_TIME_LIFE } from './one-time.js'

/**
 * Limits the connections that a user may begin while the first of them still lives. Each leaves a record in the store, which one
 * user must not fill for all. They are counted in this process, because its memory is the store that can be filled.
 */
export interface Allowance {
  /** Returns the milliseconds until the user may begin another. 0: now, and it is counted. */
  readonly take: (identity: Identity) => number
}

const MOST_BEGUN = 20
/** Users counted at one time. */
const MOST_USERS = 10_000

/** @param most connections that a user may begin while the first of them lives */
export function createAllowance(clock: Clock, most = MOST_BEGUN): Allowance {
  const begun = new LRUCache<string, readonly number[]>({ max: MOST_USERS })
  return {
    take(identity) {
      const key = identityKey(identity)
      const now = clock.monotonic()
      const living = (begun.get(key) ?? []).filter((at) => now < at + ONE_TIME_LIFE)
      const [first] = living
      if (first !== undefined && living.length >= most) return first + ONE_TIME_LIFE - now
      begun.set(key, [...living, now])
      return 0
    },
  }
}
