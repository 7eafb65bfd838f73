/**
 * The claims of a verified MCP token. A superset of the MCP SDK's `AuthInfo`; the same frozen object is `req.mcpAuth`, `req.auth`
 * and, in a tool handler, `extra.authInfo` (SDK v1) or `ctx.http.authInfo` (SDK v2).
 */
export interface McpAuthInfo {
  /**
   * The MCP token itself. It is for this server only: never send it on. Not enumerable, so that neither `console.log` nor
   * `JSON.stringify` nor a spread copy shows it: pass the object itself on, or `{ token: info.token }`, and not a copy.
   */
  readonly token: string
  /** `sub`. */
  readonly subject: string
  /** `iss`. */
  readonly issuer: string
  /** `client_id`, else `azp`, else `cid`; `'unknown'` when the token has none of them. */
  readonly clientId: string
  /** `scope`, or `scp`. */
  readonly scopes: string[]
  /** `exp`, in seconds since the epoch. */
  readonly expiresAt: number
  /** `aud`, always as a list. */
  readonly audience: string[]
  /** The configured `resource`. */
  readonly resource: URL
  /** URL of this server's protected resource metadata (RFC 9728). */
  readonly resourceMetadataUrl: string
  /** The verified payload, or the introspection answer. */
  readonly claims: Record<string, unknown>
  /** Members for tool handlers, which never see `req`. */
  readonly extra: McpAuthExtra
}

/** The members that travel with the MCP SDK's `AuthInfo` into tool handlers. */
export interface McpAuthExtra extends Record<string, unknown> {
  readonly subject: string
  readonly issuer: string
  readonly getNextcloudToken: GetNextcloudToken
}

/** Per-call choices for a Nextcloud token. */
export interface NextcloudTokenOptions {
  /** `scope` to ask for instead of `nextcloud.scopes`. Refused in the modes with a grant and in pass-through mode. */
  readonly scopes?: readonly string[] | undefined
  /**
   * RFC 8693 `audience` to ask for instead of `nextcloud.audience`. In pass-through mode, `aud` values that the MCP token must hold
   * besides those of `nextcloud.audience`. Refused in the modes with a grant and in jwt-bearer mode.
   */
  readonly audience?: string | readonly string[] | undefined
  /** Counts the token handed out last as bad and gets another. Default false. */
  readonly forceRefresh?: boolean | undefined
  /** Ends this caller's wait, not the request that others wait for too. */
  readonly signal?: AbortSignal | undefined
}

/**
 * The credential that lets a request into Nextcloud, in any mode, with the headers to send. Frozen. `token`, `password` and `headers`
 * are not enumerable, so that neither `console.log` nor `JSON.stringify` nor a spread copy shows them. `headers` itself is a plain
 * object for any HTTP client: do not log it.
 */
export type NextcloudCredential =
  | {
      readonly type: 'bearer'
      readonly token: string
      readonly headers: NextcloudHeaders
    }
  | {
      /** App-password mode (RFC 7617). */
      readonly type: 'basic'
      readonly loginName: string
      readonly password: string
      readonly headers: NextcloudHeaders
    }

/** The headers of a request to Nextcloud that speaks for a user. */
export type NextcloudHeaders = Readonly<Record<'Authorization' | 'OCS-APIRequest', string>>

/**
 * Gets an access token for Nextcloud; nothing is fetched until it is called.
 *
 * @throws {SubjectTokenRejectedError} 401: the authorization server no longer accepts the MCP token
 * @throws {TokenRequestError} 502: it refused for another reason, see `hint`
 * @throws {UpstreamUnavailableError} 503: it is down, slow or overloaded
 * @throws {NotProvisionedError} 403: the mode needs a grant, and the user's Nextcloud is not connected, or no longer
 * @throws {StorageError} 503: the mode needs a grant, and the storage fails
 * @throws {SealedValueError} 500: the grant cannot be opened with the keys given
 * @throws {AudienceMismatchError} 403: pass-through mode, and the MCP token is not also for Nextcloud
 * @throws {ConfigurationError} 500: `nextcloud` is not configured, the mode is app-password, which has no tokens, or the function in
 * `nextcloud.scopes` returned something other than a list of scopes
 * @throws {InternalError} 500: the function in `nextcloud.scopes` threw
 * @throws {TypeError} an option is unknown, of the wrong type or of no use in this mode
 * @throws the reason of `signal`, when that ended the wait
 */
export type GetNextcloudToken = (options?: NextcloudTokenOptions) => Promise<string>
