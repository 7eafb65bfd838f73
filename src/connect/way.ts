import { InternalError } from '../errors/errors.js'
import type { PageHandler } from './browser.js'
import type { CodeGrants, PageRooms, Way } from './connect-rooms.js'
import type { Logins } from './login-flow.js'
import { beginLogin, showLogin, showLoginAgain } from './login-page.js'
import { beginSignIn, receiveAnswer, type SignInUse } from './sign-in.js'
import { storeGrant } from './store-grant.js'
import { receiveVisitor } from './visits.js'
import { appKnows } from './who-is-there.js'

export function chooseWay(rooms: PageRooms, codeGrants: CodeGrants | undefined, logins: Logins | undefined): Way {
  if (codeGrants !== undefined) return logins ? signInThenLogin(rooms, codeGrants, logins) : signIn(rooms, codeGrants)
  if (logins !== undefined) return login(rooms, logins)
  throw new InternalError('There is no way to connect')
}

/** The user signs in at the authorization server, whose refresh token is the connection. */
function signIn(rooms: PageRooms, codeGrants: CodeGrants): Way {
  const { connection: codeGrant } = codeGrants
  const use: SignInUse = {
    accepts: (tokens, pending, isKnown) => appKnows(rooms, tokens.members, pending, isKnown),
    // Where the provider is Nextcloud, or its answer tells of the account there, the app is asked about that.
    accountAt: rooms.connect.identity === undefined ? 'provider' : 'nextcloud',
    goOn: (req, pending, tokens) => storeGrant(rooms, req, pending, tokens),
    resume: () => Promise.reject(new InternalError('A sign-in for the grant itself leads to no login')),
  }
  return {
    scopes: async () => codeGrant.scopes(await codeGrant.metadata()),
    begin: (ticket, req) => beginSignIn({ ...rooms, codeGrant }, ticket, req),
    again: (_given, ticket, { req }) => beginSignIn({ ...rooms, codeGrant }, ticket, req),
    // Its callback finds the answer withdrawn.
    abandon: () => Promise.resolve(),
    handlers: { callback: callback(rooms, codeGrants, use) },
  }
}

const callback = (rooms: PageRooms, { connection, identity }: CodeGrants, use: SignInUse): PageHandler =>
  receiveAnswer({ ...rooms, codeGrant: connection }, use, receiveVisitor({ ...rooms, codeGrant: identity }))

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
function signInThenLogin(rooms: PageRooms, codeGrants: CodeGrants, logins: Logins): Way {
  const afterwards = login(rooms, logins)
  const before = signIn(rooms, codeGrants)
  const use: SignInUse = {
    // The app is asked about the account in Nextcloud instead, once it is known.
    accepts: (_tokens, _pending, isKnown) => Promise.resolve(isKnown),
    accountAt: 'provider',
    goOn: async (req, pending) => {
      const begun = await beginLogin({ ...rooms, logins }, pending, req)
      await rooms.answers.note(pending.answer, { login: begun.login ?? '' })
      return begun
    },
    resume: (given, _pending, visit) => showLoginAgain({ ...rooms, logins }, given.login ?? '', visit),
  }
  return {
    ...before,
    again: (given, ticket, visit) => (given.login === undefined ? before : afterwards).again(given, ticket, visit),
    abandon: afterwards.abandon,
    scopes: () => codeGrants.connection.metadata().then(() => []),
    handlers: { ...afterwards.handlers, callback: callback(rooms, codeGrants, use) },
  }
}
