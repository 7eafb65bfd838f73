import { hideMembers, McpAuthError } from './base.js'

/**
 * An option, or a setting at the provider, is wrong. Thrown at construction, where the message says which and how to mend it; 500 at run time,
 * where that is in `detail`, because the message may reach an MCP client.
 */
export class ConfigurationError extends McpAuthError {
  static readonly code = 'ERR_CONFIGURATION'
  declare readonly code: typeof ConfigurationError.code
  /** The option at fault, as a path (`nextcloud.url`), if there is one. */
  readonly option: string | undefined

  constructor(message: string, option?: string, cause?: unknown) {
    super({
      status: 500,
      error: 'server_error',
      description: 'The server is not configured correctly',
      detail: message,
      cause,
    })
    this.option = option
    this.message = message
  }

  /** @internal The same error, for a caller of this server. */
  concealed(): this {
    this.stack = (this.stack ?? '').replace(this.message, () => this.body.error_description)
    this.message = this.body.error_description
    return this
  }
}

const FAILED = { status: 500, error: 'server_error', description: 'The server failed to handle the request' }

/** Something failed in this process that should not have. 500. */
export class InternalError extends McpAuthError {
  static readonly code = 'ERR_INTERNAL'
  declare readonly code: typeof InternalError.code

  constructor(detail: string, cause?: unknown) {
    super({ ...FAILED, detail, cause })
  }
}

/** The words of the authorization server when it refused a token request. */
export interface TokenRequestFailure {
  /** `error` of the answer (RFC 6749 §5.2). */
  readonly error?: string | undefined
  /** `error_description` of the answer, without anything of the request. */
  readonly errorDescription?: string | undefined
  /** The HTTP status, if there was an answer. */
  readonly httpStatus?: number | undefined
  /** Advice for the operator. */
  readonly hint?: string | undefined
}

/** The authorization server refused the token request for a reason that the operator must mend. 502. */
export class TokenRequestError extends McpAuthError {
  static readonly code = 'ERR_TOKEN_REQUEST'
  declare readonly code: typeof TokenRequestError.code
  /** `error` of the answer (RFC 6749 §5.2). */
  readonly error: string | undefined
  /** `error_description` of the answer, for logs. */
  readonly errorDescription: string | undefined
  /** The HTTP status, if there was an answer. */
  readonly httpStatus: number | undefined
  /** Advice for the operator. */
  readonly hint: string | undefined

  constructor(detail: string, failure: TokenRequestFailure = {}) {
    super({
      status: 502,
      error: 'nextcloud_token_refused',
      description: 'The authorization server refused a token for Nextcloud',
      detail,
    })
    this.error = failure.error
    this.errorDescription = failure.errorDescription
    this.httpStatus = failure.httpStatus
    this.hint = failure.hint
    hideMembers(this, 'error', 'errorDescription', 'hint')
  }
}

/**
 * A stored value cannot be opened with the keys given: it was sealed with another key, for another record, or was changed since.
 * 500, since only the operator can mend it; nothing was deleted.
 */
export class SealedValueError extends McpAuthError {
  static readonly code = 'ERR_STORAGE_SEALED'
  declare readonly code: typeof SealedValueError.code

  /** @param option the option with the keys, as messages name it */
  constructor(option = 'encryptionKey') {
    super({
      ...FAILED,
      detail:
        `A stored value cannot be opened: check that ${option} holds the ` +
        'key that it was sealed with, keep old keys in the list, behind the new one, after a rotation, and give a new key to every ' +
        'process before it is the first of any',
    })
  }
}
