import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../broker/modes/mode.js'
import {
  asMcpAuthError,
  NotProvisionedError,
  StorageError,
  UpstreamUnavailableError,
  type ConnectLink,
} from '../errors/errors.js'
import { reportFailure } from '../events.js'
import type { Identity } from '../grants/grant.js'
import type { HttpParts } from '../http/authentication.js'
import type { RouteHandler, Routes } from '../http/router.js'
import { endConnection, showStatus } from './account.js'
import { appKnows } from './browser-identity.js'
import { receiveAnswer } from './callback.js'
import { createAllowance } from './allowance.js'
import type { ConnectParts, ConnectRooms } from './connect-parts.js'
import { answerConsent, showConsent } from './consent.js'
import { createFlowCookies } from './cookies.js'
import { disconnectInBrowser } from './disconnection.js'
import { showLogin } from './login-page.js'
import { createLogins, LOGIN_KNOWN_FOR } from './login-flow.js'
import { createOneTimeRecords } from './one-time.js'
import { createPages, sendPage } from './pages/pages.js'
import { createTickets } from './tickets.js'

/** How users connect Nextcloud. */
export interface Connect {
  /** The redirect URI to register at the authorization server; undefined if no user signs in there. */
  readonly redirectUri: string | undefined
  readonly routes: (http: HttpParts) => Routes
  /**
   * A link that begins a connection. Without a client it is this server's own work that needs it, and its own name that stands
   * on the page. Rejects with {@link StorageError}.
   */
  readonly linkFor: (identity: Identity, clientId: string | undefined) => Promise<ConnectLink>
  /** Looks after the logins at Nextcloud no more by itself. */
  readonly close: () => void
  /** Resolves when those under way have come to an end, or to a rest. */
  readonly settle: () => Promise<void>
  /** The same outcome, but where the user has to connect first, the error says where. */
  readonly withLink: <T>(caller: Pick<Caller, 'identity' | 'clientId'>, outcome: Promise<T>) => Promise<T>
}

export function createConnect(rooms: ConnectRooms): Connect {
  const { config, connect, nextcloud, grants, appPasswords, clock, events } = rooms
  const { owner } = grants
  const resource = new URL(config.resource)
  const { origin } = resource
  const serverName = config.resourceName ?? resource.host
  const failed: ConnectParts['failed'] = (reason, details = {}) =>
    events.emit({ type: 'connect.failed', reason, ...details })
  const logins =
    config.grants?.credential === 'app-password'
      ? createLogins({
          records: createOneTimeRecords('login', grants.records, owner, clock, LOGIN_KNOWN_FOR),
          grants,
          appPasswords,
          clock,
          events,
          patience: config.http.timeout,
          clientName: serverName,
          // Who is at the browser is known; whose account it is in Nextcloud, only the app can say.
          allows: (answer, login) => appKnows(rooms, answer, login, true),
          failed,
          onConnected({ identity }) {
            rooms.broker.forget(identity)
            rooms.onConnected(identity)
          },
        })
      : undefined
  const parts: ConnectParts = {
    ...rooms,
    origin,
    tickets: createTickets(grants.records, owner, clock, `${origin}${connect.path}/connect`),
    allowance: createAllowance(clock),
    pending: createOneTimeRecords('authorization', grants.records, owner, clock),
    offers: createOneTimeRecords('disconnection', grants.records, owner, clock),
    cookies: createFlowCookies(resource.protocol === 'https:'),
    pages: createPages({
      serverName,
      nextcloudHost: nextcloud.url.host,
    }),
    logins,
    failed,
  }
  const routes = (http: HttpParts): Routes =>
    new Map([
      [`${connect.path}/connect`, { GET: page(showConsent), POST: page(answerConsent) }],
      ...callbackRoutes(),
      [`${connect.path}/status`, { GET: showStatus({ ...parts, http }) }],
      [`${connect.path}/disconnect`, { POST: endConnection({ ...parts, http }, page(disconnectInBrowser)) }],
    ])

  /** What there is of the two ways through other servers. */
  function callbackRoutes(): Routes {
    const login: RouteHandler | undefined = logins && page((given) => showLogin(given, logins))
    return new Map([
      ...(connect.signIn ? [[`${connect.path}/callback`, { GET: page(receiveAnswer) }] as const] : []),
      ...(login ? [[`${connect.path}/login`, { GET: login }] as const] : []),
    ])
  }

  /** A failure is a page too, since a person looks at it. */
  function page(create: (parts: ConnectParts) => RouteHandler): RouteHandler {
    const handler = create(parts)
    return async (req, res) => {
      try {
        await handler(req, res)
      } catch (error) {
        sendFailure(req, res, error)
      }
    }
  }

  function sendFailure(req: IncomingMessage, res: ServerResponse, error: unknown): void {
    const failure = asMcpAuthError(error)
    reportFailure(events, failure)
    if (res.headersSent) return void res.end()
    if (failure instanceof UpstreamUnavailableError || failure instanceof StorageError) {
      const { retryAfter } = failure
      res.setHeader('Retry-After', String(retryAfter))
      return sendPage(req, res, parts.pages.unavailable({ retryAfter }))
    }
    sendPage(req, res, parts.pages.failed())
  }

  let warned = false
  /** Clients that the authorization server does not name cannot be told apart: consent to one is consent to all. */
  function warnOfNameless(clientId: string | undefined): void {
    if (warned || clientId !== 'unknown' || config.grants?.consent === 'per-user') return
    warned = true
    const message =
      'The MCP tokens have no client_id, azp or cid: consent per client cannot tell one MCP client from another; let the authorization server add it'
    events.emit({ type: 'config.warning', option: 'connect.consent', message })
  }

  const linkFor: Connect['linkFor'] = (identity, clientId) => {
    warnOfNameless(clientId)
    return parts.tickets.linkFor(identity, clientId ?? owner.clientId)
  }

  return {
    redirectUri: connect.signIn ? connect.redirectUri : undefined,
    routes,
    linkFor,
    close: () => logins?.close(),
    settle: () => logins?.settle() ?? Promise.resolve(),
    withLink: (caller, outcome) =>
      outcome.catch(async (error: unknown) => {
        if (!(error instanceof NotProvisionedError)) throw error
        // Another error than the one given: callers of several MCP clients may have waited for the same.
        throw error.with(await linkFor(caller.identity, caller.clientId))
      }),
  }
}
