import type { IncomingMessage } from 'node:http'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { ANY_CLIENT, agreedAt, identityKey, whyUnusable, type Grant, type Identity } from '../grants/grant.js'
import { lastUseOf } from '../grants/uses.js'
import type { AddressShares } from '../http/address-shares.js'
import type { OwnSignIn } from '../local-options.js'
import type { Allowance } from './allowance.js'
import type { Outcome, PageHandler } from './browser.js'
import type { PageRooms, SignInServer } from './connect-rooms.js'
import { digest, flowOf, isSame } from './cookies.js'
import { readOwnForm } from './form.js'
import type { Connection, Done, Trouble } from './pages/overview.js'
import { leadToSignIn } from './sign-in.js'
import { boundForm, endVisit, heldCookie, issueCookie, whoVisits } from './visits.js'
import { hasOwnSubjects } from './who-is-there.js'

/** The rooms of the page of connections. */
export interface OverviewRooms extends PageRooms {
  /** The address of the page. */
  readonly overviewUrl: string
  /** The servers whose sign-in asks who the user is; none if no user signs in at an authorization server. */
  readonly servers: readonly SignInServer[]
  /** Limits the sign-ins that strangers may begin, because each leaves a record in the store: for one address, and for all. */
  readonly visitors: { readonly each: Pick<AddressShares, 'take'>; readonly all: Allowance }
}

/** The purpose of the form that begins a sign-in. No identity has this key. */
const TO_SIGN_IN = 'sign-in'
/** Sign-ins for the page that one process begins within ten minutes: for one address and the wider networks around it, and for all. */
export const MOST_VISITORS = { each: [20, 60, 200], all: 1_000 } as const
/** Clients that are shown, because the name of each may have to be asked for. */
const MOST_CLIENTS = 100
/** All strangers count as one. */
const ANYBODY: Identity = { issuer: '', subject: '' }

/** `GET {connect.path}`: the connection of the person who has signed in. It changes nothing, and makes no record. */
export function showOverview(rooms: OverviewRooms): PageHandler {
  const { ownSignIn } = rooms.config
  return async (req) => {
    const held = heldCookie(rooms, req)
    const identity = await whoVisits(rooms, req, held)
    const { done, cookies: told } = takeNotice(rooms, req)
    if (identity === undefined) return askWho(rooms, req, { held, done, told })
    const byApp = rooms.connect.authenticateBrowser !== undefined
    // The cookie of a sign-in here ends with it, the other lasts as long as the page is in use.
    const cookie = byApp || held === undefined ? issueCookie(rooms, req, held) : { value: held, headers: [] }
    const page = rooms.pages.overview({
      ...boundForm(rooms, cookie.value, identityKey(identity)),
      connection: await connectionOf(rooms, identity),
      done,
      signsOut: !byApp || ownSignIn !== undefined,
      isOwn: ownSignIn !== undefined,
      sessions: (await ownSignIn?.sessions(req, identity.subject)) ?? [],
    })
    return { page, cookies: [...cookie.headers, ...told] }
  }
}

interface Asked {
  readonly held: string | undefined
  readonly done: Done | undefined
  readonly told: readonly string[]
}

/** The page for somebody of whom nothing is known. */
async function askWho(rooms: OverviewRooms, req: IncomingMessage, { held, done, told }: Asked): Promise<Outcome> {
  const { pages, connect, config, servers } = rooms
  const isOwn = config.ownSignIn !== undefined
  if (!isOwn && connect.authenticateBrowser !== undefined) return { page: pages.notSignedIn({ again: connect.path }) }
  // Of several, the person chooses one, which is asked then.
  if (!isOwn && servers.length < 2 && !(await canTell(servers[0]))) return { page: pages.cannotTell() }
  const cookie = issueCookie(rooms, req, held)
  return {
    page: pages.signIn({
      ...boundForm(rooms, cookie.value, TO_SIGN_IN),
      done,
      isOwn,
      servers: servers.length < 2 ? [] : servers.map((server) => ({ name: nameOf(server), value: valueOf(server) })),
    }),
    cookies: [...cookie.headers, ...told],
  }
}

