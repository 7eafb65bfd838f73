import type { IncomingMessage } from 'node:http'
import { StorageError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { queryOf, singleParameter, type Outcome, type PageHandler } from './browser.js'
import type { Beginning, PageRooms, Visit } from './connect-rooms.js'
import { tryAgain } from './consent.js'
import { flowOf } from './cookies.js'
import { showConnected } from './disconnection.js'
import type { Login } from './login-answers.js'
import { isOpen, LOGIN_KNOWN_FOR, type Logins } from './login-flow.js'
import { purposeOf, type Purpose } from './tickets.js'

interface LoginPageRooms extends PageRooms {
  readonly logins: Logins
}

/**
 * Begins a login for the browser whose user is known by now, and shows the page that leads to Nextcloud and waits there. Nothing
 * is kept of a sign-in before, because in Nextcloud the user agrees to something else.
 */
export async function beginLogin(
  rooms: Pick<LoginPageRooms, 'logins' | 'cookies' | 'pages' | 'origin' | 'connect' | 'clientNames'>,
  purpose: Purpose,
  req: IncomingMessage,
): Promise<Beginning & { readonly login: string }> {
  const { logins, cookies } = rooms
  const { secret, login } = await logins.begin(purposeOf(purpose))
  const flow = flowOf(secret)
  return {
    ...(await waitingPage(rooms, login, flow)),
    // The cookie itself is the secret: no other browser has it, and no URL does.
    cookies: cookies.issue(req, flow, { value: secret, life: LOGIN_KNOWN_FOR }).headers,
    login: secret,
    undo: () => logins.drop(secret),
  }
}

async function waitingPage(
  rooms: Pick<PageRooms, 'pages' | 'origin' | 'connect' | 'clientNames'>,
  { login, clientId, callsItself }: Login,
  flow: string,
): Promise<Outcome> {
  const next = loginAddress(rooms, flow)
  const client = await rooms.clientNames.of(clientId)
  return { page: rooms.pages.waiting({ login, next, client, callsItself }) }
}

/** The address of a login's page. It names the cookie, and is of no use to a browser without it. */
function loginAddress({ origin, connect }: Pick<PageRooms, 'origin' | 'connect'>, flow: string): string {
  return `${origin}${connect.path}/login?flow=${flow}`
}

/** `GET …/login`: the waiting page looks here every few seconds, until the user has agreed in Nextcloud. */
export function showLogin(rooms: LoginPageRooms): PageHandler {
  const { cookies, pages, failed } = rooms
  return async (req, res) => {
    const flow = singleParameter(queryOf(req), 'flow')
    const secret = cookies.values(req, flow).find((value) => flowOf(value) === flow)
    return secret === undefined ? failed('browser', pages.notFromHere()) : showLoginOf(rooms, secret, { req, res })
  }
}

/** The same login once more, for the browser that has begun it. It may not have got the cookie. */
export async function showLoginAgain(rooms: LoginPageRooms, secret: string, visit: Visit): Promise<Outcome> {
  const outcome = await showLoginOf(rooms, secret, visit)
  const { headers } = rooms.cookies.issue(visit.req, flowOf(secret), { value: secret, life: LOGIN_KNOWN_FOR })
  return 'page' in outcome && outcome.page.refreshTo !== undefined ? { ...outcome, cookies: headers } : outcome
}

async function showLoginOf(rooms: LoginPageRooms, secret: string, { req, res }: Visit): Promise<Outcome> {
  const { logins, pages, cookies, failed, clock } = rooms
  const flow = flowOf(secret)
  const login = await logins.look(secret).catch(ifError(StorageError, (error) => error))
  if (login instanceof StorageError) {
    // It may be stored in a moment, and the page must say so then.
    const { retryAfter } = login
    const refresh = { refreshTo: loginAddress(rooms, flow), refreshAfter: retryAfter }
    return { page: { ...pages.unavailable({ retryAfter, who: 'store' }), ...refresh } }
  }
  if (login === undefined) return { ...failed('state', pages.badAnswer()), cookies: [cookies.end(flow)] }
  if (isOpen(login, clock)) return waitingPage(rooms, login, flow)
  res.appendHeader('Set-Cookie', cookies.end(flow))
  // Noted before the outcome is shown and forgotten, so that another callback can say the same.
  if (login.outcome === 'connected') await rooms.answers.note(login.answer, { connected: true })
  // Show the outcome once: each view may create a record. A login that only timed out may still complete.
  if (login.outcome !== undefined && !(await logins.spend(secret))) return { page: pages.badAnswer() }
  return showEnd(rooms, req, login)
}

async function showEnd(rooms: PageRooms, req: IncomingMessage, login: Login): Promise<Outcome> {
  const { pages, failed } = rooms
  switch (login.outcome) {
    case 'connected':
      return showConnected(rooms, req, login)
    case 'person':
      return tryAgain(rooms, req, { ...login, at: 'nextcloud' })
    case 'withdrawn':
      return { page: pages.withdrawn() }
    case 'answer':
      return { page: { ...pages.badAnswer(), status: 502 } }
    default:
      return failed('link', pages.linkUnusable())
  }
}
