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

/** The Nextcloud that tools act in, and the way to a token for it. */
export interface NextcloudOptions {
  /** Base URL, may have a path. Required for Nextcloud tokens. Environment: `NEXTCLOUD_HOST`. */
  readonly url?: string | URL | undefined
  /**
   * The way to a credential for Nextcloud; a failure never falls through to another. Default: `'refresh-token'` with `storage`, else
   * `'token-exchange'` with `clientId` and `clientSecret` (or `clientAuth`), else required. Environment: `ENABLE_TOKEN_EXCHANGE` (`true` is
   * `token-exchange`, `false` is `pass-through`), `MCP_DEPLOYMENT_MODE` (`login_flow` is `app-password`).
   *
   * - `token-exchange`: the MCP token is exchanged (RFC 8693)
   * - `refresh-token`: the user gives a grant once, which is stored
   * - `app-password`: the user gives an app password once, which is stored (Login Flow v2)
   * - `jwt-bearer`: the MCP token is exchanged on behalf of the user (Entra, RFC 7523)
   * - `pass-through`: the MCP token itself is sent, if its `aud` holds the Nextcloud audience
   */
  readonly mode?: NextcloudMode | undefined
  /**
   * RFC 8693 `audience`, each of a list, of token-exchange mode. In pass-through mode, the `aud` values that the MCP token must hold,
   * all of them. Default `['nextcloud']`. Environment: `NEXTCLOUD_RESOURCE_URI`.
   */
  readonly audience?: string | readonly string[] | undefined
  /** RFC 8707 `resource`, each of a list. Default: not sent. */
  readonly resource?: string | readonly string[] | undefined
  /** `scope` to ask for: a list, or a function of the verified token that is called once for each token. Default `[]`. */
  readonly scopes?: readonly string[] | ((info: McpAuthInfo) => readonly string[]) | undefined
  /** Extra parameters of the token request, such as `requested_token_type`. Default `{}`. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /**
   * The kind of authorization server which issues the tokens sent to Nextcloud: `'generic'`, `'keycloak'`, `'entra'` (asking for the
   * person again ends a grant), `'nextcloud-oidc-app'` or `'nextcloud-oauth2-app'` (Nextcloud itself is the authorization server).
   * Default `'generic'`.
   */
  readonly preset?: NextcloudPreset | undefined
  /**
   * URL at which browsers reach Nextcloud, if `url` is an internal one. Links of Login Flow v2 and to the sign-in of preset
   * `nextcloud-oauth2-app` lead there, and pages name its host. Requests go to `url`. Default: `url`. Environment:
   * `NEXTCLOUD_PUBLIC_URL`.
   */
  readonly publicUrl?: string | URL | undefined
  /**
   * Milliseconds for which `nextcloudFetch` waits while the connection takes nothing of the body, and then for the response headers.
   * Default 60,000.
   */
  readonly timeout?: number | undefined
}

/** Endpoints that replace those of the discovery document, or stand in for it. */
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

/** The account that a fresh credential opens, as Nextcloud itself names it when it is asked with that credential. */
export interface ConnectedAccount {
  /** The user id. Nextcloud takes it in any case at a sign-in, and stores it in one spelling, which this is. */
  readonly userId: string
  /** The name that the person signed in with, which may be an e-mail address. Where Nextcloud names none, the user id. */
  readonly loginName: string
  /** The address that Nextcloud gives itself; where it gives none, `nextcloud.url`. */
  readonly server: string
  /** Absent: none is known there. */
  readonly email?: string
  readonly displayName?: string
}

/** The MCP user whose link it is. */
export interface ConnectingUser {
  /** `iss` of the MCP token. */
  readonly issuer: string
  /** `sub` of the MCP token. */
  readonly subject: string
  /** The MCP client that asked for the connection. */
  readonly clientId: string
  /**
   * Claims of the ID token where the user signed in at the authorization server on the way, else of the MCP token that asked for the link.
   * Empty if the link was made for a user by name.
   */
  readonly claims: Readonly<Record<string, unknown>>
}

