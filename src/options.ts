import type { Agent as HttpAgent, IncomingMessage, ServerResponse } from 'node:http'
import type { Agent as HttpsAgent } from 'node:https'
import type { ClientAuth } from 'oauth4webapi'
import type { McpAuthInfo } from './auth-info.js'
import type { McpAuthError } from './errors/errors.js'
import type { McpAuthEvent } from './events.js'
import type { NextcloudMode } from './modes.js'
import type { NextcloudPreset } from './presets.js'
import type { StorageAdapter } from './storage-adapter.js'

export type { NextcloudMode } from './modes.js'
export type { NextcloudPreset } from './presets.js'

/** The Nextcloud that tools act in, and how to get a token for it. */
export interface NextcloudOptions {
  /** Base URL, may have a path. Required. Environment: `NEXTCLOUD_HOST`. */
  readonly url?: string | URL | undefined
  /**
   * `token-exchange` (RFC 8693), `refresh-token` (a grant that the user gives once and that is stored), `app-password` (the same
   * for a Nextcloud that takes no tokens: Login Flow v2), `jwt-bearer` (Entra on-behalf-of, RFC 7523) or `pass-through` (only a
   * token whose `aud` already holds the Nextcloud audience). One mode; a failure never falls through to another. Default `refresh-token` when `storage` is given, else `token-exchange`.
   * Environment: `ENABLE_TOKEN_EXCHANGE` (`true` is token-exchange, `false` is pass-through).
   */
  readonly mode?: NextcloudMode | undefined
  /**
   * RFC 8693 `audience` (each of the list is sent); in pass-through mode, the `aud` values that the MCP token must hold, all of
   * them; in jwt-bearer mode there is none.
   * Default `'nextcloud'`. Environment: `NEXTCLOUD_RESOURCE_URI`.
   */
  readonly audience?: string | readonly string[] | undefined
  /** RFC 8707 `resource`. Default: not sent. */
  readonly resource?: string | readonly string[] | undefined
  /** `scope` to ask for: a list, or a function of the verified token, called once for each token. Default: none sent. */
  readonly scopes?: readonly string[] | ((info: McpAuthInfo) => readonly string[]) | undefined
  /** Extra parameters of the token request, such as `requested_token_type`. Default: none. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /**
   * The ways of the authorization server that the user's grant is refreshed at. `'entra'`: asking for the person again ends a
   * grant. `'nextcloud-oidc-app'` and `'nextcloud-oauth2-app'`: Nextcloud itself is the authorization server. Default `'generic'`.
   */
  readonly preset?: NextcloudPreset | undefined
  /** Milliseconds that `nextcloudFetch` waits for Nextcloud's response headers. Default 60,000. */
  readonly timeout?: number | undefined
}

/** Endpoints that replace what discovery says, or stand in for it. */
export interface AuthorizationServerOptions {
  /** Replaces `jwks_uri`. */
  readonly jwksUri?: string | URL | undefined
  /** Replaces `token_endpoint`. */
  readonly tokenEndpoint?: string | URL | undefined
  /** Replaces `introspection_endpoint`. */
  readonly introspectionEndpoint?: string | URL | undefined
  /** Replaces `revocation_endpoint`. */
  readonly revocationEndpoint?: string | URL | undefined
  /** Replaces `authorization_endpoint`. */
  readonly authorizationEndpoint?: string | URL | undefined
}

/** Whose link it is that somebody connects with: the user of the MCP client, as the MCP token names them. */
export interface TicketIdentity {
  readonly issuer: string
  readonly subject: string
  /** The MCP client that asked for the connection. */
  readonly clientId: string
}

