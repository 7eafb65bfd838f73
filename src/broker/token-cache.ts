import { LRUCache } from 'lru-cache'
import type { Identity } from '../grants/grant.js'
import { hashOfParts } from '../hash-of-parts.js'
import type { Secret } from '../nextcloud/credential.js'
import type { Basis, FreshToken, Mode, Target } from './modes/mode.js'

/** Everything that makes two Nextcloud tokens the same one. */
export interface TokenIdentity extends Identity, Target {
  readonly mode: string
  readonly tokenEndpoint: string
  readonly clientId: string
  /** The MCP token that is exchanged; empty if there is none. */
  readonly mcpToken: string
}

/** Returns the cache key: a hash over everything that makes two tokens the same one. */
export function cacheKey(token: TokenIdentity): string {
  const { issuer, subject, mode, tokenEndpoint, clientId, audience, resource, scopes, mcpToken } = token
  return hashOfParts([issuer, subject, mode, tokenEndpoint, clientId, mcpToken], [audience, resource, scopes])
}

/** A secret for Nextcloud and its life, in monotonic milliseconds. */
export interface TokenEntry {
  readonly secret: Secret
  /** From here on it is renewed ahead, while it still serves. */
  readonly renewAt: number
  /** From here on it is never handed out. */
  readonly deadAt: number
  /** It replaced a secret that Nextcloud refused, and Nextcloud has not taken it yet: it is not replaced in its turn. */
  unproven: boolean
  /** Some caller has had it. */
  handedOut: boolean
  /** The record that it comes from or is shared in; undefined if there is none. */
  readonly basis: Basis | undefined
}

/** The bounded cache of secrets. */
export interface TokenCache {
  readonly get: (key: string) => TokenEntry | undefined
  readonly set: (key: string, entry: TokenEntry) => unknown
  readonly delete: (key: string) => unknown
  readonly size: number
}

/** The leads of a mode, in seconds. */
export type Timing = Pick<Mode, 'renewBefore' | 'margin'>

/** Seconds of life of a token whose answer has no `expires_in`. */
const ASSUMED_LIFE = 300
const MOST_AHEAD = 0.2
/** The lead that is chosen here: the smaller of 60 s and a tenth of the life, so that constant use costs 1.11 times the least. */
const USUAL_LEAD = 60
const USUAL_AHEAD = 0.1
const NO_CACHE: TokenCache = { get: () => undefined, set: () => undefined, delete: () => false, size: 0 }

/** @param max entries; 0: nothing is kept */
export function createTokenCache(max: number, onEviction: () => void): TokenCache {
  if (max === 0) return NO_CACHE
  return new LRUCache<string, TokenEntry>({
    max,
    dispose: (_entry, _key, reason) => {
      if (reason === 'evict') onEviction()
    },
  })
}

/**
 * Returns the cache entry of a fresh token; undefined if the token must not be cached.
 *
 * @param subjectEndsAt monotonic milliseconds of the `exp` of the MCP token that it was exchanged for; none: Infinity
 */
export function tokenEntry(fresh: FreshToken, timing: Timing, subjectEndsAt: number): TokenEntry | undefined {
  const life = tokenLife(fresh, timing)
  if (life === undefined) return undefined
  const { ahead, ownEnd } = life
  const deadAt = Math.min(ownEnd, subjectEndsAt)
  // A renewed token would not outlive the MCP token either: if that leaves it less than its own lead, it is not worth a request.
  const renewAt = subjectEndsAt < ownEnd + ahead ? deadAt : ownEnd - ahead
  return { secret: fresh.secret, renewAt, deadAt, unproven: false, handedOut: false, basis: fresh.basis }
}

/**
 * Returns the end of a token, and how long before that it is renewed ahead, in monotonic milliseconds; undefined if the token must not be
 * kept.
 */
export function tokenLife(
  { expiresIn, sentAt }: Pick<FreshToken, 'expiresIn' | 'sentAt'>,
  { renewBefore, margin }: Timing,
): { readonly ownEnd: number; readonly ahead: number } | undefined {
  const seconds = expiresIn ?? ASSUMED_LIFE
  if (Number.isNaN(seconds)) return undefined
  const life = seconds * 1_000
  const ahead = Math.min(
    (renewBefore ?? USUAL_LEAD) * 1_000,
    life * (renewBefore === undefined ? USUAL_AHEAD : MOST_AHEAD),
  )
  return { ownEnd: sentAt + life - Math.min(margin * 1_000, life * MOST_AHEAD), ahead }
}