/**
 * The rule that says whether an account of Nextcloud is that of the MCP user. User ids are compared exactly, and only with what Nextcloud
 * says when it is asked with the credential itself.
 *
 * - `'sub'`: the user id is the subject (Nextcloud's own app `oidc`)
 * - `{ claim: 'preferred_username' }`: it is that claim (a Nextcloud whose `user_oidc` has `--mapping-uid=preferred_username --unique-uid=0`)
 * - `{ userOidc: { providerId: 1 } }`: it is what the app `user_oidc` makes of the claim (default `sub`) in its own default,
 *   `sha256(providerId + '_0_' + value)`
 * - a function: only `true` is a yes; an exception, or 10 seconds without an answer, is a no (LDAP, lists of your own)
 * - `'anyone'`: whoever agrees in Nextcloud gives their account to the user who sent them there
 */
export type IdentityRule =
  | 'sub'
  | 'anyone'
  | { readonly claim: string }
  | { readonly userOidc: { readonly providerId: number; readonly claim?: string | undefined } }
  | ((account: ConnectedAccount, who: ConnectingUser) => boolean | Promise<boolean>)

/** Flow 2: a user connects Nextcloud once, in a browser (refresh-token and app-password mode). */
export interface ConnectOptions {
  /**
   * Path of the connect pages, on the origin of `resource`. At the path itself users see their connection and end it, unless `resource` has
   * that path. Default `'/nextcloud'`.
   */
  readonly path?: string | undefined
  /**
   * `'per-client'`: a grant serves only the MCP clients that the user agreed to. `'per-user'`: it serves every MCP client of the
   * user. Default `'per-client'`.
   */
  readonly consent?: 'per-client' | 'per-user' | undefined
  /**
   * Scopes to ask for besides `openid` and, if the server lists it, `offline_access`. In app-password mode for
   * claims that `connect.identity` reads, else refused. Default: `nextcloud.scopes` if that is a list; in app-password mode `profile` or
   * `email`, if that has the claim that `connect.identity` compares.
   */
  readonly scopes?: readonly string[] | undefined
  /**
   * Parameters that are added to the authorization request, or override `prompt` and `resource`. Not `scope`, nor the parameters that
   * tie the answer to the request (`state`, `nonce`, PKCE and the like). Default `{}`.
   */
  readonly authorizationParameters?: Readonly<Record<string, string>> | undefined
  /** The operator's URL that the browser is sent to after a connection. Default: a page that says "Connected". */
  readonly returnTo?: string | URL | undefined
  /**
   * Returns the user at this browser by the app's own sign-in, for an authorization server with pairwise subjects, or one other than
   * the MCP client's. Undefined: nobody is signed in. Default: the ID token says it.
   */
  readonly authenticateBrowser?:
    ((req: IncomingMessage) => Promise<{ issuer: string; subject: string } | undefined>) | undefined
  /**
   * Returns the name of an MCP client for the pages, by its client id. Undefined, an exception, 10 s without an answer, or a name with
   * control characters or characters that turn the direction of text: the pages name the client by what else is known, which is its
   * metadata document, the host of its id, or a part of the id. At most 100 characters are shown. Default: not asked.
   */
  readonly clientName?: ((clientId: string) => string | undefined | Promise<string | undefined>) | undefined
  /**
   * The rule that says whose account in Nextcloud a user may connect: `'sub'`, `{ claim }`, `{ userOidc: { providerId, claim } }`, a
   * function `(account, who)`, or `'anyone'`. Nextcloud is asked with the fresh credential itself. Unless the rule says yes within its
   * time, nothing is stored and the credential is deleted there. Required in app-password mode and with the preset
   * `nextcloud-oauth2-app`. Default elsewhere: not asked, because the ID token or `authenticateBrowser` says who signed in.
   * Environment: `NEXTCLOUD_IDENTITY` (`sub`, `claim:preferred_username`, `user_oidc:1`, `user_oidc:1:claim` or `anyone`).
   */
  readonly identity?: IdentityRule | undefined
}

