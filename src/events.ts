import { channel } from 'node:diagnostics_channel'
import type { Clock } from './clock.js'
import {
  InsufficientScopeError,
  InvalidRequestError,
  InvalidTokenError,
  UnauthorizedError,
  type InvalidTokenReason,
  type McpAuthError,
} from './errors/errors.js'
import type { NextcloudMode } from './modes.js'
import type { RejectionDetails } from './errors/rejection-details.js'

/** Why a request was turned away: no credentials, not in the form of a Bearer token, a token problem, a scope missing. */
export type RejectionReason = InvalidTokenReason | 'no_credentials' | 'invalid_request' | 'scope'

/**
 * Why a connection did not come about: the user said no (`declined`); the link is unknown, used or expired; the form or the
 * callback came without the cookie it belongs to, or from another site (`form`, `browser`); the callback belongs to no request
 * (`state`) or cannot be an answer to it (`answer`); the ID token is not good; another person is signed in; the authorization
 * server refused, or gave no refresh token; the user has begun too many connections within minutes (`too_many`). In app-password mode
 * `answer` is also what Nextcloud answers and cannot be used, and `person` an account that `connect.identity` does not know.
 */
export type ConnectFailureReason =
  | 'declined'
  | 'link'
  | 'form'
  | 'browser'
  | 'state'
  | 'answer'
  | 'id_token'
  | 'person'
  | 'refused'
  | 'no_refresh_token'
  | 'too_many'

/** What was being asked of the authorization server. */
export type IdpOperation = 'discovery' | 'jwks' | 'introspection' | 'token' | 'revocation'

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
  | ({
      /** A request, or a `verify()` call, was turned away: `message` says why in one line, and the rest says it to machines. */
      readonly type: 'token.rejected'
      readonly reason: RejectionReason
    } & RejectionDetails)
  | {
      /** Whether a request may pass could not be found out: the authorization server's fault, the operator's or a bug. */
      readonly type: 'request.failed'
      /** `ERR_…`. */
      readonly code: string
      readonly status: number
      readonly message: string
    }
  | {
      readonly type: 'nextcloud.token'
      readonly mode: NextcloudMode
      /** `store`: another instance, or this one before, had got it. */
      readonly source: 'cache' | 'idp' | 'store'
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
      /** Its `error_description`, without anything of the request. */
      readonly errorDescription?: string | undefined
      readonly hint?: string | undefined
    }
  | {
      readonly type: 'idp.unavailable'
      readonly operation: IdpOperation
      readonly message: string
      readonly httpStatus: number | undefined
    }
  | {
      /** A user connected Nextcloud. */
      readonly type: 'grant.stored'
      readonly issuer: string
      readonly subject: string
      /** The MCP client that the user agreed to. */
      readonly clientId: string
      /** Ties events of one refresh token or app password together; tells nothing of it. */
      readonly fingerprint: string
    }
  | {
      /** A refresh token was spent, and its successor is stored (or, where the server does not rotate, stays). */
      readonly type: 'grant.rotated'
      readonly issuer: string
      readonly subject: string
      readonly fingerprint: string
      /** The fingerprint of the refresh token before. */
      readonly previous: string
    }
  | {
      /** The refresh token or app password is no longer taken, or its stated end has passed: the user has to reconnect. */
      readonly type: 'grant.lost'
      readonly issuer: string
      readonly subject: string
      readonly fingerprint: string
      readonly reason: 'revoked' | 'expired'
    }
  | {
      /** A user, or the app, disconnected Nextcloud. */
      readonly type: 'grant.revoked'
      readonly issuer: string
      readonly subject: string
      /** Whether the authorization server revoked the refresh token too, or Nextcloud deleted the app password. */
      readonly revoked: boolean | 'unsupported'
    }
  | {
      /** Somebody at a browser did not get to connect Nextcloud. */
      readonly type: 'connect.failed'
      readonly reason: ConnectFailureReason
      /** `error` of the authorization server's answer (RFC 6749 §4.1.2.1, §5.2). */
      readonly error?: string | undefined
      /** Its `error_description`, without anything of the request. */
      readonly errorDescription?: string | undefined
      readonly hint?: string | undefined
    }
  | {
      readonly type: 'storage.failed'
      readonly operation: 'get' | 'put' | 'delete'
      readonly message: string
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
  /** Requests and `verify()` calls turned away, by reason. */
  rejected: Partial<Record<RejectionReason, number>>
  /** Requests and `verify()` calls that failed with a 5xx, by `ERR_…` code. */
  failed: Partial<Record<string, number>>
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
  /** Entries of the two caches. */
  sizes: { verifiedTokens: number; nextcloudTokens: number }
}