/** Flow 2: how a user connects Nextcloud once, in a browser (refresh-token and app-password mode). */
export interface ConnectOptions {
  /** Where the connect pages are, on the origin of `resource`. Default `/nextcloud`. */
  readonly path?: string | undefined
  /**
   * `'per-client'`: a grant serves only the MCP clients that the user agreed to. `'per-user'`: it serves every MCP client of the
   * user. Default `'per-client'`.
   */
  readonly consent?: 'per-client' | 'per-user' | undefined
  /**
   * Scopes to ask for besides `openid` and, where the server lists it, `offline_access`. Default: `nextcloud.scopes` when that is a
   * list. Refused in app-password mode, which asks for `openid` alone.
   */
  readonly scopes?: readonly string[] | undefined
  /**
   * Parameters that are added to the authorization request, or override those that this package sets by default (`prompt`, `resource`). Not
   * `scope`, nor what ties the answer to the request (`state`, `nonce`, PKCE and the like). Default none.
   */
  readonly authorizationParameters?: Readonly<Record<string, string>> | undefined
  /** Where the browser is sent after a connection: one URL of the operator's. Default: a page that says "Connected". */
  readonly returnTo?: string | URL | undefined
  /**
   * The app's own sign-in, for an authorization server with pairwise subjects, or one other than the MCP client's: who is at this
   * browser? Undefined when nobody is signed in. Default: the ID token says it.
   */
  readonly authenticateBrowser?:
    ((req: IncomingMessage) => Promise<{ issuer: string; subject: string } | undefined>) | undefined
  /**
   * Whether the person who has just connected is the one whose link it is, where you know which account of theirs belongs to which
   * MCP user: true lets them in; false or undefined is a 403, and nothing is stored; what it throws is a 500. It is asked in
   * addition to the ID token and `authenticateBrowser`; with the preset `nextcloud-oauth2-app`, which has no ID token, it may be
   * the only one. In app-password mode nothing else can tell whose account in Nextcloud it is: when it says no, the app password is
   * deleted there. Default: it is not asked.
   *
   * @param answer the token answer without its tokens: at Nextcloud's own server it has `user_id`; in app-password mode
   * `{ loginName, server }`, Nextcloud's own words
   * @param ticketIdentity whose link it is
   */
  readonly identity?:
    | ((
        answer: Readonly<Record<string, unknown>>,
        ticketIdentity: TicketIdentity,
      ) => boolean | undefined | Promise<boolean | undefined>)
    | undefined
}

/** Sizes and ages of what is kept in memory. */
export interface CacheOptions {
  /** Entries of the cache of Nextcloud tokens; 0 turns it off. Default 10,000. */
  readonly nextcloudTokens?: number | undefined
  /** Entries of the cache of verified MCP tokens; 0 turns it off. Default 10,000. */
  readonly verifiedTokens?: number | undefined
  /** Seconds before its end at which a Nextcloud token in use is renewed, at most 20 % of its life. Default 60. */
  readonly renewBefore?: number | undefined
  /** Seconds for which a verified MCP token is taken without looking again, never past its `exp`. Default 300. */
  readonly verifiedTtl?: number | undefined
  /** Seconds for which old signing keys serve on when the key set cannot be fetched. Default 3,600. */
  readonly staleKeys?: number | undefined
  /**
   * Seconds for which a cached token of a grant is taken without looking into the storage, so that a disconnect elsewhere shows
   * within that time (refresh-token and app-password mode). Default 10.
   */
  readonly grantCheck?: number | undefined
}

/** A `fetch` of the Fetch standard, such as Node's own. */
export type FetchFunction = (url: string, init: RequestInit) => Promise<Response>

/** How the authorization server and Nextcloud are reached. */
export interface HttpOptions {
  /** A `fetch` to use instead of node-fetch. */
  readonly fetch?: FetchFunction | undefined
  /** An agent for node-fetch (proxy, own CA, client certificate). Default: own keep-alive agents. Not with `fetch`. */
  readonly agent?: (HttpAgent | HttpsAgent | ((url: URL) => HttpAgent | HttpsAgent)) | undefined
  /** Milliseconds for one call to the authorization server, its retries included. Default 5,000. */
  readonly timeout?: number | undefined
  /** Bytes of an answer of the authorization server. Default 1,048,576. */
  readonly maxResponseBytes?: number | undefined
  /** Attempts after the first, for requests that are safe to repeat, with jitter, inside `timeout`. Default 2. */
  readonly retries?: number | undefined
}

/**
 * Options of `mcpAuth()`. Every one is checked at construction: an unknown
 * name, a wrong type or a contradiction is a {@link ConfigurationError} that names it. An option given here comes before its
 * environment variable.
 */
