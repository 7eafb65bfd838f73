import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import type { Events } from '../events.js'
import { signatureStart } from '../token-spelling.js'
import type { KeyTrust } from './keys.js'

/** The tokens that were found good, each with the object that stands for its caller. */
export interface VerifiedTokens<T> {
  /** Returns it for the very same token while that is good by both clocks. */
  readonly find: (token: string) => T | undefined
  /**
   * @param expiresAt seconds since the epoch
   * @param by the trust in the keys that verified it, undefined if it was introspected; and when that began, in monotonic milliseconds
   */
  readonly keep: (
    token: string,
    expiresAt: number,
    presented: T,
    by: { readonly trust: KeyTrust | undefined; readonly since: number },
  ) => void
  readonly clear: () => void
  readonly size: () => number
}

/** A verified token. */
interface Entry<T> {
  readonly token: string
  readonly presented: T
  /** Wall-clock seconds: `exp`, with the tolerance. Not milliseconds, because V8 keeps only small whole numbers in the object itself. */
  readonly expiresAt: number
  /** Whole monotonic milliseconds. From here on the token is verified again, wherever the wall clock has been set to. */
  readonly staleAt: number
  readonly trust: KeyTrust | undefined
}

/** Characters of the signature of a JWT. */
const KEY_LENGTH = 32

export function createVerifiedTokens<T extends object>(
  { cache, clockTolerance }: Pick<Config, 'cache' | 'clockTolerance'>,
  clock: Clock,
  { counters }: Pick<Events, 'counters'>,
): VerifiedTokens<T> {
  if (cache.verifiedTokens === 0 || cache.verifiedTtl === 0) {
    return { find: () => undefined, keep: () => undefined, clear: () => undefined, size: () => 0 }
  }
  const entries = new LRUCache<string, Entry<T>>({
    max: cache.verifiedTokens,
    dispose: (_entry, _key, reason) => {
      if (reason === 'evict') counters.evictions += 1
    },
  })
  return {
    find: (token) => {
      const entry = entries.get(entryKey(token))
      if (entry === undefined || entry.token !== token) return undefined
      if (isGood(entry, clock)) return entry.presented
      entries.delete(entryKey(token))
      return undefined
    },
    keep: (token, expiresAt, presented, { trust, since }) => {
      const staleAt = Math.floor(since + cache.verifiedTtl * 1_000)
      entries.set(entryKey(token), { token, presented, expiresAt: expiresAt + clockTolerance, staleAt, trust })
    },
    clear: () => entries.clear(),
    size: () => entries.size,
  }
}

/**
 * Returns the key that a token is looked up by. It only finds an entry, which is good for the very same token and no other: several
 * tokens may end alike, and hashing a whole JWT costs several times as much.
 */
function entryKey(token: string): string {
  return token.startsWith('eyJ') ? signatureStart(token, KEY_LENGTH) : token
}

function isGood({ expiresAt, staleAt, trust }: Entry<unknown>, clock: Clock): boolean {
  const now = clock.monotonic()
  return clock.now() < expiresAt * 1_000 && now < staleAt && trust?.holds(now) !== false
}