/** Sizes and ages of the caches in memory. */
export interface CacheOptions {
  /** Entries of the cache of Nextcloud tokens; 0 turns it off. Default 10,000. */
  readonly nextcloudTokens?: number | undefined
  /** Entries of the cache of verified MCP tokens; 0 turns it off. Default 10,000. */
  readonly verifiedTokens?: number | undefined
  /**
   * Seconds before its end at which a Nextcloud token in use is renewed, at most 20 % of its life. Default: 60, at most 10 % of its life, so
   * that constant use costs 1.11 times the least possible requests.
   */
  readonly renewBefore?: number | undefined
  /** Seconds for which a verified MCP token is accepted without another look, never past its `exp`; 0: never. Default 300. */
  readonly verifiedTtl?: number | undefined
  /**
   * Seconds for which signing keys are used without a look whether one was withdrawn, which ends the tokens that it signed. A new key is found
   * sooner, by its first token. Default 600.
   */
  readonly keysMaxAge?: number | undefined
  /** Seconds for which old signing keys serve on if the key set cannot be fetched. Default 3,600. */
  readonly staleKeys?: number | undefined
  /**
   * Seconds for which a cached token is used without a look into the storage, so that a disconnection elsewhere shows within that time, and a
   * token that was replaced elsewhere, with `forceRefresh` or because Nextcloud refused it, is replaced here (every mode with a `storage`).
   * Default 10.
   */
  readonly grantCheck?: number | undefined
}

/** A `fetch` of the Fetch standard, such as Node's own. */
export type FetchFunction = (url: string, init: RequestInit) => Promise<Response>

/** The way to the authorization server and to Nextcloud. */
export interface HttpOptions {
  /**
   * A `fetch` to use instead of node-fetch. For `nextcloud.timeout` a connection takes what this function reads of the body, which is a
   * web stream with its `content-length` from 64 KiB on. Default: node-fetch.
   */
  readonly fetch?: FetchFunction | undefined
  /**
   * An agent for node-fetch (proxy, own CA, client certificate). Not with `fetch`. Own agents go by `NODE_USE_ENV_PROXY` where Node does
   * (22.21, 24.5). Default: own keep-alive agents.
   */
  readonly agent?: (HttpAgent | HttpsAgent | ((url: URL) => HttpAgent | HttpsAgent)) | undefined
  /** Milliseconds for one call to the authorization server, its retries included. Default 5,000. */
  readonly timeout?: number | undefined
  /** Bytes that an answer of the authorization server may have. Default 1,048,576. */
  readonly maxResponseBytes?: number | undefined
  /** Attempts after the first, for requests that are safe to repeat, with jitter, inside `timeout`. Default 2. */
  readonly retries?: number | undefined
}

/**
 * One of several issuers. What it leaves out is that of the top level or of the environment, and the preset is `nextcloud.preset`.
 * A `clientId`, `clientSecret` or `clientAuth` here is not combined with a secret or `clientAuth` from there.
 */
export interface IssuerOptions extends Pick<
  McpAuthOptions,
  | 'discoveryUrl'
  | 'authorizationServer'
  | 'audience'
  | 'clientId'
  | 'clientSecret'
  | 'clientAuth'
  | 'introspection'
  | 'missingAudience'
> {
  /** Issuer identifier of the authorization server, exact. https, or http on loopback. */
  readonly issuer: string
  /** The kind of its authorization server, as `nextcloud.preset`. */
  readonly preset?: NextcloudPreset | undefined
}

/**
 * Options of `mcpAuth()`. Every one is checked at construction: an unknown name, a wrong type or a contradiction is a
 * {@link ConfigurationError} that names it. An option that is given comes before its environment variable.
 */