export interface McpAuthOptions {
  /**
   * Issuer identifier of the authorization server, exact. https, or http on loopback. Environment: `OIDC_ISSUER`, or taken
   * from the document at `discoveryUrl`.
   */
  readonly issuer?: string | undefined
  /**
   * Where its metadata is, when that is not at the well-known location of `issuer`: an authorization server that is reached on
   * another (internal) URL. Environment: `OIDC_DISCOVERY_URL`.
   */
  readonly discoveryUrl?: string | URL | undefined
  /** Endpoints that replace what discovery says. */
  readonly authorizationServer?: AuthorizationServerOptions | undefined
  /** Canonical URI of this MCP server (RFC 8707), published verbatim. Required. Environment: `NEXTCLOUD_MCP_SERVER_URL`. */
  readonly resource?: string | undefined
  /** Accepted `aud` values; the token must hold one, give or take one trailing slash. Default `[resource, clientId]`. */
  readonly audience?: string | readonly string[] | undefined
  /** This server's own client at the authorization server. Environment: `OIDC_CLIENT_ID`. */
  readonly clientId?: string | undefined
  /** Its secret. Environment: `OIDC_CLIENT_SECRET`. */
  readonly clientSecret?: string | undefined
  /** An oauth4webapi client authentication function. Default: `client_secret_basic`, or `client_secret_post` where discovery lists that and not basic. */
  readonly clientAuth?: ClientAuth | undefined
  /** Scopes that every request needs. Default none. */
  readonly requiredScopes?: readonly string[] | undefined
  /** `scopes_supported` of the metadata document. Default `requiredScopes`. `offline_access` is never published. */
  readonly scopesSupported?: readonly string[] | undefined
  /** Whether the granted scopes satisfy a required one (scope hierarchies). Default: the required scope is among them. */
  readonly scopeSatisfies?: ((granted: readonly string[], required: string) => boolean) | undefined
  /** Ids of the MCP clients let in. Default: any. Environment: `ALLOWED_MCP_CLIENTS`, separated by commas. */
  readonly allowedClients?: readonly string[] | undefined
  /** Accepted JWS algorithms. Default: every asymmetric one. `none` and `HS*` are refused. */
  readonly algorithms?: readonly string[] | undefined
  /** Seconds of tolerance for `exp`, `nbf` and `iat`. Default 5. */
  readonly clockTolerance?: number | undefined
  /** An extra check of the verified claims; throw or return false to reject the token with 401; it may be async. */
  readonly validateClaims?: ((claims: Readonly<Record<string, unknown>>) => unknown) | undefined
  /**
   * RFC 7662: `'opaque-only'` asks the authorization server about tokens that are not JWTs, `'always'` asks it about every
   * token instead of verifying it here, `false` never asks. Default `'opaque-only'`.
   */
  readonly introspection?: 'opaque-only' | 'always' | false | undefined
  /** Nextcloud; without it, tokens are verified and `getNextcloudToken()` rejects. */
  readonly nextcloud?: NextcloudOptions | undefined
  /**
   * Where grants are kept in refresh-token and app-password mode: one of the adapters of this package, or the user's own. Default: in memory, which
   * forgets them with the process.
   */
  readonly storage?: StorageAdapter | undefined
  /**
   * Keys of 32 bytes each, base64url or base64 (`npx mcp-nextcloud-auth keygen` makes one): the first seals what is stored, all
   * open it. A string is split at its commas. Required with a `storage` other than memory. Environment: `TOKEN_ENCRYPTION_KEY`.
   */
  readonly encryptionKey?: string | readonly string[] | undefined
  /** The pages on which a user connects Nextcloud; false switches them off. Default: on in refresh-token and app-password mode. */
  readonly connect?: ConnectOptions | false | undefined
  /** What is kept in memory. */
  readonly cache?: CacheOptions | undefined
  /** How other servers are reached. */
  readonly http?: HttpOptions | undefined
  /** Whether the metadata document is also served at `/.well-known/oauth-protected-resource`. Default true. */
  readonly rootMetadata?: boolean | undefined
  /** `resource_name` of the metadata document (RFC 9728 §2). Default: not published. */
  readonly resourceName?: string | undefined
  /** `resource_documentation` of the metadata document, a URL. Default: not published. */
  readonly resourceDocumentation?: string | URL | undefined
  /** Called with every decision, never with a token. It may be async; what it throws never disturbs a request. */
  readonly onEvent?: ((event: McpAuthEvent) => unknown) | undefined
  /**
   * Takes over the answer to a rejected request; `error.status`, `error.headers` and `error.body` are ready to use.
   * Default: answer with them as JSON.
   */
  readonly onError?:
    | ((error: McpAuthError, req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void)
    | undefined
}

/** Environment variable → text, for those that are set and not empty. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The one place where the environment is read. */
export const processEnvironment = (): Environment => process.env
