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
  /** The particulars, for the operator. Default: the description. */
  readonly detail?: string | undefined
  readonly cause?: unknown
}

/** Beside the errors and not in them, where a print that shows hidden members would show them, too. */
const details = new WeakMap<McpAuthError, string>()

/**
 * The base of every error of this package. It carries what is needed to answer a request, under the names that Express's
 * default error handler reads (`status`, `headers`); `auth.errorHandler()` also sends `body`.
 *
 * Message, headers and body are fixed texts, which anybody may be shown; `detail` is for the operator. None of them holds a token, a secret
 * or anything from the request, except the single-use ticket in `connect_url`.
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

  protected constructor({ status, error, description, connectUrl, detail, cause }: ErrorFacts) {
    super(description, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.code = (new.target as unknown as { readonly code: string }).code
    this.status = status
    if (detail !== undefined) details.set(this, detail)
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

  /**
   * What went wrong, for the operator and not for an answer: the words of a server, a URL, the setting to change. Not enumerable. The event of the
   * failure holds it too.
   */
  get detail(): string {
    return details.get(this) ?? this.message
  }

  /** Whether the failure is the caller's to mend, as Express and `http-errors` have it: below 500. */
  get expose(): boolean {
    return this.status < 500
  }
}

/** Makes members of an error not enumerable, so that neither `console.log` nor `JSON.stringify` nor a spread copy shows them. */
export function hideMembers(error: McpAuthError, ...names: string[]): void {
  for (const name of names) Object.defineProperty(error, name, { enumerable: false })
}
