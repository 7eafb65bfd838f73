import { InternalError } from '../errors/errors.js'
import type { PageHandler } from './browser.js'
import type { CodeGrants, PageRooms, Way } from './connect-rooms.js'
import type { Logins } from './login-flow.js'
import { beginLogin, showLogin, showLoginAgain } from './login-page.js'
import { beginSignIn, receiveAnswer, type SignInUse } from './sign-in.js'
import { storeGrant, whyNoGrant } from './store-grant.js'
import { receiveVisitor } from './visits.js'

export function chooseWay(rooms: PageRooms, codeGrants: CodeGrants | undefined, logins: Logins | undefined): Way {
  if (codeGrants !== undefined) return logins ? signInThenLogin(rooms, codeGrants, logins) : signIn(rooms, codeGrants)
  if (logins !== undefined) return login(rooms, logins)
  throw new InternalError('There is no way to connect')
}

/** The user signs in at the authorization server, whose refresh token is the connection. */
function signIn(rooms: PageRooms, codeGrants: CodeGrants): Way {
  const { connection: codeGrant } = codeGrants
  const use: SignInUse = {
    whyNot: (tokens, purpose, isKnown) => whyNoGrant(rooms, tokens, purpose, isKnown),
    goOn: (req, purpose, tokens) => storeGrant(rooms, req, purpose, tokens),
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
    // Whose account in Nextcloud it is, is asked once that is known.
    whyNot: (_tokens, { identity }, isKnown) => Promise.resolve(isKnown ? undefined : identity),
    goOn: async (req, purpose) => {
      const begun = await beginLogin({ ...rooms, logins }, purpose, req)
      await rooms.answers.note(purpose.answer, { login: begun.login ?? '' })
      return begun
    },
    resume: (given, visit) => showLoginAgain({ ...rooms, logins }, given.login ?? '', visit),
  }
  return {
    ...before,
    again: (given, ticket, visit) => (given.login === undefined ? before : afterwards).again(given, ticket, visit),
    abandon: afterwards.abandon,
    scopes: () => codeGrants.connection.metadata().then(() => []),
    handlers: { ...afterwards.handlers, callback: callback(rooms, codeGrants, use) },
  }
}
