/** What an unavailable authorization server left behind. */
export interface UpstreamFailure {
  /** Seconds until another attempt makes sense. Default: what the server stated, else 5. */
  readonly retryAfter?: number | undefined
  /** The server's own Retry-After, in seconds. */
  readonly statedRetryAfter?: number | undefined
  /** The HTTP status, where there was an answer. */
  readonly httpStatus?: number | undefined
  /** Whether the request surely was not processed: no connection came about, or the server turned it away unread. */
  readonly unprocessed?: boolean | undefined
  /** What is unavailable, in the answer. Default `The authorization server`. */
  readonly service?: 'The authorization server' | 'Nextcloud'
}

/** What the authorization server said when it refused a token request. */
export interface TokenRequestFailure {
  readonly error?: string | undefined
  readonly errorDescription?: string | undefined
  readonly httpStatus?: number | undefined
  readonly hint?: string | undefined
}

/** What the authorization server wants to see of the user first, which only the MCP client can bring about. */
export interface ClaimsChallenge {
  /** A claims request (OIDC Core §5.5) as JSON in base64, without padding and the same in base64url: it stands in any header. */
  readonly claims: string
  /** Where the client can send the user. */
  readonly authorizationUri?: string | undefined
}

/** What the authorization server said when it refused the MCP token. */
export interface SubjectTokenRejection {
  readonly error?: string | undefined
  readonly errorDescription?: string | undefined
  readonly challenge?: ClaimsChallenge | undefined
}
