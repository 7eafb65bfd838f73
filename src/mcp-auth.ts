import type { IncomingMessage, ServerResponse } from 'node:http'
import type { McpAuthInfo, NextcloudCredential, NextcloudTokenOptions } from './auth-info.js'
import type { Revocation } from './broker/disconnect.js'
import type { Who } from './callers.js'
import { systemClock, type Clock } from './clock.js'
import type { ConsistentOptions, UndecidedOptions } from './consistent-options.js'
import type { ConnectionPage, ConnectionPageOptions } from './connection-list.js'
import type { InsufficientScopeError, McpAuthError } from './errors/errors.js'
import type { McpAuthEvent, McpAuthStats } from './events.js'
import type { Identity } from './grants/grant.js'
import type { McpAuthHealth } from './health.js'
import {
  createAuthentication,
  createErrorHandler,
  createScopeGuard,
  type ErrorHandler,
  type HttpRooms,
} from './http/authentication.js'
import { judge, type AuthenticationVerdict, type PlainRequest } from './http/plain-request.js'
import { ownRoutes } from './http/own-routes.js'
import { resourceMetadataRoutes } from './http/resource-metadata.js'
import { createRouter, handlerOf, type ConnectHandler } from './http/router.js'
import type { NextcloudRequest } from './nextcloud/nextcloud-fetch.js'
import type { NextcloudUser } from './nextcloud/users.js'
import type { McpAuthOptions } from './options.js'
import { createRooms } from './rooms.js'
import type { Watcher } from './watchers.js'
import { scopeRefusal } from './verify/scopes.js'

export type { Who } from './callers.js'
export type { AuthenticationVerdict, PlainRequest } from './http/plain-request.js'