/**
 * Whether a sign-in at the authorization server can tell which MCP user is at the browser.
 *
 * @throws {UpstreamUnavailableError} its metadata cannot be fetched
 */
async function canTell(server: SignInServer | undefined): Promise<boolean> {
  return server?.identity.hasIdToken === true && !hasOwnSubjects(await server.identity.metadata())
}

const nameOf = ({ issuer = '' }: SignInServer): string => issuer.replace(/^https?:\/\//, '').replace(/\/$/, '')
const valueOf = ({ issuer = '' }: SignInServer): string => digest(issuer)

/** `POST {connect.path}`: what a button of the page asks for. Then the page is shown again, and says what was done. */
export function changeOverview(rooms: OverviewRooms): PageHandler {
  const { pages, connect, failed } = rooms
  const { ownSignIn } = rooms.config
  return async (req, res) => {
    const held = heldCookie(rooms, req)
    const form = held === undefined ? undefined : await readOwnForm(rooms, req)
    const isOurs = (purpose: string): boolean =>
      held !== undefined && isSame(form?.get('token') ?? '', boundForm(rooms, held, purpose).formValue)
    const wish = form?.get('do') ?? ''
    if (isOurs(TO_SIGN_IN)) return startSignIn(rooms, req, wish)
    const identity = form === undefined ? undefined : await whoVisits(rooms, req, held)
    if (identity === undefined || held === undefined || !isOurs(identityKey(identity))) {
      return failed('form', pages.visitOver({ again: connect.path }))
    }
    if (wish === 'sign-out') {
      await ownSignIn?.signOut(req, res)
      return goBack(rooms, req, ownSignIn ? 'signed-out' : 'out', await endVisit(rooms, held))
    }
    const ended = await endSessions(ownSignIn, req, { identity, wish })
    return goBack(rooms, req, ended ?? (await end(rooms, identity, wish)))
  }
}

/** Ends sessions of the sign-in server in this process: one, or with the connection all others. */
async function endSessions(
  ownSignIn: OwnSignIn | undefined,
  req: IncomingMessage,
  { identity, wish }: { readonly identity: Identity; readonly wish: string },
): Promise<Done | undefined> {
  if (ownSignIn === undefined) return undefined
  const { subject } = identity
  if (wish === 'all') await ownSignIn.end(req, subject, 'others')
  const chosen = (await ownSignIn.sessions(req, subject)).find(({ id }) => digest(id) === wish)
  if (chosen === undefined) return undefined
  await ownSignIn.end(req, subject, chosen)
  return 'browser'
}

/** @param wish `sign-in`, or `another` for another account, and which server of several */
async function startSignIn(rooms: OverviewRooms, req: IncomingMessage, wish: string): Promise<Outcome> {
  const { visitors, pages, failed } = rooms
  const signIn = await signInOf(rooms, wish)
  if (signIn === undefined) return { page: pages.cannotTell() }
  const wait = visitors.each.take(req) || visitors.all.take(ANYBODY)
  if (wait > 0) return failed('too_many', pages.tooMany({ retryAfter: Math.ceil(wait / 1_000) }))
  return signIn(req)
}

/** Returns the sign-in that can tell who the person is; undefined if none can. */
async function signInOf(
  rooms: OverviewRooms,
  wish: string,
): Promise<((req: IncomingMessage) => Promise<Outcome>) | undefined> {
  const { servers, pages, connect, config } = rooms
  const { ownSignIn } = config
  if (ownSignIn !== undefined) {
    return async (req) => {
      const { url, cookies } = await ownSignIn.begin(req)
      return { page: pages.goingOn({ url, host: new URL(url).host }), cookies }
    }
  }
  const [what, which] = wish.split(' ')
  const server = servers.length > 1 ? servers.find((one) => valueOf(one) === which) : servers[0]
  if (connect.authenticateBrowser !== undefined || server === undefined || !(await canTell(server))) return undefined
  const { identity: codeGrant, issuer = '' } = server
  return (req) =>
    leadToSignIn({ ...rooms, codeGrant }, { visit: true, issuer }, { req, selectAccount: what === 'another' })
}

/** Ends the access of one client, or the connection. */
async function end(rooms: OverviewRooms, identity: Identity, wish: string): Promise<Done | undefined> {
  const { disconnect } = rooms
  if (wish === 'all') return (await disconnect(identity)).revoked === 'pending' ? 'all-pending' : 'all'
  // Where consent is per user, no client has one of its own to lose.
  const clients = isPerClient(rooms) ? ((await readGrant(rooms, identity))?.clients ?? []) : []
  const clientId = clients.find((id) => digest(id) === wish)
  if (clientId === undefined) return undefined
  return (await disconnect(identity, clientId)).revoked === 'pending' ? 'one-pending' : 'one'
}

const isPerClient = ({ config }: Pick<PageRooms, 'config'>): boolean => config.grants?.consent === 'per-client'

async function readGrant({ grants }: Pick<PageRooms, 'grants'>, identity: Identity): Promise<Grant | undefined> {
  return (await grants.store.look(identity))?.grant
}

async function connectionOf(
  rooms: Pick<OverviewRooms, 'grants' | 'config' | 'clock' | 'clientNames'>,
  identity: Identity,
): Promise<Connection | undefined> {
  const grant = await readGrant(rooms, identity).catch(ifError(SealedValueError, () => 'unreadable' as const))
  if (grant === 'unreadable') return { trouble: 'unreadable', since: undefined, clients: [], more: 0 }
  if (grant === undefined || grant.state === 'disconnected') return undefined
  const used = await rooms.grants.uses.read(identity)
  return {
    trouble: troubleOf(grant, rooms.clock.now()),
    since: grant.connectedAt,
    clients: await Promise.all(
      grant.clients.slice(0, MOST_CLIENTS).map(async (clientId) => ({
        client:
          clientId === ANY_CLIENT ? { name: 'Every app that you sign in with' } : await rooms.clientNames.of(clientId),
        callsItself: await rooms.config.ownSignIn?.claimOf(clientId),
        since: agreedAt(grant, clientId),
        lastUsed: lastUseOf(grant, clientId, used),
        end: isPerClient(rooms) ? digest(clientId) : undefined,
      })),
    ),
    more: Math.max(0, grant.clients.length - MOST_CLIENTS),
  }
}

function troubleOf(grant: Grant, now: number): Trouble | undefined {
  const reason = whyUnusable(grant, undefined, now)
  if (reason === undefined || reason === 'expired') return reason
  return grant.lastError?.code === 'another_mode' ? 'elsewhere' : 'refused'
}

const flowOfNotice = ({ connect }: Pick<PageRooms, 'connect'>): string => flowOf(`done ${connect.path}`)
/** Milliseconds for which the page may say what was done. */
const NOTICE_LIFE = 60_000
const NOTICES: readonly Done[] = ['one', 'one-pending', 'all', 'all-pending', 'out', 'signed-out', 'browser']

/** Leads back to the page by GET, so that a reload does nothing twice. A cookie says what was done, because a link could lie. */
function goBack(
  rooms: Pick<OverviewRooms, 'cookies' | 'connect' | 'overviewUrl'>,
  req: IncomingMessage,
  done: Done | undefined,
  cookies: readonly string[] = [],
): Outcome {
  const given = { value: done ?? '', life: NOTICE_LIFE }
  const notice = done === undefined ? [] : rooms.cookies.issue(req, flowOfNotice(rooms), given).headers
  return { returnTo: rooms.overviewUrl, cookies: [...cookies, ...notice] }
}

function takeNotice(rooms: Pick<PageRooms, 'cookies' | 'connect'>, req: IncomingMessage) {
  const values = rooms.cookies.values(req, flowOfNotice(rooms))
  const done = NOTICES.find((notice) => values.includes(notice))
  return { done, cookies: values.length > 0 && req.method !== 'HEAD' ? [rooms.cookies.end(flowOfNotice(rooms))] : [] }
}
