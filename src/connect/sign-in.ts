import type { IncomingMessage } from 'node:http'
import type { AuthorizationServer } from 'oauth4webapi'
import type { CodeAnswer, CodeGrant } from '../authorization-server/code-grant.js'
import { hintForAuthorization } from '../authorization-server/hints.js'
import { MEANS_OUTAGE } from '../authorization-server/token-error.js'
import { TokenRequestError, UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { claimsForRule } from '../config/identity-rule.js'
import type { OfPerson } from '../events.js'
import { queryOf, singleParameter, type Outcome, type PageHandler } from './browser.js'
import type { Beginning, PageRooms, PendingAuthorization } from './connect-rooms.js'
import { tryAgain } from './consent.js'
import { digest, flowOf, holds } from './cookies.js'
import { takeOnce } from './one-time.js'
import { purposeOf, type Purpose, type Ticket } from './tickets.js'
import { askApp, checkSubjects, whoIsThere } from './who-is-there.js'

/** The use of a sign-in at the authorization server. */
export interface SignInUse {
  /**
   * Looks whether the person who has signed in may go on: resolves to what the operator is told of a no, and to undefined for a yes.
   *
   * @param isKnown whether the app's sign-in or an ID token says that it is the user whose link it is
   */
  readonly whyNot: (tokens: CodeAnswer, purpose: Purpose, isKnown: boolean) => Promise<OfPerson | undefined>
  /** The next step of that person. */
  readonly goOn: (req: IncomingMessage, purpose: Purpose, tokens: CodeAnswer) => Promise<Outcome>
}

interface SignInRooms extends PageRooms {
  readonly codeGrant: CodeGrant
}

/** Sends the browser to the authorization server. */
export async function beginSignIn(
  rooms: Pick<SignInRooms, 'codeGrant' | 'connect' | 'events' | 'pending' | 'cookies' | 'pages'>,
  ticket: Ticket,
  req: IncomingMessage,
): Promise<Beginning> {
  const { codeGrant, pending, cookies, pages } = rooms
  const as = await codeGrant.metadata()
  checkSubjects(rooms, as)
  const secrets = codeGrant.secrets()
  const { state, nonce, verifier } = secrets
  const url = await codeGrant.authorizationUrl(as, secrets, ticket.selectAccount)
  // A fresh cookie, which a stranger who has planted the one before does not know.
  const cookie = cookies.issue(req, flowOf(state))
  await pending.create({ ...purposeOf(ticket), nonce, verifier, cookieHash: digest(cookie.value) }, state)
  return {
    // Not a redirect: form-action (CSP) would bind it, and all that follow, which are up to the server there.
    page: pages.goingOn({ url: url.href, host: url.host }),
    cookies: cookie.headers,
    undo: () => pending.drop(state),
  }
}

/** `GET …/callback`: the browser comes back from the authorization server. */
export function receiveAnswer(rooms: SignInRooms, use: SignInUse): PageHandler {
  const { codeGrant, pages, pending, cookies, connect, failed } = rooms
  return async (req, res) => {
    const query = queryOf(req)
    const state = singleParameter(query, 'state')
    const flow = flowOf(state)
    const claim = await takeOnce(pending, state, ({ cookieHash }) => holds(cookies.values(req, flow), cookieHash))
    if (claim === 'unknown') return failed('state', pages.badAnswer())
    if (claim === 'other browser') return failed('browser', pages.notFromHere())
    // Fetch what can fail before spending the record, so that reloading the page works.
    const as = await codeGrant.metadata()
    if (connect.authenticateBrowser === undefined && codeGrant.hasIdToken) await rooms.loadKeys()
    const appSays = await askApp(rooms, req, claim.value.identity)
    // From here on a replay finds nothing, and the code is sent once at most.
    if (!(await claim.take())) return failed('state', pages.badAnswer())
    // Set before the rest, because the flow is over even if that fails.
    res.appendHeader('Set-Cookie', cookies.end(flow))
    return completeSignIn(rooms, use, req, { as, query, state, pending: claim.value, appSays })
  }
}

/** A callback of the browser that began the flow. No other callback can repeat it. */
interface Callback {
  readonly as: AuthorizationServer
  readonly query: URLSearchParams
  readonly state: string
  readonly pending: PendingAuthorization
  /** Whether the app's own sign-in says that it is this user. Undefined: the ID token must. */
  readonly appSays: boolean | undefined
}

/**
 * Redeems the code, and goes on if the person is the user whose link it is.
 *
 * @throws {UpstreamUnavailableError} the authorization server cannot be asked
 * @throws {ConfigurationError} its ID tokens cannot tell who is at the browser
 */
async function completeSignIn(
  rooms: SignInRooms,
  use: SignInUse,
  req: IncomingMessage,
  { as, query, state, pending, appSays }: Callback,
): Promise<Outcome> {
  const { codeGrant, pages, failed } = rooms
  checkSubjects(rooms, as)
  const { identity, clientId } = pending
  if (appSays === false) return failed('person', pages.otherPerson({}), { ...identity, clientId })
  const answer = codeGrant.readAnswer(as, query, state)
  if (answer.kind === 'unusable') return failed('answer', pages.badAnswer())
  if (answer.kind === 'error') return refusedSignIn(rooms, answer.error)
  const tokens = await codeGrant
    .redeem(as, answer.parameters, pending.verifier)
    .catch(ifError(TokenRequestError, (refusal) => refusal))
  if (tokens instanceof TokenRequestError) {
    const { error, errorDescription, hint } = tokens
    const page = pages.providerRefused({ error: error ?? 'invalid_response' })
    return failed('refused', page, { error, errorDescription, hint })
  }
  const { hasIdToken } = codeGrant
  const expected = { issuer: as.issuer, nonce: pending.nonce }
  const idToken =
    tokens.idToken === undefined ? 'none' : ((await rooms.verifyIdToken(tokens.idToken, expected)) ?? 'bad')
  const who = whoIsThere({ expected: pending.identity, appSays, idToken, hasIdToken, as })
  if (who === 'bad ID token') return failed('id_token', { ...pages.badAnswer(), status: 403 })
  const purpose = typeof idToken === 'object' ? withClaims(rooms, pending, idToken.claims) : purposeOf(pending)
  const no = who === 'another person' ? purpose.identity : await use.whyNot(tokens, purpose, who === 'the same')
  if (no === undefined) return use.goOn(req, purpose, tokens)
  rooms.report('person', { ...no, clientId })
  return tryAgain(rooms, req, pending)
}

/** Returns the purpose with the claims of an ID token in place of those of the MCP token. */
function withClaims({ connect }: Pick<SignInRooms, 'connect'>, purpose: Purpose, given: object): Purpose {
  const claims = claimsForRule(connect.identity, { ...given })
  return purposeOf({ ...purpose, claims: claims ?? {} })
}

/** RFC 6749 §4.1.2.1, as far as error codes go that are in use. The rest is text from outside. */
const ERROR_CODE = /^[\w.-]{1,64}$/

/** The authorization server's error in place of a code (RFC 6749 §4.1.2.1). */
function refusedSignIn({ pages, failed }: Pick<PageRooms, 'pages' | 'failed'>, given: string): Outcome {
  const error = ERROR_CODE.test(given) ? given : 'unknown_error'
  if (error === 'access_denied') return failed('declined', pages.declined())
  if (MEANS_OUTAGE.includes(error)) {
    throw new UpstreamUnavailableError(`The authorization server answers ${error} to an authorization request`)
  }
  return failed('refused', pages.providerRefused({ error }), { error, hint: hintForAuthorization(error) })
}
