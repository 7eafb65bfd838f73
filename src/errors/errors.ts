import {
  INVALID_TOKEN_DESCRIPTIONS,
  readRejectionDetails,
  scopeFault,
  type Fault,
  type InvalidTokenReason,
  type RejectionDetails,
} from './rejection-details.js'

import type { SubjectTokenRejection, TokenRequestFailure, UpstreamFailure } from './upstream-failures.js'

export type { InvalidTokenReason } from './rejection-details.js'
export type { SubjectTokenRejection, TokenRequestFailure, UpstreamFailure } from './upstream-failures.js'

/** What an error answers over HTTP, beside its status. */
export interface ErrorBody {
  readonly error: string
  readonly error_description: string
  /** Where the user can connect Nextcloud, when that is what is missing. */
  readonly connect_url?: string
}

interface ErrorFacts {
  readonly code: string
  readonly status: number
  readonly error: string
  readonly description: string
  readonly connectUrl?: string | undefined
  readonly message?: string
  readonly cause?: unknown
}

/**
 * The base of every error of this package. It carries what is needed to answer a request, under the names that Express's
 * default error handler reads (`status`, `headers`); `auth.errorHandler()` also sends `body`.
 *
 * No message, header or body ever holds a token, a secret or anything from the request.
 */
export abstract class McpAuthError extends Error {
  /** A stable string, `ERR_…`. */
  readonly code: string
  /** HTTP status to answer with. */
  readonly status: number
  /** JSON body to answer with. */
  readonly body: ErrorBody
  /** Headers to answer with; a 401 or 403 about the MCP token has its RFC 6750 challenge here. */
  headers: Record<string, string> = { 'Cache-Control': 'no-store' }

  protected constructor(facts: ErrorFacts) {
    super(facts.message ?? facts.description, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.name = new.target.name
    this.code = facts.code
    this.status = facts.status
    this.body = {
      error: facts.error,
      error_description: facts.description,
      ...(facts.connectUrl !== undefined && { connect_url: facts.connectUrl }),
    }
  }

  /** The same as `status`, under the name that some frameworks read. */
  get statusCode(): number {
    return this.status
  }

  /** Whether `message` may be shown to the caller: not when it is for the operator. `body` always may. */
  get expose(): boolean {
    return this.status < 500
  }
}

/** An option, or something that the provider is set up with, is wrong. Thrown at construction, or 500 at run time. */
export class ConfigurationError extends McpAuthError {
  static readonly code = 'ERR_CONFIGURATION'
  /** The option at fault, as a path (`nextcloud.url`), where there is one. */
  readonly option: string | undefined

  constructor(message: string, option?: string, cause?: unknown) {
    super({
      code: new.target.code,
      status: 500,
      error: 'server_error',
      description: 'The server is not configured correctly',
      message,
      cause,
    })
    this.option = option
  }
}

/** Something failed in this process that should not have. 500. */
export class InternalError extends McpAuthError {
  static readonly code = 'ERR_INTERNAL'

  constructor(message: string, cause?: unknown) {
    super({
      code: new.target.code,
      status: 500,
      error: 'server_error',
      description: 'The server failed to handle the request',
      message,
      cause,
    })
  }
}

/** No credentials in the request. 401 with a challenge that has no `error` (RFC 6750 §3.1). */
export class UnauthorizedError extends McpAuthError {
  static readonly code = 'ERR_UNAUTHORIZED'

  constructor() {
    super({
      code: new.target.code,
      status: 401,
      error: 'unauthorized',
      description: 'An access token is required',
    })
  }
}

/** The credentials are not in the form of RFC 6750 §2.1. 400. */
export class InvalidRequestError extends McpAuthError {
  static readonly code = 'ERR_INVALID_REQUEST'

  constructor() {
    super({
      code: new.target.code,
      status: 400,
      error: 'invalid_request',
      description: 'The Authorization header must hold one Bearer token and nothing else',
    })
  }
}

/** The access token cannot be used here. 401 `invalid_token` (RFC 6750 §3.1). */
export class InvalidTokenError extends McpAuthError {
  static readonly code = 'ERR_INVALID_TOKEN'
  readonly reason: InvalidTokenReason
  #fault: () => Fault
  #token: string | undefined

  /** @param fault what is wrong in particular; it is asked only where somebody reads `details` */
  constructor(reason: InvalidTokenReason, cause?: unknown, fault?: () => Fault) {
    super({
      code: new.target.code,
      status: 401,
      error: 'invalid_token',
      description: INVALID_TOKEN_DESCRIPTIONS[reason],
      cause,
    })
    this.reason = reason
    this.#fault = fault ?? (() => ({ sentence: () => this.message }))
  }

