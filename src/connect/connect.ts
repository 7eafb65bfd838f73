import type { Caller } from '../broker/modes/mode.js'
import { UnknownClientError } from '../authorization-server/known-client.js'
import { claimsForRule } from '../config/identity-rule.js'
import {
  asMcpAuthError,
  McpAuthError,
  NotProvisionedError,
  StorageError,
  UpstreamUnavailableError,
  type ConnectLink,
} from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { reportFailure } from '../events.js'
import { createNetworkShares } from '../http/address-shares.js'
import type { HttpRooms } from '../http/authentication.js'
import { withoutEndSlash, type RouteHandler, type Routes } from '../http/router.js'
import { MODES } from '../modes.js'
import { UNNAMED_CLIENT } from '../verify/claims.js'
import { endConnection, showStatus } from './account.js'
import { createAllowance } from './allowance.js'
import { refuseEmbedded, sendOutcome, withoutHead, type PageHandler } from './browser.js'
import { createClientNames } from './client-names.js'
import type { ConnectRooms, PageRooms, Way } from './connect-rooms.js'
import { answerConsent, showConsent } from './consent.js'
import { createFlowCookies } from './cookies.js'
import { disconnectInBrowser } from './disconnection.js'
import { createGivenAnswers } from './given-answers.js'
import { createLogins, LOGIN_KNOWN_FOR, type Logins } from './login-flow.js'
import { createOneTimeRecords, ONE_TIME_LIFE } from './one-time.js'
import { changeOverview, MOST_VISITORS, showOverview } from './overview.js'
import type { Page } from './pages/document.js'
import { createPages, type PageContext } from './pages/pages.js'
import { createTickets } from './tickets.js'
import { chooseWay } from './way.js'
import { whyNotTheirs } from './whose-account.js'

/** The user and the MCP client that a link is for. */
type LinkCaller = Pick<Caller, 'identity' | 'clientId' | 'claims'>

/** The pages on which users connect Nextcloud, and the links to them. */
export interface Connect {
  /** The redirect URI to register at the authorization server; undefined if no user signs in there. */
  readonly redirectUri: string | undefined
  readonly routes: (http: HttpRooms) => Routes
  /**
   * Returns a link that begins a connection. Without a client, the link is for this server's own work, and its own name stands on
   * the page. Rejects with {@link StorageError}.
   */
  readonly linkFor: (caller: LinkCaller) => Promise<ConnectLink>
  /** Notes what the MCP client of a link calls itself. Never rejects, because only the page shows it. */
  readonly callsItself: (connectUrl: string, name: unknown) => Promise<void>
  /** Stops the questions to Nextcloud that no page asks. */
  readonly close: () => void
  /** Resolves when questions under way have ended, and one more attempt was made at app passwords that could not be stored. */
  readonly settle: () => Promise<void>
  /** Returns the same outcome, but an error that the user must connect first gets a link. */
  readonly withLink: <T>(caller: LinkCaller, outcome: Promise<T>) => Promise<T>
}

export function createConnect(given: ConnectRooms): Connect {
  const { connect, servers } = given
  const rooms = createPageRooms(given)
  // Where the sign-in is not the grant itself, the user logs in to Nextcloud too.
  const logins = MODES[given.nextcloud.mode].signInFor === 'grant' ? undefined : createLoginsOf(given, rooms)
  const way = chooseWay(rooms, servers, logins)
  const warnOfNameless = createNamelessWarning(given)
  const linkFor: Connect['linkFor'] = ({
    identity,
    clientId = given.grants.ownerOf(identity.issuer).clientId,
    claims,
  }) => {
    warnOfNameless(clientId)
    return rooms.tickets.linkFor({ identity, clientId, ...(claims && { claims }) })
  }
  return {
    redirectUri: connect.signIn ? connect.redirectUri : undefined,
    routes: (http) => new Map([...routesOf(rooms, way, http), ...overviewRoutes(rooms, servers)]),
    linkFor,
    callsItself: (connectUrl, name) =>
      rooms.tickets.callsItself(connectUrl, name).catch(ifError(StorageError, () => undefined)),
    close: () => logins?.close(),
    settle: async () => logins?.settle(),
    withLink: (caller, outcome) =>
      outcome.catch(async (error: unknown) => {
        if (!(error instanceof NotProvisionedError)) throw error
        // Another error than the one given, because callers of several MCP clients may have waited for the same.
        throw error.with(await linkFor(caller))
      }),
  }
}

function createPageRooms(rooms: ConnectRooms): PageRooms {
  const { connect, servers, nextcloud, grants, clock, events } = rooms
  // An ID token says more than the MCP token of the link.
  const linkKeepsClaims = servers?.all[0].connection.hasIdToken !== true || connect.authenticateBrowser !== undefined
  const records = { ...grants, clock }
  const { origin, protocol, pathname } = new URL(rooms.config.resource)
  const cookies = createFlowCookies(protocol === 'https:')
  const report: PageRooms['report'] = (reason, details = {}) =>
    events.emit({ type: 'connect.failed', reason, ...details })
  return {
    ...rooms,
    origin,
    tickets: createTickets(records, `${origin}${connect.path}/connect`, (claims) =>
      linkKeepsClaims ? claimsForRule(connect.identity, claims) : undefined,
    ),
    allowance: createAllowance(clock),
    pending: createOneTimeRecords('authorization', records),
    offers: createOneTimeRecords('disconnection', records),
    visits: createOneTimeRecords('visit', records),
    overviewUrl: withoutEndSlash(pathname) === connect.path ? undefined : `${origin}${connect.path}`,
    cookies,
    pages: createPages({
      serverName: serverNameOf(rooms),
      nextcloudHost: nextcloud.publicUrl.host,
      steps: stepsOf(rooms),
    }),
    clientNames: createClientNames(rooms),
    answers: createGivenAnswers({ ...records, cookies }),
    report,
    failed(reason, page, details) {
      report(reason, details)
      return { page }
    },
  }
}