/** The middleware, with its methods. */
export interface McpAuth extends ConnectHandler {
  /**
   * Verifies the MCP token and attaches `req.mcpAuth`, `req.getNextcloudToken` and `req.auth`. Otherwise it answers 400, 401, 403,
   * 500 or 503 by itself (RFC 6750 §3, MCP 2025-11-25 and 2026-07-28, authorization). A CORS preflight passes on.
   */
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void
  /**
   * Returns a handler that answers 403 `insufficient_scope` unless every scope is satisfied. It goes after this one.
   *
   * @throws {ConfigurationError} no scope is given, or one is not a scope (RFC 6749 §3.3)
   */
  requireScopes(...scopes: string[]): ConnectHandler
  /**
   * Returns a handler that serves the protected resource metadata (RFC 9728) and, in refresh-token and app-password mode, the pages
   * and endpoints under `connect.path`. Everything else passes on.
   */
  routes(): ConnectHandler
  /**
   * Gets a Nextcloud token for `who`, as `req.getNextcloudToken()` does. Rejects as that does, with {@link TypeError} when `who`
   * holds no token where one is needed or names another user than its token, and with {@link InvalidTokenError} when its token is no
   * longer good.
   */
  getNextcloudToken(who: Who | undefined, options?: NextcloudTokenOptions): Promise<string>
  /**
   * Gets the credential that lets a request of `who` into Nextcloud, in any mode, for HTTP clients of your own (WebDAV, say): a bearer
   * token, or in app-password mode a login name and an app password. Options and rejections are those of `getNextcloudToken`.
   *
   * @example
   * const { headers } = await auth.getNextcloudCredential(authInfo)
   * await fetch('https://cloud.example.com/ocs/v2.php/cloud/user?format=json', { headers })
   */
  getNextcloudCredential(who: Who | undefined, options?: NextcloudTokenOptions): Promise<NextcloudCredential>
  /**
   * Fetches a path of `nextcloud.url` with the user's Nextcloud token (or app password) and `OCS-APIRequest: true`. After a 401 it
   * gets another token, once, and tries once more if the body is no stream. The token never goes to another origin.
   *
   * A redirect within `nextcloud.url` is followed for GET and HEAD, and 307 and 308 for any method whose body is no stream. Every other one
   * is the answer.
   *
   * Rejects as `getNextcloudToken` does, and with
   * - {@link TypeError} for a request that cannot be sent: a path that leads out of `nextcloud.url` or holds `#`, a backslash or a
   *   control character, a body that is none, a body with GET or HEAD, a bad `timeout`;
   * - {@link RangeError} when a stream is longer or shorter than its `content-length`, and with a stream's own error when it fails. The
   *   request is broken off;
   * - {@link NextcloudRefusedError} when Nextcloud sends the request to a page where a person signs in;
   * - {@link UpstreamUnavailableError} when Nextcloud cannot be reached, or its connection stands still for `nextcloud.timeout`.
   *
   * @param path a path with an optional query, a URL within `nextcloud.url`, or a `Request`, of which `init` overrides the parts. A `%` that
   *   begins no escape is sent as `%25`
   *
   * @example
   * const response = await auth.nextcloudFetch(authInfo, '/ocs/v2.php/cloud/user?format=json')
   */
  nextcloudFetch(who: Who | undefined, path: string | URL | Request, init?: NextcloudRequest): Promise<Response>
  /**
   * Returns the account of `who` in Nextcloud, as Nextcloud itself names it. Build DAV paths from its `id`, never from the `sub` of a
   * token or from a login name: they may differ. It is kept as long as the user's token, and five minutes in app-password mode.
   *
   * Rejects as `nextcloudFetch` does, and with {@link UpstreamUnavailableError} when Nextcloud names no user.
   *
   * @example
   * const { id } = await auth.nextcloudUser(authInfo)
   * const response = await auth.nextcloudFetch(authInfo, nextcloudPath`/remote.php/dav/files/${id}/${['Docs', 'plan.md']}`)
   */
  nextcloudUser(who: Who | undefined): Promise<NextcloudUser>
  /**
   * Refresh-token and app-password mode: whether the user has a usable grant for the MCP client of `who`. Reads the storage each time.
   *
   * Rejects with {@link StorageError}, with {@link SealedValueError} when the grant cannot be opened, with {@link ConfigurationError}
   * in any other mode, and because of `who` as `getNextcloudToken` does.
   */
  isProvisioned(who: Who | undefined): Promise<boolean>
  /**
   * Refresh-token and app-password mode: returns a link on which the user of `who` connects Nextcloud for the MCP client of `who`. The
   * link is good for one use and ten minutes, and the same one while five minutes of it are left. No other user can connect with it.
   *
   * Rejects with {@link StorageError}, with {@link ConfigurationError} if `connect` is switched off or the mode is another, and
   * because of `who` as `getNextcloudToken` does.
   */
  createConnectUrl(who: Who | undefined): Promise<string>
  /**
   * The redirect URI to register at the authorization server, for connecting and for the page of connections; undefined if no user signs in
   * there. Of several `issuers` it is that of the first, and of each other that says in its metadata that it names itself in its answers
   * (`authorization_response_iss_parameter_supported`, RFC 9207). The rest have one of their own each, which the doctor names (RFC 9700 §4.4.2).
   */
  readonly connectRedirectUri: string | undefined
  /**
   * Refresh-token mode: renews the grant now, for a job that keeps refresh tokens alive. App-password mode: looks whether there is a
   * usable grant, because an app password needs no renewal. Rejects as `getNextcloudToken` does, and with {@link ConfigurationError} in
   * any other mode.
   */
  rotate(who: Who | undefined): Promise<void>
  /**
   * Refresh-token and app-password mode: disconnects the user. The grant is deleted here in any case, and the authorization server is
   * asked to revoke it (RFC 7009), or Nextcloud to delete the app password. If that fails, `{ revoked: 'pending' }`: it is kept in the
   * storage, sealed, and tried again for 30 days, by whichever instance comes first.
   *
   * Rejects with {@link StorageError} when the grant cannot be deleted here, with {@link ConfigurationError} in any other mode, and
   * because of `who` as `getNextcloudToken` does.
   */
  revoke(who: Who | undefined): Promise<Revocation>
  /**
   * Refresh-token and app-password mode: reads the stored connections of this configuration (client, `resource` and `nextcloud.url`), page by
   * page, for the operator. A page may be short, or empty, and still have a `next`. A connection that a version before 0.4 stored is in no page
   * before its user has come once, because its record names no user. What a user has disconnected is in none.
   *
   * Rejects with {@link TypeError} for a `limit` that is no whole number from 1 to 1,000, or an `after` that is no `next`; with
   * {@link StorageError}; and with {@link ConfigurationError} in any other mode, and where the storage has no `list()`.
   *
   * @param page `limit`: connections at most, default 100. `after`: `next` of the page before
   *
   * @example
   * let after: string | undefined
   * do {
   *   const { connections, next } = await auth.connections({ after })
   *   for (const { subject, clients, state } of connections) console.log(subject, state, clients.length)
   *   after = next
   * } while (after !== undefined)
   */
  connections(page?: ConnectionPageOptions): Promise<ConnectionPage>
  /**
   * Gives the verdict of the middleware without `req` and `res`, for servers that are not Connect: Fastify, Hono, Next. It never rejects for
   * a bad token, and reports rejections as the middleware does. `onError` is not called.
   *
   * Rejects with {@link TypeError} when it is given no request.
   *
   * @example
   * async function answer(request: Request): Promise<Response | undefined> {
   *   const verdict = await auth.authenticate(request)
   *   if ('status' in verdict) return Response.json(verdict.body, verdict)
   *   return undefined // 'info' in verdict: the token is good
   * }
   */
  authenticate(request: PlainRequest): Promise<AuthenticationVerdict>
  /**
   * Returns an Express error handler. It answers any {@link McpAuthError} with its status, headers and body, and passes on the rest. On Express 4, an async
   * handler needs `.catch(next)` to get here.
   */
  errorHandler(): ErrorHandler
  /**
   * Verifies a token without a request. `{ verifyAccessToken: auth.verify }` is an MCP SDK `OAuthTokenVerifier`. Mind that the SDK's
   * `requireBearerAuth` answers 500 to errors that are not its own, which is why this middleware exists.
   *
   * Rejects with {@link InvalidTokenError}, {@link InsufficientScopeError} (for `requiredScopes`),
   * {@link UpstreamUnavailableError} or {@link ConfigurationError}.
   */
  verify(token: string): Promise<McpAuthInfo>
  /**
   * Resolves when the authorization server's metadata and keys are there, and the storage of grants, if there is one, takes an entry and
   * gives it back. Rejects with an error whose `detail` is the reason why not. Optional: everything is also fetched when it is first needed.
   */
  ready(): Promise<void>
  /**
   * Drops the signing keys and every token that was found good, at once, and fetches the keys again: for the operator who has withdrawn a key.
   * In each process. Rejects with {@link UpstreamUnavailableError} if they cannot be fetched; they are dropped all the same, so that tokens
   * are 503 until they can.
   */
  refreshKeys(): Promise<void>
  /**
   * Tells whether this instance can serve, from what its requests have shown, for probes and monitors. Where nothing is known, or the last
   * request failed, it looks first: at most once a second whoever asks, and at most for `http.timeout`. Never rejects.
   *
   * Mind that an outage of the provider, the storage or Nextcloud shows in all instances at once. Take an instance out of service for `keys.ok`
   * alone, and raise an alarm on `ok`.
   *
   * @example
   * app.get('/health/ready', async (_req, res) => {
   *   const { keys } = await auth.health()
   *   res.sendStatus(keys.ok ? 200 : 503)
   * })
   */
  health(): Promise<McpAuthHealth>
  /** Returns the counters since construction and the present sizes of the caches. */
  stats(): McpAuthStats
  /**
   * Waits, at most `http.timeout`, for requests for tokens, sign-ins, disconnections and writes under way, then closes this package's own
   * connections. The storage stays open, because it is the app's: close it afterwards. Tool calls that wait for a user to connect wait
   * no longer. From half of that time on, and after it, calls that need a refresh reject with {@link StorageError}.
   */
  close(): Promise<void>
  /**
   * @internal Waits until the user of `who` has connected Nextcloud for the MCP client of `who`: true as soon as the store says so,
   * false after `ms` milliseconds, on abort, or if too many wait already.
   */
  waitForConnection(who: Who | undefined, ms: number, signal?: AbortSignal): Promise<boolean>
  /** @internal Notes what the MCP client that a link was made for calls itself (`clientInfo.name`). Never rejects. */
  callsItself(connectUrl: string, name: unknown): Promise<void>
  /** @internal The user's connection has just been stored by this process. */
  onConnected(identity: Identity): void
  /** @internal Returns the refusal of an operation whose scopes a caller has not all. A caller without a token has none. */
  scopeRefusal(
    info: Partial<Pick<McpAuthInfo, 'scopes'>> | undefined,
    scopes: readonly string[],
  ): InsufficientScopeError | undefined
  /** @internal Has a watcher take part in events and work, and returns the function that ends it. */
  watch(watcher: Watcher<McpAuthEvent>): () => void
  /** @internal Reports a failure, and returns it with the challenge that its answer needs. */
  reported(error: unknown): McpAuthError
}

