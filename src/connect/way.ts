import type { IncomingMessage } from 'node:http'
import type { CodeGrant } from '../authorization-server/code-grant.js'
import type { PerIssuer } from '../config/per-issuer.js'
import { InternalError } from '../errors/errors.js'
import type { PageHandler } from './browser.js'
import type { PageRooms, SignInServer, Way } from './connect-rooms.js'
import type { Logins } from './login-flow.js'
import { beginLogin, showLogin, showLoginAgain } from './login-page.js'
import { beginSignIn, receiveAnswer, type SignInUse } from './sign-in.js'
import { storeGrant, whyNoGrant } from './store-grant.js'
import type { Purpose, Ticket } from './tickets.js'
import { receiveVisitor } from './visits.js'

type Servers = PerIssuer<SignInServer>

export function chooseWay(rooms: PageRooms, servers: Servers | undefined, logins: Logins | undefined): Way {
  if (servers !== undefined) return logins ? signInThenLogin(rooms, servers, logins) : signIn(rooms, servers)
  if (logins !== undefined) return login(rooms, logins)
  throw new InternalError('There is no way to connect')
}

/** The user signs in at the authorization server of the MCP token, whose refresh token is the connection. */
function signIn(rooms: PageRooms, servers: Servers): Way {
  const codeGrantOf = ({ identity }: Purpose): CodeGrant => servers.of(identity.issuer).connection
  const begin = async (ticket: Ticket, req: IncomingMessage) =>
    beginSignIn({ ...rooms, codeGrant: codeGrantOf(ticket) }, ticket, req)
  const use: SignInUse = {
    whyNot: (tokens, purpose, isKnown) => whyNoGrant(rooms, tokens, purpose, isKnown),
    goOn: (req, purpose, tokens) => storeGrant(rooms, req, purpose, tokens),
    resume: () => Promise.reject(new InternalError('A sign-in for the grant itself leads to no login')),
  }
  return {
    scopes: async (purpose) => {
      const codeGrant = codeGrantOf(purpose)
      await codeGrant.checkClient()
      return codeGrant.scopes(await codeGrant.metadata())
    },
    begin,
    again: (_given, ticket, { req }) => begin(ticket, req),
    // Its callback finds the answer withdrawn.
    abandon: () => Promise.resolve(),
    handlers: { callback: callback(rooms, servers, use) },
  }
}

const callback = (rooms: PageRooms, servers: Servers, use: SignInUse): PageHandler =>
  receiveAnswer({ ...rooms, servers }, use, receiveVisitor(rooms))

/** The app's own sign-in says who it is, and the user agrees in Nextcloud. */
function login(rooms: PageRooms, logins: Logins): Way {
  return {
    // An app password is for the whole account.
    scopes: () => Promise.resolve([]),
    begin: (ticket, req) => beginLogin({ ...rooms, logins }, ticket, req),
    again: (given, _ticket, visit) => showLoginAgain({ ...rooms, logins }, given.login ?? '', visit),
    abandon: ({ login }) => (login === undefined ? Promise.resolve() : logins.drop(login)),
    handlers: { login: showLogin({ ...rooms, logins }) },
  }
}

/** The user signs in at the authorization server, which says who it is and no more, and then agrees in Nextcloud. */
function signInThenLogin(rooms: PageRooms, servers: Servers, logins: Logins): Way {
  const afterwards = login(rooms, logins)
  const before = signIn(rooms, servers)
  const use: SignInUse = {
    // Whose account in Nextcloud it is, is asked once that is known.
    whyNot: (_tokens, { identity }, isKnown) => Promise.resolve(isKnown ? undefined : identity),
    goOn: async (req, purpose) => {
      const begun = await beginLogin({ ...rooms, logins }, purpose, req)
      await rooms.answers.note(purpose.answer, { login: begun.login })
      return begun
    },
    resume: (secret, visit) => showLoginAgain({ ...rooms, logins }, secret, visit),
  }
  return {
    ...before,
    again: (given, ticket, visit) => (given.login === undefined ? before : afterwards).again(given, ticket, visit),
    abandon: afterwards.abandon,
    scopes: async ({ identity }) => {
      await servers.of(identity.issuer).connection.metadata()
      return []
    },
    handlers: { ...afterwards.handlers, callback: callback(rooms, servers, use) },
  }
}
