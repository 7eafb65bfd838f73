import { channel } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'
import type { Clock } from './clock.js'
import {
  InsufficientScopeError,
  InvalidDpopProofError,
  InvalidRequestError,
  InvalidTokenError,
  UnauthorizedError,
  type InvalidTokenReason,
  type McpAuthError,
} from './errors/errors.js'
import { lineOf } from './event-line.js'
import type { NextcloudMode } from './modes.js'
import type { RejectionDetails } from './errors/rejection-details.js'
import { createProcessWarnings, type ProcessWarnings } from './process-warnings.js'
import { createWatchers, type Watchers } from './watchers.js'

/**
 * The reason for turning a request away: no credentials, a token in the scheme DPoP where that is switched off, not in the form of a token,
 * a token problem, a DPoP proof that is missing or not good, a scope missing; at the sign-in of `nextcloudSignIn()`, a refresh token
 * that comes back after it was spent (`reused`).
 */
export type RejectionReason =
  | InvalidTokenReason
  | 'no_credentials'
  | 'unsupported_scheme'
  | 'invalid_request'
  | 'invalid_dpop_proof'
  | 'scope'
  | 'reused'

/**
 * The reason for which a connection failed: the user said no (`declined`); the link is unknown, used or expired; the form or the
 * callback came without the cookie it belongs to, or from another site (`form`, `browser`); the callback belongs to no request
 * (`state`) or cannot be an answer to it (`answer`); the ID token is not good; another person is signed in; the authorization
 * server refused, or gave no refresh token; the user began too many connections within minutes (`too_many`). In app-password mode
 * `answer` is also an unusable answer of Nextcloud. `person` is also an account that is not the user's by `connect.identity`; the event names
 * what was found then.
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

/** A kind of request to the authorization server. */
export type IdpOperation = 'discovery' | 'jwks' | 'introspection' | 'token' | 'revocation'

/** An event about one user. */
interface OfUser {
  readonly issuer: string
  readonly subject: string
}

/** An event about a refusal of the authorization server. */
export interface OfRefusal {
  /** `error` of its answer (RFC 6749 §4.1.2.1, §5.2). */
  readonly error?: string | undefined
  /** Its `error_description`, without anything of the request. */
  readonly errorDescription?: string | undefined
  /** Advice for the operator. */
  readonly hint?: string | undefined
}

/** An event about an account in Nextcloud that is not the MCP user's, as far as `connect.identity` can tell. */
export interface OfPerson {
  readonly issuer?: string
  readonly subject?: string
  readonly clientId?: string
  /** The name that the person signed in with at Nextcloud. */
  readonly loginName?: string
  /** The user id of the account, as Nextcloud names it. */
  readonly userId?: string
  /** The rule, as `NEXTCLOUD_IDENTITY` has it, or `function`. */
  readonly rule?: string
  /** Advice for the operator. */
  readonly hint?: string | undefined
}

/** An event about a user's grant. */
interface OfGrant extends OfUser {
  /** Ties the events of one refresh token or app password together, and reveals nothing of it. */
  readonly fingerprint: string
}

