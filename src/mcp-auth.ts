import type { IncomingMessage, ServerResponse } from 'node:http'
import { createClient } from './authorization-server/client.js'
import { createCodeGrant } from './authorization-server/code-grant.js'
import { createDiscovery } from './authorization-server/discovery.js'
import { createTransport } from './transport/transport.js'
import { needsOf } from './authorization-server/needs.js'
import { createBroker, type BrokerSession } from './broker/broker.js'
import { credentialOf } from './nextcloud/credential.js'
import { createAppPasswords } from './nextcloud/app-passwords.js'
import { createNextcloudFetch, type NextcloudRequest } from './nextcloud/nextcloud-fetch.js'
import { createDisconnect, type Disconnect, type Revocation } from './broker/disconnect.js'
import { systemClock, type Clock } from './clock.js'
import { variableOf } from './config/declarations.js'
import { readConfig } from './config/read-config.js'
import { createConnect } from './connect/connect.js'
import { createWaiting, type Serves } from './grants/connection-watch.js'
import { asMcpAuthError, ConfigurationError, type McpAuthError } from './errors/errors.js'
import { createEvents, reportFailure, type McpAuthStats } from './events.js'
import { createAuthentication, createErrorHandler, createScopeGuard, type ErrorHandler } from './http/authentication.js'
import { consentingClient, whyUnusable, type Identity } from './grants/grant.js'
import { createGrants } from './grants/open-grants.js'
import { addChallenge } from './http/challenge.js'
import { resourceMetadataRoutes } from './http/resource-metadata.js'
import { createRouter, type ConnectHandler } from './http/router.js'
import type { McpAuthInfo, NextcloudCredential, NextcloudTokenOptions } from './auth-info.js'
import { MODES } from './modes.js'
import type { McpAuthOptions } from './options.js'
import { abortable } from './single-flight.js'
import { MemoryStorage } from './storage/memory.js'
import { createIssuerKeys } from './verify/keys.js'
import { checkScopes } from './verify/scopes.js'
import { createIdTokenVerifier } from './verify/id-token.js'
import { createVerifier } from './verify/verifier.js'
import { createSessions, type Who } from './callers.js'

export type { Who } from './callers.js'

