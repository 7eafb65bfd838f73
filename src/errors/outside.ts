import { hideMembers, McpAuthError } from './base.js'
import { nameOfFailure } from './failure-name.js'

/** The facts of an outage. */
export interface UpstreamFailure {
  /** Seconds until another attempt makes sense. Default: as the server stated, else 5. */
  readonly retryAfter?: number | undefined
  /** The server's own Retry-After, in seconds. */
  readonly statedRetryAfter?: number | undefined
  /** The HTTP status, if there was an answer. */
  readonly httpStatus?: number | undefined
  /** Whether the request surely was not processed: no connection came about, or the server turned it away unread. */
  readonly unprocessed?: boolean | undefined
  /** The service that is unavailable, for the answer. Default `The authorization server`. */
  readonly service?: 'The authorization server' | 'Nextcloud'
  /** Advice for the operator. */
  readonly hint?: string | undefined
}

/** The authorization server (or, in `nextcloudFetch`, Nextcloud) is down, slow, overloaded or answers nonsense. 503 with `Retry-After`. */
export class UpstreamUnavailableError extends McpAuthError {
  static readonly code = 'ERR_UPSTREAM_UNAVAILABLE'
  declare readonly code: typeof UpstreamUnavailableError.code
  /** Seconds until another attempt makes sense. */
  readonly retryAfter: number
  /** The server's own Retry-After, in seconds. */
  readonly statedRetryAfter: number | undefined
  /** The HTTP status, if there was an answer. */
  readonly httpStatus: number | undefined
  /** Whether the request surely was not processed, so that even one that can be sent only once may be sent again. */
  readonly unprocessed: boolean
  /** The service that is unavailable. */
  readonly service: 'The authorization server' | 'Nextcloud'
  /** Advice for the operator. */
  readonly hint: string | undefined
  readonly #failure: UpstreamFailure

  constructor(detail: string, failure: UpstreamFailure = {}) {
    super({
      status: 503,
      error: 'temporarily_unavailable',
      description: `${failure.service ?? 'The authorization server'} is not available`,
      detail,
    })
    this.#failure = failure
    this.retryAfter = wholeSeconds(failure.retryAfter ?? failure.statedRetryAfter)
    this.statedRetryAfter = failure.statedRetryAfter
    this.httpStatus = failure.httpStatus
    this.unprocessed = failure.unprocessed === true
    this.service = failure.service ?? 'The authorization server'
    this.hint = failure.hint
    hideMembers(this, 'hint')
    this.headers['Retry-After'] = String(this.retryAfter)
  }

  /** @internal The same failure, told again: to another caller, at another time, of another service. */
  with(changes: UpstreamFailure): UpstreamUnavailableError {
    return unavailable(this.detail, { ...this.#failure, ...changes })
  }
}

/** Stands outside the class, because the build gives a class that names itself another `name`. */
function unavailable(detail: string, failure: UpstreamFailure): UpstreamUnavailableError {
  return new UpstreamUnavailableError(detail, failure)
}

/**
 * The storage of grants failed, or did not answer. 503 with `Retry-After`; nothing was deleted.
 *
 * Of its cause only a code goes into `detail`: the text of a database client's error may hold a connection string.
 */
export class StorageError extends McpAuthError {
  static readonly code = 'ERR_STORAGE'
  declare readonly code: typeof StorageError.code
  /** Seconds until another attempt makes sense. */
  readonly retryAfter: number

  /** @param retryAfter seconds, default 5 */
  constructor(detail: string, cause?: unknown, retryAfter?: number) {
    const code = nameOfFailure(cause)
    super({
      status: 503,
      error: 'temporarily_unavailable',
      description: 'The storage of connections is not available',
      detail: code === undefined ? detail : `${detail} (${code})`,
    })
    this.retryAfter = wholeSeconds(retryAfter)
    this.headers['Retry-After'] = String(this.retryAfter)
  }
}

/** Returns whole seconds, at least one. */
function wholeSeconds(retryAfter = 5): number {
  return Math.max(1, Math.ceil(retryAfter))
}