/** The events, without the time that `emit` adds. None holds a token, code, secret or key. */
export type McpAuthEventDetails =
  | (OfUser & {
      readonly type: 'token.accepted'
      readonly clientId: string
      /** Whether this very token had been verified before. */
      readonly cached: boolean
    })
  | (RejectionDetails & {
      /** A request, or a `verify()` call, was turned away. `message` gives the reason in one line, the rest gives it to machines. */
      readonly type: 'token.rejected'
      readonly reason: RejectionReason
    })
  | {
      /** A request could not be judged: the authorization server's fault, the operator's or a bug. */
      readonly type: 'request.failed'
      /** `ERR_…`. */
      readonly code: string
      readonly status: number
      readonly message: string
    }
  | (OfUser & {
      readonly type: 'nextcloud.token'
      readonly mode: NextcloudMode
      /** `store`: another instance, or this one earlier, got it. */
      readonly source: 'cache' | 'idp' | 'store'
      /** Milliseconds. */
      readonly durationMs: number
    })
  | (OfUser &
      OfRefusal & {
        readonly type: 'nextcloud.failed'
        readonly mode: NextcloudMode
        /** `ERR_…`, as on the error that the caller gets. */
        readonly code: string
      })
  | {
      readonly type: 'idp.unavailable'
      readonly operation: IdpOperation
      readonly message: string
      readonly httpStatus: number | undefined
      /** Of several (`issuers`), the one that is unavailable. */
      readonly issuer?: string
    }
  | (OfGrant & {
      /** A user connected Nextcloud. */
      readonly type: 'grant.stored'
      /** The MCP client that the user agreed to. */
      readonly clientId: string
    })
  | (OfGrant & {
      /**
       * A refresh token was spent, and its successor is stored. It is the same one if the server does not rotate. Also: Nextcloud
       * takes an app password again that it refused for a time; `previous` is the same then.
       */
      readonly type: 'grant.rotated'
      /** The fingerprint of the refresh token before. */
      readonly previous: string
    })
  | (OfGrant & {
      /** The refresh token or app password is refused, or its stated end has passed: the user must reconnect. */
      readonly type: 'grant.lost'
      readonly reason: 'revoked' | 'expired'
    })
  | (OfUser & {
      /**
       * A user, or the app, disconnected Nextcloud; or a credential of a user that was `pending`, or was replaced or never stored, has
       * come to its end later.
       */
      readonly type: 'grant.revoked'
      /** Whether the authorization server revoked the refresh token too, or Nextcloud deleted the app password. `pending`: not yet. */
      readonly revoked: boolean | 'pending' | 'unsupported'
      /** Advice for the user, where this server can do no more. */
      readonly hint?: string
    })
  | (OfRefusal &
      OfPerson & {
        /** A person at a browser did not get to connect Nextcloud, or to see their connection. */
        readonly type: 'connect.failed'
        readonly reason: ConnectFailureReason
      })
  | {
      readonly type: 'storage.failed'
      readonly operation: 'get' | 'put' | 'delete' | 'list'
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
  /** Calls that a Nextcloud token in the cache answered. Pass-through mode has no cache and counts none. */
  nextcloudCacheHits: number
  /** Calls that no Nextcloud token in the cache could answer, including those that joined a request under way. */
  nextcloudCacheMisses: number
  /** Token exchanges (RFC 8693 and jwt-bearer) sent, repeated attempts included. */
  exchanges: number
  /** Refresh requests sent. */
  refreshes: number
  /** HTTP requests to the authorization server, of every kind. */
  idpRequests: number
  /** Failures after which nothing more is tried for a while: 1 s, doubling to 30 s. */
  coolDowns: number
  /** Entries that a full cache dropped. */
  evictions: number
  /** Entries of the two caches. */
  sizes: { verifiedTokens: number; nextcloudTokens: number }
}

/** Takes every decision. */
export interface Events extends Pick<Watchers<McpAuthEvent>, 'during' | 'watch'> {
  /** Whether there is a listener: without one the hot path builds no event. */
  readonly active: () => boolean
  /** Whether anybody learns of a refusal: without a listener the first of each reason in a minute is a process warning. */
  readonly hears: (reason: RejectionReason) => boolean
  readonly emit: (details: McpAuthEventDetails) => void
  readonly counters: Omit<McpAuthStats, 'sizes'>
}

const diagnostics = channel('mcp-nextcloud-auth')
/** `NODE_DEBUG=mcp-nextcloud-auth`, which Node reads once. */
const debug = debuglog('mcp-nextcloud-auth')

type Listener = ((event: McpAuthEvent) => unknown) | undefined

/**
 * Reports to `onEvent` and to the `diagnostics_channel` named `mcp-nextcloud-auth`. An `onEvent` that throws or rejects never
 * disturbs a request: its first failure becomes a process warning. Without it, all that the operator must mend becomes one, an
 * outage included, because a provider may be configured wrongly, and so does the first refusal of each reason in a minute.
 *
 * @param watchers default: none but those of the result
 */