/** Where every decision is reported. */
export interface Events {
  /** False when nobody listens, so that the hot path builds no event. */
  readonly active: () => boolean
  readonly emit: (details: McpAuthEventDetails) => void
  readonly counters: Omit<McpAuthStats, 'sizes'>
}

/** Different process warnings that one middleware makes. */
const MOST_WARNINGS = 20
const diagnostics = channel('mcp-nextcloud-auth')

/**
 * Reports to `onEvent` and to the `diagnostics_channel` named `mcp-nextcloud-auth`. An `onEvent` that throws or rejects never
 * disturbs a request: its first failure becomes a process warning. Without it, what the operator has to mend becomes one,
 * an outage included: it may be a provider that is configured wrongly.
 */
export function createEvents(onEvent: ((event: McpAuthEvent) => unknown) | undefined, clock: Clock): Events {
  const warned = new Set<string>()
  const warnOnce = (message: string, code: string): void => {
    if (warned.has(message) || warned.size >= MOST_WARNINGS) return
    warned.add(message)
    process.emitWarning(message, { type: 'McpAuthWarning', code })
  }
  const listenerFailed = (error: unknown): void => {
    warnOnce(`onEvent failed: ${error instanceof Error ? error.message : 'no Error was thrown'}`, 'ERR_ON_EVENT')
  }
  return {
    active: () => onEvent !== undefined || diagnostics.hasSubscribers,
    emit(details) {
      const event: McpAuthEvent = { ...details, at: clock.now() }
      if (diagnostics.hasSubscribers) diagnostics.publish(event)
      if (onEvent === undefined) {
        if (event.type === 'config.warning') warnOnce(event.message, 'ERR_CONFIGURATION')
        if (event.type === 'idp.unavailable') warnOnce(event.message, 'ERR_UPSTREAM_UNAVAILABLE')
        if (event.type === 'storage.failed') warnOnce(event.message, 'ERR_STORAGE')
        if (event.type === 'request.failed' && event.status === 500) warnOnce(event.message, event.code)
        if (event.type === 'nextcloud.failed' && event.hint !== undefined) warnOnce(event.hint, event.code)
        if (event.type === 'connect.failed' && event.hint !== undefined) warnOnce(event.hint, 'ERR_CONNECT')
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
      failed: {},
      nextcloudCacheHits: 0,
      nextcloudCacheMisses: 0,
      exchanges: 0,
      refreshes: 0,
      idpRequests: 0,
      evictions: 0,
    },
  }
}

/** Counts and reports a request that does not pass, or a token that `verify()` refuses. */
export function reportFailure({ counters, active, emit }: Events, error: McpAuthError): void {
  const reason = rejectionReason(error)
  if (reason !== undefined) {
    counters.rejected[reason] = (counters.rejected[reason] ?? 0) + 1
    if (active()) emit({ type: 'token.rejected', reason, ...rejectionDetails(error) })
  } else {
    const { code, status, message } = error
    counters.failed[code] = (counters.failed[code] ?? 0) + 1
    emit({ type: 'request.failed', code, status, message })
  }
}

/** Undefined for a failure that says nothing about the request. */
function rejectionReason(error: McpAuthError): RejectionReason | undefined {
  if (error instanceof InvalidTokenError) return error.reason
  if (error instanceof UnauthorizedError) return 'no_credentials'
  if (error instanceof InvalidRequestError) return 'invalid_request'
  if (error instanceof InsufficientScopeError) return 'scope'
  return undefined
}

/** What is known of it in particular: where there is no token, not much. */
function rejectionDetails(error: McpAuthError): RejectionDetails {
  if (error instanceof InvalidTokenError || error instanceof InsufficientScopeError) return error.details
  return {
    message:
      error instanceof UnauthorizedError
        ? 'the request has no Bearer token, as the first one of an MCP client has none'
        : 'the request has two Authorization headers, or something behind the token: look at what proxies add',
  }
}