/** The middleware, with everything that belongs to it. */
export interface McpAuth extends ConnectHandler {
  /**
   * Verifies the MCP token and attaches `req.mcpAuth`, `req.getNextcloudToken` and `req.auth`; else answers 400, 401, 403,
   * 500 or 503 by itself (RFC 6750 §3, MCP 2025-11-25 and 2026-07-28, authorization). A CORS preflight passes on.
   */
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void
  /**
   * A handler, to be put after this one, that answers 403 `insufficient_scope` unless every scope is satisfied.
   *
   * @throws {ConfigurationError} no scope is given, or one is not a scope (RFC 6749 §3.3)
   */
  requireScopes(...scopes: string[]): ConnectHandler
  /**
   * A handler that serves the protected resource metadata (RFC 9728) and, in refresh-token and app-password mode, the pages and endpoints under
   * `connect.path`, and passes on everything else.
   */
  routes(): ConnectHandler
  /**
   * A Nextcloud token for `who`, as `req.getNextcloudToken()` gets it. Rejects as that does, with {@link TypeError} when `who`
   * holds no token or not the subject it claims, and with {@link InvalidTokenError} when its token is no longer good.
   */
  getNextcloudToken(who: Who | undefined, options?: NextcloudTokenOptions): Promise<string>
  /**
   * What lets a request of `who` into Nextcloud, in any mode, for HTTP clients of your own (WebDAV, say): a bearer token, or in
   * app-password mode a login name and an app password. `options` are those of `getNextcloudToken`, and it rejects as that does.
   *
   * @example
   * const { headers } = await auth.getNextcloudCredential(authInfo)
   * await fetch('https://cloud.example.com/ocs/v2.php/cloud/user?format=json', { headers })
   */
  getNextcloudCredential(who: Who | undefined, options?: NextcloudTokenOptions): Promise<NextcloudCredential>
  /**
   * Fetches a path of `nextcloud.url` with the user's Nextcloud token (or app password) and `OCS-APIRequest: true`. After a 401 it
   * gets another token, once, and tries once more. The token never goes to another origin: a redirect that leads there is the answer.
   *
   * Rejects as `getNextcloudToken` does, with {@link TypeError} for a path that leads out of `nextcloud.url`, and with
   * {@link UpstreamUnavailableError} when Nextcloud cannot be reached.
   *
   * @example
   * const response = await auth.nextcloudFetch(authInfo, '/ocs/v2.php/cloud/user?format=json')
   */
  nextcloudFetch(who: Who | undefined, path: string | URL, init?: NextcloudRequest): Promise<Response>
  /**
   * Refresh-token and app-password mode: whether there is a usable grant of the user, for the MCP client of `who`. Looks into the storage each time.
   *
   * Rejects with {@link StorageError}, with {@link SealedValueError} when the grant cannot be opened, and with
   * {@link ConfigurationError} in any other mode.
   */
  isProvisioned(who: Who | undefined): Promise<boolean>
  /**
   * Refresh-token and app-password mode: a link on which the user of `who` connects Nextcloud for the MCP client of `who`. It is good for one use and
   * ten minutes, and the same one while five minutes of it are left; nobody else can connect anything with it.
   *
   * Rejects with {@link StorageError}, and with {@link ConfigurationError} where `connect` is switched off.
   */
  createConnectUrl(who: Who | undefined): Promise<string>
  /** The redirect URI to register at the authorization server; undefined where there are no connect pages, or nobody signs in there. */
  readonly connectRedirectUri: string | undefined
  /**
   * Refresh-token mode: renews the grant now, for a job that keeps refresh tokens alive. App-password mode: looks whether there is a
   * usable grant, since an app password need not be renewed. Rejects as `getNextcloudToken` does.
   */
  rotate(who: Who | undefined): Promise<void>
  /**
   * Refresh-token and app-password mode: disconnects the user. The grant is deleted here in any case, and the authorization server is
   * asked to revoke it (RFC 7009), or Nextcloud to delete the app password. Rejects with {@link StorageError} when it cannot be deleted.
   */
  revoke(who: Who | undefined): Promise<Revocation>
  /** An Express error handler: answers any {@link McpAuthError} with its status, headers and body, and passes on the rest. */
  errorHandler(): ErrorHandler
  /**
   * The verifier alone. `{ verifyAccessToken: auth.verify }` is an MCP SDK `OAuthTokenVerifier`; mind that the SDK's
   * `requireBearerAuth` answers 500 to errors that are not its own, which is why this middleware exists.
   *
   * Rejects with {@link InvalidTokenError}, {@link InsufficientScopeError} (for `requiredScopes`),
   * {@link UpstreamUnavailableError} or {@link ConfigurationError}.
   */
  verify(token: string): Promise<McpAuthInfo>
  /**
   * Resolves when the authorization server's metadata and keys are there, and the storage, where there is one; rejects with the reason why not. Optional:
   * everything is also fetched when it is first needed.
   */
  ready(): Promise<void>
  /** Counters since construction. */
  stats(): McpAuthStats
  /**
   * Waits, at most `http.timeout`, for requests and writes under way, then closes this package's own connections; never the
   * storage, which is the app's. Tool calls that wait for a user to connect wait no longer.
   */
  close(): Promise<void>
  /**
   * @internal Waits until the user of `who` has connected Nextcloud for the MCP client of `who`: true as soon as the store says so,
   * false after `ms` milliseconds, on abort, or where too many wait already.
   */
  waitForConnection(who: Who | undefined, ms: number, signal?: AbortSignal): Promise<boolean>
  /** @internal The user's connection has just been stored by this process. */
  onConnected(identity: Identity): void
}

/**
 * Builds the middleware. Nothing is fetched until the first request that needs it.
 *
 * @param options see {@link McpAuthOptions}; without them everything comes from the environment
 * @throws {ConfigurationError} an option is missing, unknown, of the wrong type or contradicts another; it is named
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
 * app.post('/mcp', auth, handler)
 */