export function createEvents(
  onEvent: Listener,
  clock: Clock,
  watchers: Watchers<McpAuthEvent> = createWatchers(),
): Events {
  const warnings = createProcessWarnings(clock)
  const { any, tell: tellWatchers, during, watch } = watchers
  const isHeard = onEvent !== undefined || debug.enabled
  const active = (): boolean => isHeard || diagnostics.hasSubscribers || any()
  return {
    active,
    during,
    watch,
    hears: (reason) => active() || warnings.isDue(reason),
    emit: (details) => {
      const event: McpAuthEvent = { ...details, at: clock.now() }
      if (diagnostics.hasSubscribers) diagnostics.publish(event)
      if (debug.enabled) debug('%s', lineOf(event))
      tellWatchers(event)
      if (onEvent === undefined) warnOf(event, warnings)
      else tell(onEvent, event, warnings.once)
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
      coolDowns: 0,
      evictions: 0,
    },
  }
}

/** Tells a listener. One that throws or rejects is warned of. */
export function tell(onEvent: NonNullable<Listener>, event: McpAuthEvent, warnOnce: ProcessWarnings['once']): void {
  const failed = (error: unknown): void =>
    warnOnce(`onEvent failed: ${error instanceof Error ? error.message : 'no Error was thrown'}`, 'ERR_ON_EVENT')
  try {
    const result = onEvent(event)
    if (result instanceof Promise) result.catch(failed)
  } catch (error) {
    failed(error)
  }
}

/** Warns of an event that tells the operator of something to mend. */
function warnOf(event: McpAuthEvent, { once, refused }: ProcessWarnings): void {
  if (event.type === 'token.rejected') refused(event.reason, event.message)
  if (event.type === 'config.warning') once(event.message, 'ERR_CONFIGURATION')
  if (event.type === 'idp.unavailable') once(event.message, 'ERR_UPSTREAM_UNAVAILABLE')
  if (event.type === 'storage.failed') once(event.message, 'ERR_STORAGE')
  if (event.type === 'request.failed' && event.status === 500) once(event.message, event.code)
  if (event.type === 'nextcloud.failed' && event.hint !== undefined) once(event.hint, event.code)
  if (event.type === 'grant.revoked' && event.hint !== undefined) once(event.hint, 'ERR_REVOKED')
  if (event.type === 'connect.failed' && event.hint !== undefined) once(event.hint, 'ERR_CONNECT')
}

/** Counts and reports a request that does not pass, or a token that `verify()` refuses. */
export function reportFailure({ counters, hears, emit }: Events, error: McpAuthError): void {
  const reason = rejectionReason(error)
  if (reason !== undefined) {
    counters.rejected[reason] = (counters.rejected[reason] ?? 0) + 1
    if (hears(reason)) emit({ type: 'token.rejected', reason, ...rejectionDetails(error) })
  } else {
    const { code, status, detail: message } = error
    if (status >= 500) counters.failed[code] = (counters.failed[code] ?? 0) + 1
    emit({ type: 'request.failed', code, status, message })
  }
}

/** Returns undefined for a failure that says nothing about the request. */
function rejectionReason(error: McpAuthError): RejectionReason | undefined {
  if (error instanceof InvalidTokenError) return error.reason
  if (error instanceof UnauthorizedError) return error.reason
  if (error instanceof InvalidDpopProofError) return 'invalid_dpop_proof'
  if (error instanceof InvalidRequestError) return 'invalid_request'
  if (error instanceof InsufficientScopeError) return 'scope'
  return undefined
}

/** Returns the particulars. Without a token there are few. */
function rejectionDetails(error: McpAuthError): RejectionDetails {
  if (error instanceof InvalidTokenError || error instanceof InsufficientScopeError) return error.details
  if (error instanceof InvalidDpopProofError) return error.details
  return { message: error instanceof UnauthorizedError ? WITHOUT_TOKEN[error.reason] : error.detail }
}

const WITHOUT_TOKEN: Readonly<Record<UnauthorizedError['reason'], string>> = {
  no_credentials:
    'the request has no Bearer token, which is usual for the first request of an MCP client. If later ones have none either, the client does not sign in: "npx mcp-nextcloud-auth doctor --as claude" shows at which step a client stops. If it did sign in, a proxy drops the Authorization header',
  unsupported_scheme:
    "the request has a token in the scheme DPoP, which is off here: set dpop to 'allowed', or switch DPoP off for the MCP client at the authorization server",
}