/**
 * Builds the middleware. Nothing is fetched until the first request that needs it.
 *
 * @param options see {@link McpAuthOptions}; without them everything comes from the environment
 * @throws {ConfigurationError} an option is missing, unknown, of the wrong type or contradicts another; the error names it
 *
 * @example
 * const auth = mcpAuth({
 *   issuer: 'https://idp.example.com/realms/acme',
 *   resource: 'https://mcp.example.com/mcp',
 *   clientId: 'mcp-server',
 *   clientSecret: process.env.OIDC_CLIENT_SECRET,
 *   nextcloud: { url: 'https://cloud.example.com', audience: 'nextcloud' },
 * })
 * app.use(auth.routes())
 * app.all('/mcp', auth, handler)
 */
export function mcpAuth(options?: ConsistentOptions): McpAuth
export function mcpAuth<Options extends McpAuthOptions>(options: UndecidedOptions<Options>): McpAuth
export function mcpAuth(options?: McpAuthOptions): McpAuth {
  return createMcpAuth(options, systemClock)
}

/** @internal The same, with a clock of its own. */
export function createMcpAuth(options: McpAuthOptions | undefined, clock: Clock): McpAuth {
  const rooms = createRooms(options, clock)
  const { http, access, callers, pages } = rooms
  const routes = ownRoutes(rooms.config, resourceMetadataRoutes(rooms.config, rooms.published), pages.routes(http))
  let areServed = false
  return Object.assign(
    createAuthentication(http, (req) => areServed && handlerOf(routes, req) !== undefined),
    {
      ...rooms.connections,
      requireScopes: (...scopes: string[]) => createScopeGuard(http, scopes),
      routes: () => {
        areServed = true
        return createRouter(routes, (mount, paths) => warnOfMount(http, mount, paths))
      },
      connectRedirectUri: pages.redirectUri,
      errorHandler: createErrorHandler,
      authenticate: (request: PlainRequest) => judge(http, request),
      getNextcloudToken: async (who: Who | undefined, options?: NextcloudTokenOptions) =>
        access.getToken(await callers.of(who), options),
      getNextcloudCredential: async (who: Who | undefined, options?: NextcloudTokenOptions) =>
        access.getCredential(await callers.of(who), options),
      // The request is checked, and its stream listened to, before anything is waited for.
      nextcloudFetch: async (who: Who | undefined, path: string | URL | Request, init?: NextcloudRequest) =>
        access.fetch(path, init)(await callers.of(who)),
      nextcloudUser: async (who: Who | undefined) => access.user(await callers.of(who)),
      verify: callers.verify,
      callsItself: pages.callsItself,
      onConnected: rooms.connected,
      scopeRefusal: (info: Partial<Pick<McpAuthInfo, 'scopes'>> | undefined, scopes: readonly string[]) =>
        scopeRefusal(rooms.config, Array.isArray(info?.scopes) ? info.scopes : [], scopes),
      reported: http.reported,
      ready: rooms.ready,
      refreshKeys: rooms.refreshKeys,
      watch: rooms.http.events.watch,
      health: rooms.health,
      stats: rooms.stats,
      close: rooms.close,
    },
  )
}

function warnOfMount({ events }: HttpRooms, mount: string, paths: readonly string[]): void {
  const message = `auth.routes() is mounted under ${mount}, where these paths never reach it: ${paths.join(', ')}. Mount it without a path, before other routes`
  events.emit({ type: 'config.warning', option: 'routes', message })
}
