/** The body that an error answers with over HTTP. */
export interface ErrorBody {
  readonly error: string
  readonly error_description: string
  /** The page on which the user can connect Nextcloud, when that is missing. */
  readonly connect_url?: string
}

interface ErrorFacts {
  readonly status: number
  readonly error: string
  readonly description: string
  readonly connectUrl?: string | undefined
  /** Default: the description. */
  readonly message?: string
  readonly cause?: unknown
}

/**
 * The base of every error of this package. It carries what is needed to answer a request, under the names that Express's
 * default error handler reads (`status`, `headers`); `auth.errorHandler()` also sends `body`.
 *
 * No message, header or body holds a token, a secret or anything from the request, except the single-use ticket in `connect_url`.
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

  protected constructor({ status, error, description, connectUrl, message = description, cause }: ErrorFacts) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.code = (new.target as unknown as { readonly code: string }).code
    this.status = status
    this.body = {
      error,
      error_description: description,
      ...(connectUrl !== undefined && { connect_url: connectUrl }),
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