export interface McpAuthOptions {
  /**
   * Issuer identifier of the authorization server, exact. https, or http on loopback. Required, or `discoveryUrl`, whose document
   * names it; without both, the document of the Nextcloud at `NEXTCLOUD_HOST` does. Environment: `OIDC_ISSUER`.
   */
  readonly issuer?: string | undefined
  /**
   * Several issuers, in place of `issuer`, such as tenants of Entra (`docs/several-issuers.md`). Each has `issuer` and, where it differs from
   * the top level, `discoveryUrl`, `authorizationServer`, `audience`, `clientId`, `clientSecret`, `clientAuth`, `introspection`,
   * `missingAudience` and `preset`. Default: `issuer` alone.
   *
   * The `iss` of a token picks the entry, whose keys alone verify it. Exchanges, sign-ins, refreshes, revocations and introspections go to
   * the authorization server of that entry. A token that is not a JWT is introspected by the first entry whose `introspection` is not `false`
   * and whose server has an endpoint.
   */
  readonly issuers?: readonly IssuerOptions[] | undefined
  /**
   * URL of the metadata of an authorization server that is reached on another (internal) URL than `issuer`. Default: the well-known
   * location of `issuer`. Environment: `OIDC_DISCOVERY_URL`.
   */
  readonly discoveryUrl?: string | URL | undefined
  /** Endpoints that replace those of the discovery document. */
  readonly authorizationServer?: AuthorizationServerOptions | undefined
  /** Canonical URI of this MCP server (RFC 8707), published verbatim. Required. Environment: `NEXTCLOUD_MCP_SERVER_URL`. */
  readonly resource?: string | undefined
  /**
   * Accepted `aud` values; the token must hold one, give or take one trailing slash. Default: `[resource, clientId]`.
   *
   * With the preset `nextcloud-oauth2-app` the default is `[resource]`, because the issuer does not know `clientId` then.
   */
  readonly audience?: string | readonly string[] | undefined
  /** This server's own client at the authorization server. Environment: `OIDC_CLIENT_ID`, `NEXTCLOUD_OIDC_CLIENT_ID`. */
  readonly clientId?: string | undefined
  /** The client's secret. Environment: `OIDC_CLIENT_SECRET`, `NEXTCLOUD_OIDC_CLIENT_SECRET`. */
  readonly clientSecret?: string | undefined
  /**
   * An oauth4webapi client authentication function (`PrivateKeyJwt`, `TlsClientAuth`, …) in place of a secret. Default:
   * `client_secret_basic`, or `client_secret_post` if discovery lists that and not basic.
   */
  readonly clientAuth?: ClientAuth | undefined
  /** Scopes that every request needs. Default `[]`. */
  readonly requiredScopes?: readonly string[] | undefined
  /** `scopes_supported` of the metadata document. `offline_access` is never published. Default: `requiredScopes`. */
  readonly scopesSupported?: readonly string[] | undefined
  /**
   * Scopes that a 401 tells MCP clients to ask for. A 403 names those of the operation. Default: `requiredScopes`, else
   * `scopesSupported`. Environment: `NEXTCLOUD_OIDC_SCOPES`, separated by spaces.
   */
  readonly challengeScopes?: readonly string[] | undefined
  /** Whether the granted scopes satisfy a required one (scope hierarchies). Default: the required scope is among them. */
  readonly scopeSatisfies?: ((granted: readonly string[], required: string) => boolean) | undefined
  /**
   * The verdict on a token whose `aud` is absent or an empty list (Cognito, Hydra, Clerk, GitLab, Keycloak with client metadata documents).
   * A token that has an `aud` is judged by it in any case. Default `'reject'`.
   *
   * - `'reject'`: it is refused
   * - `'client'`: its client has to be in `audience` or `allowedClients`
   * - `(claims) => boolean`: your own proof, by the verified claims, that this server is the intended recipient, in a promise too. Only
   *   `true` lets the token in (MCP 2025-11-25, authorization)
   */
  readonly missingAudience?:
    'reject' | 'client' | ((claims: Readonly<Record<string, unknown>>) => boolean | Promise<boolean>) | undefined
  /**
   * `'accept'` lets in tokens that cannot be told from ID tokens (Dex puts `at_hash` into every access token; Cloudflare Access; any whose
   * `aud` is the client that got it). An ID token of a client whose id is in `audience` gets in then, too. Default `'refuse'`.
   */
  readonly idTokenLookalikes?: 'refuse' | 'accept' | undefined
  /**
   * Tokens that are bound to a key of the MCP client, which proves with each request that it has the key (DPoP, RFC 9449). Default `'off'`.
   *
   * - `'off'`: they are refused
   * - `'allowed'`: they are let in with a proof, and tokens that are not bound as before
   * - `'required'`: they alone are let in
   *
   * A proof is good for one method, URL (the origin of `resource` and the path of the request) and token, for 300 seconds before and after
   * its `iat`, and once: in this process until it stops, and with a shared `storage` in all instances. A process remembers
   * 200,000 proofs, and 50,000 of one user. When there are more, those with the oldest `iat` are forgotten and all proofs as old as they are
   * refused; a user with more is answered 503. Not in pass-through mode, because a bound token cannot be sent on.
   */
  readonly dpop?: 'off' | 'allowed' | 'required' | undefined
  /**
   * Ids of the MCP clients let in (`client_id`, else `azp`, else `cid`, else `appid`). Default: any but `clientId`, whose tokens for `resource` are
   * this server's own. Environment: `ALLOWED_MCP_CLIENTS`, separated by commas.
   */
  readonly allowedClients?: readonly string[] | undefined
  /** Accepted JWS algorithms. `none` and `HS*` are refused. Default: every asymmetric one. */
  readonly algorithms?: readonly string[] | undefined
  /** Seconds of tolerance for `exp`, `nbf` and `iat`. Default 5. */
  readonly clockTolerance?: number | undefined
  /** An extra check of the verified claims, which may be async. To reject the token with 401, it throws or returns false. */
  readonly validateClaims?: ((claims: Readonly<Record<string, unknown>>) => unknown) | undefined
  /**
   * RFC 7662: `'opaque-only'` asks the authorization server about tokens that are not JWTs, `'always'` asks it about every token
   * instead of verifying it here, `false` never asks. Default `'opaque-only'`.
   *
   * With the preset `nextcloud-oauth2-app` it is `false`, because the issuer does not know `clientId` then.
   */
  readonly introspection?: 'opaque-only' | 'always' | false | undefined
  /** Nextcloud. Without it, tokens are verified and `getNextcloudToken()` rejects. */
  readonly nextcloud?: NextcloudOptions | undefined
  /**
   * The store of grants in refresh-token and app-password mode, and of the exchanged tokens that instances share in token-exchange and
   * jwt-bearer mode (give `nextcloud.mode`): one of the adapters of this package, or your own. Default: grants are in memory, which forgets
   * them with the process, and each instance exchanges for itself.
   */
  readonly storage?: StorageAdapter | undefined
  /**
   * Keys of 32 bytes each, base64url or base64 (`npx mcp-nextcloud-auth keygen` makes one): the first seals what is stored, all open
   * it. A new key is given to every process behind the old one before it is put first anywhere. A string is split at its commas, and a key made for the Python server fits. Required with a `storage` other than memory.
   * Environment: `TOKEN_ENCRYPTION_KEY`.
   */
  readonly encryptionKey?: string | readonly string[] | undefined
  /** The pages on which a user connects Nextcloud; false switches them off. Default: on in refresh-token and app-password mode. */
  readonly connect?: ConnectOptions | false | undefined
  /** The caches in memory. */
  readonly cache?: CacheOptions | undefined
  /** The way to other servers. */
  readonly http?: HttpOptions | undefined
  /**
   * `authorization_servers` of the metadata document (RFC 9728 §2), for an authorization server that stands in front of the issuer. Default:
   * the issuer, or `issuers` in their order.
   */
  readonly authorizationServers?: readonly string[] | undefined
  /**
   * URL of the metadata document that challenges name, for an ingress that routes one path only. `auth.routes()` answers there as well, if
   * it is on the origin of `resource`. Default: the one that goes with `resource` (RFC 9728 §3.1).
   */
  readonly resourceMetadataUrl?: string | URL | undefined
  /**
   * Whether the metadata of the issuer (the first of `issuers`) is also served at `/.well-known/oauth-authorization-server` of this
   * origin, where clients of MCP 2025-03-26 look for it. Default `false`.
   */
  readonly legacyMetadata?: boolean | undefined
  /** Whether the metadata document is also served at `/.well-known/oauth-protected-resource`. Default `true`. */
  readonly rootMetadata?: boolean | undefined
  /** `resource_name` of the metadata document (RFC 9728 §2). Default: not published. */
  readonly resourceName?: string | undefined
  /** `resource_documentation` of the metadata document, a URL. Default: not published. */
  readonly resourceDocumentation?: string | URL | undefined
  /**
   * Called with every decision, never with a token; also on the `diagnostics_channel` `mcp-nextcloud-auth`. It may be async, and an
   * exception never disturbs a request.
   */
  readonly onEvent?: ((event: McpAuthEvent) => unknown) | undefined
  /**
   * Takes over the answer to a rejected request; `error.status`, `error.headers` and `error.body` are ready to use. Default: answer
   * with them as JSON.
   */
  readonly onError?:
    | ((error: McpAuthError, req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void)
    | undefined
}

/** Environment variable → text, for those that are set and not empty. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The one place where the environment is read. */
export const processEnvironment = (): Environment => process.env
