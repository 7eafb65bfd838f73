import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { identityKey, type Identity } from '../grants/grant.js'
import { ONE_TIME_LIFE } from './one-time.js'

/**
 * Limits the answers that a user may give for a client, and the connections that they begin, while the first of them still lives. Each
 * leaves a record in the store, which one user must not fill for all. A client that uses its share up keeps none of the user's others from connecting. They are counted in this
 * process, because its memory is the store that can be filled.
 */
export interface Allowance {
  /** Returns the milliseconds until the user may begin another. 0: now, and it is counted. */
  readonly take: (identity: Identity, clientId?: string) => number
}

interface Begun {
  readonly clientId: string
  /** Monotonic milliseconds. */
  readonly at: number
}

const MOST_BEGUN = 20
/** Shares of all clients of a user together. The last one is for those that have begun nothing yet. */
const SHARES = 3
/** Users counted at one time. */
const MOST_USERS = 10_000

/** @param most connections that a user may begin for a client while the first of them lives */
export function createAllowance(clock: Clock, most = MOST_BEGUN): Allowance {
  const begun = new LRUCache<string, readonly Begun[]>({ max: MOST_USERS })
  return {
    take(identity, clientId = '') {
      const key = identityKey(identity)
      const now = clock.monotonic()
      const living = (begun.get(key) ?? []).filter(({ at }) => now < at + ONE_TIME_LIFE)
      const ofClient = living.filter((one) => one.clientId === clientId)
      const shares = ofClient.length === 0 ? SHARES : SHARES - 1
      const full = ofClient.length >= most ? ofClient : living.length >= most * shares ? living : []
      const [first] = full
      if (first !== undefined) return first.at + ONE_TIME_LIFE - now
      begun.set(key, [...living, { clientId, at: now }])
      return 0
    },
  }
}