export function mcpAuth(options?: McpAuthOptions): McpAuth {
  return createMcpAuth(options, systemClock)
}

/** @internal The same, with the clock to go by. */
export function createMcpAuth(options: McpAuthOptions | undefined, clock: Clock): McpAuth {
  const config = readConfig(options)
  const events = createEvents(config.onEvent, clock)
  for (const [option, message] of config.warnings) events.emit({ type: 'config.warning', option, message })
  const transport = createTransport(config.http, clock, events)
  const discovery = createDiscovery(config, transport, clock)
  const keys = createIssuerKeys(discovery, transport, clock, config.cache.staleKeys)
  const client = createClient({ config, discovery, transport, clock, events })
  const withChallenge = (error: McpAuthError): McpAuthError => addChallenge(error, config)
  const { nextcloud } = config
  const grants =
    config.grants &&
    createGrants({
      config,
      grants: config.grants,
      storage: config.grants.storage ?? new MemoryStorage(),
      clock,
      events,
    })
  const appPasswords = nextcloud && createAppPasswords(nextcloud, transport)
  const broker =
    nextcloud && createBroker({ config, nextcloud, client, grants, appPasswords, clock, events, withChallenge })
  const disconnect = grants && broker && createDisconnect(grants, client, appPasswords, broker, events)
  const fetchNextcloud = nextcloud && broker && createNextcloudFetch(nextcloud, transport, broker, events)
  const { present, sessionOf } = createSessions({
    config,
    issuer: discovery.issuer,
    hasGrants: grants !== undefined,
    verify: (token) => verify(token),
    getToken: (session, options) => getToken(session, options),
  })
  const verifier = createVerifier({ config, discovery, keys, client, clock, events }, present)

  function getToken(session: BrokerSession, options?: NextcloudTokenOptions): Promise<string> {
    if (nextcloud && MODES[nextcloud.mode].scheme !== 'Bearer') return Promise.reject(noTokens())
    return getSecret(session, options)
  }

  /** A token, or what stands in its place. */
  function getSecret(session: BrokerSession, options?: NextcloudTokenOptions): Promise<string> {
    if (broker === undefined) return Promise.reject(reportedMissing())
    return withLink(session, broker.getToken(session, options), options?.signal)
  }

  /** Where the user has to connect Nextcloud first, the error says where. */
  function withLink<T>({ caller }: BrokerSession, outcome: Promise<T>, signal?: AbortSignal | null): Promise<T> {
    return connect === undefined ? outcome : abortable(connect.withLink(caller, outcome), signal ?? undefined)
  }

  /** What only the modes with grants have. */
  function needGrants<T>(parts: T | undefined): T {
    if (parts !== undefined) return parts
    throw new ConfigurationError(
      "There are no grants without nextcloud.mode 'refresh-token' or 'app-password'",
      'nextcloud.mode',
    )
  }

  function reportedMissing(): ConfigurationError {
    const failure = nextcloudMissing()
    reportFailure(events, failure)
    return failure
  }

  /** The same as the middleware does, but for the answer. */
  async function verify(token: string): Promise<McpAuthInfo> {
    try {
      const { info } = await verifier.verify(token)
      checkScopes(config, info, config.requiredScopes)
      return info
    } catch (error) {
      const failure = withChallenge(asMcpAuthError(error))
      reportFailure(events, failure)
      throw failure
    }
  }

  /** Looks into the storage each time. */
  async function connectionOf(identity: Identity): Promise<Serves> {
    const { store } = needGrants(grants)
    const stored = await store.read(store.keyOf(identity))
    return (clientId) =>
      whyUnusable(stored?.grant, consentingClient(config.grants?.consent, clientId), clock.now()) === undefined
  }

  const waiting = grants && createWaiting({ look: connectionOf, clock })

  const parts = { config, events, verify: verifier.verify, withChallenge }
  const connectConfig = config.grants?.connect
  const connect =
    connectConfig && nextcloud && grants && broker && disconnect && appPasswords
      ? createConnect({
          config,
          nextcloud,
          connect: connectConfig,
          grants,
          codeGrant: connectConfig.signIn
            ? createCodeGrant(connectConfig, { config, discovery, transport, clock })
            : undefined,
          appPasswords,
          verifyIdToken: createIdTokenVerifier(config, keys, clock),
          loadKeys: keys.load,
          broker,
          disconnect,
          http: parts,
          events,
          clock,
          onConnected: (identity) => waiting?.connected(identity),
        })
      : undefined

  return Object.assign(createAuthentication(parts), {
    requireScopes: (...scopes: string[]) => createScopeGuard(parts, scopes),
    routes: () =>
      createRouter(new Map([...resourceMetadataRoutes(config, discovery.issuer), ...(connect?.routes ?? [])])),
    connectRedirectUri: connectConfig?.signIn === true ? connectConfig.redirectUri : undefined,
    async createConnectUrl(who: Who | undefined) {
      needGrants(grants)
      if (connect === undefined) throw new ConfigurationError('The connect pages are switched off', 'connect')
      const { caller } = await sessionOf(who)
      return (await connect.linkFor(caller, caller.clientId)).connectUrl
    },
    errorHandler: createErrorHandler,
    async isProvisioned(who: Who | undefined) {
      needGrants(grants)
      const { caller } = await sessionOf(who)
      return (await connectionOf(caller))(caller.clientId)
    },
    async rotate(who: Who | undefined) {
      needGrants(grants)
      const session = await sessionOf(who)
      return withLink(session, needGrants(broker).rotate(session))
    },
    async revoke(who: Who | undefined) {
      const end: Disconnect = needGrants(disconnect)
      const { issuer, subject } = (await sessionOf(who)).caller
      return end({ issuer, subject })
    },
    async getNextcloudToken(who: Who | undefined, options?: NextcloudTokenOptions) {
      return getToken(await sessionOf(who), options)
    },
    async getNextcloudCredential(who: Who | undefined, options?: NextcloudTokenOptions) {
      const secret = await getSecret(await sessionOf(who), options)
      return credentialOf(config.nextcloud?.mode ?? 'pass-through', secret)
    },
    async nextcloudFetch(who: Who | undefined, path: string | URL, init?: NextcloudRequest) {
      if (fetchNextcloud === undefined) throw reportedMissing()
      const session = await sessionOf(who)
      return withLink(session, fetchNextcloud(session, path, init), init?.signal)
    },
    verify,
    async ready() {
      await verifier.ready()
      if (needsOf(config).tokenRequests) await discovery.forTokenRequests()
      await grants?.ready()
    },
    stats: () => ({
      ...structuredClone(events.counters),
      sizes: { verifiedTokens: verifier.size(), nextcloudTokens: broker?.size() ?? 0 },
    }),
    async waitForConnection(who: Who | undefined, ms: number, signal?: AbortSignal) {
      if (waiting === undefined) return false
      const { issuer, subject, clientId } = (await sessionOf(who)).caller
      return waiting.wait({ issuer, subject }, clientId, ms, signal)
    },
    onConnected: (identity: Identity) => waiting?.connected(identity),
    async close() {
      waiting?.close()
      connect?.close()
      const settled = Promise.all([broker?.settle(), connect?.settle()]).then(() => grants?.settle())
      await Promise.race([settled, patience(config.http.timeout)])
      transport.close()
    },
  })
}

/** Resolves after so many milliseconds, and keeps no process alive meanwhile. */
function patience(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}

function noTokens(): ConfigurationError {
  return new ConfigurationError(
    'There are no Nextcloud tokens in app-password mode: use nextcloudFetch or getNextcloudCredential',
    'nextcloud.mode',
  )
}

function nextcloudMissing(): ConfigurationError {
  return new ConfigurationError(
    `nextcloud.url is not set (environment variable ${variableOf('nextcloud.url')})`,
    'nextcloud.url',
  )
}
