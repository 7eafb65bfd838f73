import { channel } from 'node:diagnostics_channel'
import type { Clock } from './clock.js'
import type { InvalidTokenReason } from './errors.js'

/** Why a request was turned away: no credentials, not in the form of a Bearer token, a token problem, a scope missing. */
export type RejectionReason = InvalidTokenReason | 'no_credentials' | 'invalid_request' | 'scope'

/** How this server gets a token for Nextcloud. */
export type NextcloudMode = 'token-exchange' | 'jwt-bearer' | 'pass-through'

/** What was being asked of the authorization server. */
export type IdpOperation = 'discovery' | 'jwks' | 'introspection' | 'token'

/** The events, without the time that `emit` adds. Never a token, code, secret or key. */
export type McpAuthEventDetails =
  | {
      readonly type: 'token.accepted'
      readonly issuer: string
      readonly subject: string
      readonly clientId: string
      /** Whether this very token had been verified before. */
      readonly cached: boolean
    }
  | { readonly type: 'token.rejected'; readonly reason: RejectionReason }
  | {
      readonly type: 'nextcloud.token'
      readonly mode: NextcloudMode
      readonly source: 'cache' | 'idp'
      readonly issuer: string
      readonly subject: string
      /** Milliseconds. */
      readonly durationMs: number
    }
  | {
      readonly type: 'nextcloud.failed'
      readonly mode: NextcloudMode
      /** `ERR_…`, as on the error that the caller gets. */
      readonly code: string
      readonly issuer: string
      readonly subject: string
      /** `error` of the authorization server's answer (RFC 6749 §5.2). */
      readonly error?: string | undefined
      readonly hint?: string | undefined
    }
  | {
      readonly type: 'idp.unavailable'
      readonly operation: IdpOperation
      readonly message: string
      readonly httpStatus: number | undefined
    }
  | { readonly type: 'config.warning'; readonly option: string; readonly message: string }

/** One decision, machine-readable. `at` is in milliseconds since the epoch. */
export type McpAuthEvent = McpAuthEventDetails & { readonly at: number }

/** Counters since construction, and the present sizes. */
export interface McpAuthStats {
  /** Tokens verified by signature or introspection. */
  verified: number
  /** Requests answered from the verified-token cache. */
  verifiedCacheHits: number
  rejected: Partial<Record<RejectionReason, number>>
  nextcloudCacheHits: number
  nextcloudCacheMisses: number
  /** Token exchanges (RFC 8693 and jwt-bearer) sent, repeated attempts included. */
  exchanges: number
  /** Refresh requests sent. */
  refreshes: number
  /** HTTP requests to the authorization server, of every kind. */
  idpRequests: number
  /** Entries that a full cache dropped. */
  evictions: number
  sizes: { verifiedTokens: number; nextcloudTokens: number }
}

/** Where every decision is reported. */
export interface Events {
  /** False when nobody listens, so that the hot path builds no event. */
  readonly active: () => boolean
  readonly emit: (details: McpAuthEventDetails) => void
  readonly counters: Omit<McpAuthStats, 'sizes'>
}

const diagnostics = channel('mcp-nextcloud-auth')

/**
 * Reports to `onEvent` and to the `diagnostics_channel` named `mcp-nextcloud-auth`. A listener that throws or rejects never
 * disturbs a request: the first failure becomes a process warning.
 */
export function createEvents(onEvent: ((event: McpAuthEvent) => unknown) | undefined, clock: Clock): Events {
  let warned = false
  const listenerFailed = (error: unknown): void => {
    if (warned) return
    warned = true
    const reason = error instanceof Error ? error.message : 'no Error was thrown'
    process.emitWarning(`onEvent failed: ${reason}`, { type: 'McpAuthWarning', code: 'ERR_ON_EVENT' })
  }
  return {
    active: () => onEvent !== undefined || diagnostics.hasSubscribers,
    emit(details) {
      const event: McpAuthEvent = { ...details, at: clock.now() }
      if (diagnostics.hasSubscribers) diagnostics.publish(event)
      if (onEvent === undefined) {
        if (event.type === 'config.warning') {
          process.emitWarning(event.message, { type: 'McpAuthWarning', code: 'ERR_CONFIGURATION' })
        }
        return
      }
      try {
        const result = onEvent(event)
        if (result instanceof Promise) result.catch(listenerFailed)
      } catch (error) {
        listenerFailed(error)
      }
    },
    counters: {
      verified: 0,
      verifiedCacheHits: 0,
      rejected: {},
      nextcloudCacheHits: 0,
      nextcloudCacheMisses: 0,
      exchanges: 0,
      refreshes: 0,
      idpRequests: 0,
      evictions: 0,
    },
  }
}