  /** What is wrong in particular, for the operator and not for an answer. Put together at each reading. */
  get details(): RejectionDetails {
    return readRejectionDetails(this.#fault(), this.#token)
  }

  /** @internal The token at fault, which `details` never shows. */
  about(token: string): this {
    this.#token = token
    return this
  }
}

/** The access token is valid and lacks a scope. 403 `insufficient_scope` (RFC 6750 §3.1). */
export class InsufficientScopeError extends McpAuthError {
  static readonly code = 'ERR_INSUFFICIENT_SCOPE'
  /** Every scope of the operation, held or not. */
  readonly requiredScopes: readonly string[]
  readonly #granted: readonly string[] | undefined

  constructor(requiredScopes: readonly string[], granted?: readonly string[]) {
    super({
      code: new.target.code,
      status: 403,
      error: 'insufficient_scope',
      description: 'The access token lacks a scope that this operation needs',
    })
    this.requiredScopes = requiredScopes
    this.#granted = granted
  }

  /** What is wrong in particular, for the operator and not for an answer. Put together at each reading. */
  get details(): RejectionDetails {
    return readRejectionDetails(scopeFault(this.requiredScopes, this.#granted))
  }
}

/** The authorization server (or, in `nextcloudFetch`, Nextcloud) is down, slow, overloaded or answers nonsense. 503 with `Retry-After`. */
export class UpstreamUnavailableError extends McpAuthError {
  static readonly code = 'ERR_UPSTREAM_UNAVAILABLE'
  /** Seconds until another attempt makes sense. */
  readonly retryAfter: number
  /** What the server itself stated as its Retry-After, in seconds. */
  readonly statedRetryAfter: number | undefined
  readonly httpStatus: number | undefined
  /** Whether the request surely was not processed, so that even one that can be sent only once may be sent again. */
  readonly unprocessed: boolean
  readonly #failure: UpstreamFailure

  constructor(message: string, failure: UpstreamFailure = {}) {
    super({
      code: new.target.code,
      status: 503,
      error: 'temporarily_unavailable',
      description: `${failure.service ?? 'The authorization server'} is not available`,
      message,
    })
    this.#failure = failure
    this.retryAfter = Math.max(1, Math.ceil(failure.retryAfter ?? failure.statedRetryAfter ?? 5))
    this.statedRetryAfter = failure.statedRetryAfter
    this.httpStatus = failure.httpStatus
    this.unprocessed = failure.unprocessed === true
    this.headers['Retry-After'] = String(this.retryAfter)
  }

  /** @internal The same failure, told anew: to another caller, at another time, of another service. */
  with(changes: UpstreamFailure): UpstreamUnavailableError {
    return new UpstreamUnavailableError(this.message, { ...this.#failure, ...changes })
  }
}

/**
 * The MCP token was refused in an exchange, or has expired since it was verified. 401 `invalid_token`: the MCP client has to get a new one.
 * Where the authorization server wants more of the user (Entra: multi-factor authentication, say), 401 `insufficient_claims`
 * with the `claims` that the client has to ask for.
 */
export class SubjectTokenRejectedError extends McpAuthError {
  static readonly code = 'ERR_SUBJECT_TOKEN_REJECTED'
  /** What the authorization server said, for logs and for the challenge. */
  readonly rejection: SubjectTokenRejection

  constructor(rejection: SubjectTokenRejection = {}) {
    const more = rejection.challenge !== undefined
    super({
      code: new.target.code,
      status: 401,
      error: more ? 'insufficient_claims' : 'invalid_token',
      description: more
        ? 'The user has to sign in again and do more than before'
        : 'The access token is no longer accepted',
    })
    this.rejection = rejection
  }
}

/** The authorization server refused the token request for a reason that the operator has to mend. 502. */
export class TokenRequestError extends McpAuthError {
  static readonly code = 'ERR_TOKEN_REQUEST'
  /** `error` of the answer (RFC 6749 §5.2). */
  readonly error: string | undefined
  /** `error_description` of the answer, for logs. */
  readonly errorDescription: string | undefined
  readonly httpStatus: number | undefined
  /** What to look at, for the operator. */
  readonly hint: string | undefined

  constructor(message: string, failure: TokenRequestFailure = {}) {
    super({
      code: new.target.code,
      status: 502,
      error: 'nextcloud_token_refused',
      description: 'The authorization server refused a token for Nextcloud',
      message,
    })
    this.error = failure.error
    this.errorDescription = failure.errorDescription
    this.httpStatus = failure.httpStatus
    this.hint = failure.hint
  }
}

/** Pass-through: the MCP token is not also for Nextcloud. 403. */
export class AudienceMismatchError extends McpAuthError {
  static readonly code = 'ERR_AUDIENCE'

  constructor() {
    super({
      code: new.target.code,
      status: 403,
      error: 'nextcloud_audience',
      description: 'The access token is not also meant for Nextcloud',
    })
  }
}

/**
 * The storage of grants failed, or did not answer. 503 with `Retry-After`; nothing was deleted.
 *
 * Of its cause only a code goes into the message: the text of a database client's error may hold a connection string.
 */
export class StorageError extends McpAuthError {
  static readonly code = 'ERR_STORAGE'
  /** Seconds until another attempt makes sense. */
  readonly retryAfter: number

  /** @param retryAfter seconds, default 5 */
  constructor(message: string, cause?: unknown, retryAfter = 5) {
    const code = codeOf(cause)
    super({
      code: new.target.code,
      status: 503,
      error: 'temporarily_unavailable',
      description: 'The storage of connections is not available',
      message: code === undefined ? message : `${message} (${code})`,
    })
    this.retryAfter = Math.max(1, Math.ceil(retryAfter))
    this.headers['Retry-After'] = String(this.retryAfter)
  }
}

/** `ECONNREFUSED`, `SQLITE_BUSY`, `57P03`, or else `TypeError`: what names a failure and holds nothing else. */
function codeOf(cause: unknown): string | undefined {
  if (typeof cause !== 'object' || cause === null) return undefined
  if ('code' in cause && typeof cause.code === 'string' && /^[A-Z0-9_]{1,32}$/.test(cause.code)) return cause.code
  return cause instanceof Error && cause.name !== 'Error' && /^\w{1,40}$/.test(cause.name) ? cause.name : undefined
}

/**
 * A stored value cannot be opened with the keys given: it was sealed with another key, for another record, or was changed since.
 * 500, since only the operator can mend it; nothing was deleted.
 */
export class SealedValueError extends McpAuthError {
  static readonly code = 'ERR_STORAGE_SEALED'

  constructor() {
    super({
      code: new.target.code,
      status: 500,
      error: 'server_error',
      description: 'The server failed to handle the request',
      message:
        'A stored value cannot be opened: check that encryptionKey (environment variable TOKEN_ENCRYPTION_KEY) holds the ' +
        'key that it was sealed with, and keep old keys in the list, behind the new one, after a rotation',
    })
  }
}

/**
 * Why there is no usable grant: the user `never` connected Nextcloud; the grant was `revoked`, by the user or by the authorization
 * server; its stated end has passed (`expired`); the user has not agreed to this MCP client (`consent`).
 */
export type NotProvisionedReason = 'never' | 'revoked' | 'expired' | 'consent'

/** Where a user can connect Nextcloud. */
export interface ConnectLink {
  /** Good for one connection. */
  readonly connectUrl: string
  /** Names the request in URL elicitation (MCP 2025-11-25); random, and of no other use. */
  readonly elicitationId: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

const NOT_PROVISIONED_DESCRIPTIONS: Readonly<Record<NotProvisionedReason, string>> = {
  never: 'Nextcloud is not connected yet',
  revoked: 'The connection to Nextcloud was ended and has to be made anew',
  expired: 'The connection to Nextcloud has expired and has to be made anew',
  consent: 'The user has not agreed yet that this MCP client may act in Nextcloud',
}

/** Refresh-token mode: there is no usable grant, so the user has to connect Nextcloud first. 403. */
export class NotProvisionedError extends McpAuthError {
  static readonly code = 'ERR_NOT_PROVISIONED'
  readonly reason: NotProvisionedReason
  /** The link to show to the user; undefined when the connect pages are switched off. */
  readonly connectUrl: string | undefined
  readonly elicitationId: string | undefined
  /** When the link ends, in seconds since the epoch. */
  readonly expiresAt: number | undefined

  constructor(reason: NotProvisionedReason, link?: ConnectLink) {
    super({
      code: new.target.code,
      status: 403,
      error: 'nextcloud_not_connected',
      description: NOT_PROVISIONED_DESCRIPTIONS[reason],
      connectUrl: link?.connectUrl,
    })
    this.reason = reason
    this.connectUrl = link?.connectUrl
    this.elicitationId = link?.elicitationId
    this.expiresAt = link?.expiresAt
  }
}

/** Any failure as one that can be answered: what is not ours is a bug, here or in a function of the user's. */
export function asMcpAuthError(error: unknown): McpAuthError {
  return error instanceof McpAuthError ? error : new InternalError('An error that was not expected', error)
}
