import { LRUCache } from 'lru-cache'
import type { TokenAnswer } from '../authorization-server/token-answer.js'
import { hashOfParts } from '../hash-of-parts.js'
import type { FreshToken, Mode, Standing } from './modes/mode.js'

/** What makes two Nextcloud tokens the same one. */
export interface TokenIdentity {
  readonly issuer: string
  readonly subject: string
  readonly mode: string
  readonly tokenEndpoint: string
  readonly clientId: string
  readonly audience: readonly string[]
  readonly resource: readonly string[]
  readonly scopes: readonly string[]
  /** The MCP token that is exchanged; empty where there is none. */
  readonly mcpToken: string
}

/** The cache key: a hash over everything that makes two tokens the same one. */
export function cacheKey(identity: TokenIdentity): string {
  const { issuer, subject, mode, tokenEndpoint, clientId, audience, resource, scopes, mcpToken } = identity
  return hashOfParts([issuer, subject, mode, tokenEndpoint, clientId, mcpToken], [audience, resource, scopes])
}

/** A Nextcloud token and its life, in monotonic milliseconds. */
export interface TokenEntry {
  readonly token: string
  /** From here on it is renewed ahead, while it still serves. */
  readonly renewAt: number
  /** From here on it is never handed out. */
  readonly deadAt: number
  /** It replaced a token that Nextcloud refused, and has not been taken by Nextcloud yet: it is not replaced in its turn. */
  unproven: boolean
  /** Some caller has had it. */
  handedOut: boolean
  /** Where it comes from a grant: what it stands on. */
  readonly standing: Standing | undefined
}

/** Seconds of life of a token whose answer has no `expires_in`. */
const ASSUMED_LIFE = 300
const RENEW_AHEAD_SHARE = 0.2

/**
 * The life of a fresh token, or undefined when it is not to be cached.
 *
 * @param subjectEndsAt monotonic milliseconds of the `exp` of the MCP token that it was exchanged for; none: Infinity
 */
export function tokenEntry(
  fresh: FreshToken,
  timing: Pick<Mode, 'renewBefore' | 'margin'>,
  subjectEndsAt: number,
): TokenEntry | undefined {
  const life = tokenLife(fresh, timing)
  if (life === undefined) return undefined
  const { ahead, ownEnd } = life
  const deadAt = Math.min(ownEnd, subjectEndsAt)
  // A renewal could not outlive the MCP token either: where that leaves it less than its own lead, it is not worth a request.
  const renewAt = subjectEndsAt < ownEnd + ahead ? deadAt : ownEnd - ahead
  return { token: fresh.accessToken, renewAt, deadAt, unproven: false, handedOut: false, standing: fresh.standing }
}

/**
 * When a token ends, and how long before that it is renewed ahead, in monotonic milliseconds; undefined when it is not to be
 * kept.
 */
export function tokenLife(
  answer: TokenAnswer,
  { renewBefore, margin }: Pick<Mode, 'renewBefore' | 'margin'>,
): { readonly ownEnd: number; readonly ahead: number } | undefined {
  const seconds = answer.expiresIn ?? ASSUMED_LIFE
  if (Number.isNaN(seconds)) return undefined
  const life = seconds * 1_000
  const ahead = Math.min(renewBefore * 1_000, life * RENEW_AHEAD_SHARE)
  return { ownEnd: answer.sentAt + life - Math.min(margin * 1_000, life * RENEW_AHEAD_SHARE), ahead }
}

/** The bounded cache of Nextcloud tokens, or undefined with 0 entries. */
export function createTokenCache(max: number, onEviction: () => void): LRUCache<string, TokenEntry> | undefined {
  if (max === 0) return undefined
  return new LRUCache({
    max,
    dispose: (_entry, _key, reason) => {
      if (reason === 'evict') onEviction()
    },
  })
}