/** The steps that follow a "yes" (see {@link chooseWay}). */
function stepsOf({ connect, nextcloud }: ConnectRooms): PageContext['steps'] {
  const isGrant = MODES[nextcloud.mode].signInFor === 'grant'
  return [...(connect.signIn ? (['sign-in'] as const) : []), ...(isGrant ? [] : (['app-password'] as const))]
}

const serverNameOf = ({ config }: Pick<ConnectRooms, 'config'>): string =>
  config.resourceName ?? new URL(config.resource).host

function createLoginsOf({ broker, onConnected }: ConnectRooms, rooms: PageRooms): Logins {
  const { config, grants, clock } = rooms
  return createLogins({
    ...rooms,
    records: createOneTimeRecords('login', { ...grants, clock }, LOGIN_KNOWN_FOR),
    patience: config.http.timeout,
    clientName: serverNameOf(rooms),
    whyNot: ({ loginName, password, server }, login) =>
      whyNotTheirs(rooms, { secret: { scheme: 'Basic', loginName, password }, loginName, server }, login),
    onConnected({ identity }) {
      broker.forget(identity)
      onConnected(identity)
    },
  })
}

function routesOf(rooms: PageRooms, way: Way, http: HttpRooms): Routes {
  const { path } = rooms.connect
  const page = (handler: PageHandler): RouteHandler => servePage(rooms, handler)
  const ends = Object.entries(way.handlers).flatMap(([name, handler]) => {
    const places = [`${path}/${name}`, ...(name === 'callback' ? ownCallbacks(rooms) : [])]
    return places.map((place) => [place, { GET: withoutHead(page(handler)) }] as const)
  })
  return new Map<string, Readonly<Record<string, RouteHandler>>>([
    [`${path}/connect`, { GET: page(showConsent(rooms, way)), POST: page(answerConsent(rooms, way)) }],
    ...ends,
    [`${path}/status`, { GET: showStatus({ ...rooms, http }) }],
    [`${path}/disconnect`, { POST: endConnection({ ...rooms, http }, page(disconnectInBrowser(rooms))) }],
  ])
}

/** The paths to which issuers lead back that have one of their own. */
function ownCallbacks({ config: { others } }: Pick<PageRooms, 'config'>): readonly string[] {
  const uris = others.flatMap(({ grants }) => grants?.connect?.ownRedirectUri ?? [])
  return uris.map((uri) => new URL(uri).pathname)
}

/** The page of connections, unless the resource itself has its path: an MCP endpoint must not be hidden. */
function overviewRoutes(rooms: PageRooms, servers: ConnectRooms['servers']): Routes {
  const { overviewUrl, connect, clock } = rooms
  if (overviewUrl === undefined) return new Map()
  const visitors = {
    each: createNetworkShares(clock, MOST_VISITORS.each, ONE_TIME_LIFE),
    all: createAllowance(clock, MOST_VISITORS.all),
  }
  const of = { ...rooms, overviewUrl, servers: servers?.all ?? [], visitors }
  const [GET, POST] = [servePage(rooms, showOverview(of)), servePage(rooms, changeOverview(of))]
  return new Map([[connect.path, { GET, POST }]])
}

const CONNECT = { name: 'mcp.auth.connect' } as const

/** Answers a failure with a page too, because a person looks at it. */
function servePage(rooms: Pick<PageRooms, 'events' | 'pages' | 'connect'>, handler: PageHandler): RouteHandler {
  return async (req, res) => {
    if (refuseEmbedded(req, res)) return
    try {
      sendOutcome(req, res, await rooms.events.during(CONNECT, async () => handler(req, res)))
    } catch (error) {
      const failure = asMcpAuthError(error)
      reportFailure(rooms.events, failure)
      if (res.headersSent) return void res.end()
      sendOutcome(req, res, { page: pageOf(rooms, failure) })
    }
  }
}

function pageOf({ pages, connect }: Pick<PageRooms, 'pages' | 'connect'>, failure: McpAuthError): Page {
  if (failure instanceof UnknownClientError) return pages.unknownClient(connect)
  if (failure instanceof StorageError) return pages.unavailable({ retryAfter: failure.retryAfter, who: 'store' })
  if (!(failure instanceof UpstreamUnavailableError)) return pages.failed()
  const { retryAfter, service } = failure
  return pages.unavailable({ retryAfter, who: service === 'Nextcloud' ? 'nextcloud' : 'provider' })
}

const NAMELESS =
  'The MCP tokens have no client_id, azp or cid: consent per client cannot tell one MCP client from another; let the authorization server add it'

/** Warns once of MCP clients that the authorization server does not name, because consent to one is consent to all of them. */
function createNamelessWarning({ config, events }: Pick<ConnectRooms, 'config' | 'events'>) {
  let warned = config.grants?.consent === 'per-user'
  return (clientId: string | undefined): void => {
    if (warned || clientId !== UNNAMED_CLIENT) return
    warned = true
    events.emit({ type: 'config.warning', option: 'connect.consent', message: NAMELESS })
  }
}
