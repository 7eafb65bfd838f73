import type { IncomingMessage } from 'node:http'
import type { AuthorizationServer } from 'oauth4webapi'
import type { CodeAnswer, CodeGrant } from '../authorization-server/code-grant.js'
import { hintForAuthorization } from '../authorization-server/hints.js'
import { MEANS_OUTAGE } from '../authorization-server/token-error.js'
import { TokenRequestError, UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { claimsForRule } from '../config/identity-rule.js'
import type { PerIssuer } from '../config/per-issuer.js'
import type { OfPerson, OfRefusal } from '../events.js'
import { pathOf } from '../http/router.js'
import type { SignedInUser } from '../verify/id-token.js'
import { queryOf, singleParameter, type Outcome, type PageHandler } from './browser.js'
import { showStillConnected } from './disconnection.js'
import type { GivenAnswer } from './given-answers.js'
import type { Beginning, PageRooms, PendingAuthorization, PendingVisit, SignInServer, Visit } from './connect-rooms.js'
import { tryAgain } from './consent.js'
import { digest, flowOf, holds } from './cookies.js'
import { redeemCounted } from './noted-tokens.js'
import { takeOnce } from './one-time.js'
import type { Page } from './pages/document.js'
import { purposeOf, type Purpose, type Ticket } from './tickets.js'
import { askApp, checkSubjects, isSamePerson, whoIsThere } from './who-is-there.js'

/** The use of a sign-in at the authorization server. */
export interface SignInUse {
  /**
   * Looks whether the person who has signed in may go on: resolves to what the operator is told of a no, and to undefined for a yes.
   *
   * @param isKnown whether the app's sign-in or an ID token says that it is the user whose link it is
   */
  readonly whyNot: (tokens: CodeAnswer, purpose: Purpose, isKnown: boolean) => Promise<OfPerson | undefined>
  /** Leads on to the login that another callback of the same answer has led to, by its secret. */
  readonly resume: (login: string, visit: Visit) => Promise<Outcome>
  /** The next step of that person. */
  readonly goOn: (req: IncomingMessage, purpose: Purpose, tokens: CodeAnswer) => Promise<Outcome>
}

/** Redeems the code among the parameters of an answer. `too many`: it was not sent. */
export type Redeem = (parameters: URLSearchParams) => Promise<CodeAnswer | 'too many'>

/** A sign-in that came to an end at the authorization server. Whose it is, the ID token says. */
export interface SignedIn {
  readonly tokens: CodeAnswer
  readonly idToken: SignedInUser | 'bad' | 'none'
}

/** A sign-in that came to nothing. */
export interface Refusal {
  readonly reason: 'answer' | 'declined' | 'refused' | 'id_token' | 'too_many'
  readonly details: OfRefusal
}

/** A callback of the browser that began the flow. No other callback can repeat it. */
export interface Callback<Pending> {
  readonly as: AuthorizationServer
  /** Where the browser came back. */
  readonly path: string
  readonly query: URLSearchParams
  readonly state: string
  readonly pending: Pending
}

/** Takes in a visitor of the page of connections, who has signed in at this server. */
export type ReceiveVisitor = (
  req: IncomingMessage,
  callback: Callback<PendingVisit>,
  server: SignInServer,
) => Promise<Outcome>

/** The rooms of a sign-in at one authorization server. */
export interface SignInRooms extends PageRooms, Pick<SignInServer, 'verifyIdToken'> {
  readonly codeGrant: CodeGrant
}

/** Sends the browser to the authorization server. */
export async function beginSignIn(
  rooms: Pick<SignInRooms, 'codeGrant' | 'connect' | 'events' | 'pending' | 'cookies' | 'pages'>,
  ticket: Ticket,
  req: IncomingMessage,
): Promise<Beginning> {
  return leadToSignIn(rooms, purposeOf(ticket), { req, selectAccount: ticket.selectAccount })
}

/** @param purpose what the sign-in is for: its callback finds it stored, and takes no one else's word for it */
export async function leadToSignIn(
  rooms: Pick<SignInRooms, 'codeGrant' | 'connect' | 'events' | 'pending' | 'cookies' | 'pages'>,
  purpose: Purpose | Pick<PendingVisit, 'visit' | 'issuer'>,
  { req, selectAccount }: { readonly req: IncomingMessage; readonly selectAccount: boolean },
): Promise<Beginning> {
  const { codeGrant, pending, cookies, pages } = rooms
  await codeGrant.checkClient()
  const as = await codeGrant.metadata()
  checkSubjects(rooms, as)
  const secrets = codeGrant.secrets()
  const { state, nonce, verifier } = secrets
  const url = await codeGrant.authorizationUrl(as, secrets, selectAccount)
  // A fresh cookie, which a stranger who has planted the one before does not know.
  const cookie = cookies.issue(req, flowOf(state))
  await pending.create({ ...purpose, nonce, verifier, cookieHash: digest(cookie.value) }, state)
  return {
    // Not a redirect: form-action (CSP) would bind it, and all that follow, which are up to the server there.
    page: pages.goingOn({ url: url.href, host: url.host }),
    cookies: cookie.headers,
    undo: () => pending.drop(state),
  }
}

/** `GET …/callback`: the browser comes back from the authorization server to which it was sent, whatever its answer says. */
export function receiveAnswer(
  rooms: PageRooms & { readonly servers: PerIssuer<SignInServer> },
  use: SignInUse,
  receiveVisitor: ReceiveVisitor,
): PageHandler {
  const { servers, pages, pending, cookies, connect, failed } = rooms
  return async (req, res) => {
    const [path, query] = [pathOf(req), queryOf(req)]
    const state = singleParameter(query, 'state')
    const flow = flowOf(state)
    const claim = await takeOnce(pending, state, ({ cookieHash }) => holds(cookies.values(req, flow), cookieHash))
    if (claim === 'unknown') return failed('state', pages.badAnswer())
    if (claim === 'other browser') return failed('browser', pages.notFromHere())
    const { value } = claim
    const server = servers.of('visit' in value ? value.issuer : value.identity.issuer)
    const { connection: codeGrant, verifyIdToken, loadKeys } = server
    // Fetch what can fail before spending the record, so that reloading the page works.
    const as = await codeGrant.metadata()
    if (connect.authenticateBrowser === undefined && codeGrant.hasIdToken) await loadKeys()
    const appSays = 'visit' in value ? undefined : await askApp(rooms, req, value.identity)
    const given = 'visit' in value || value.answer === undefined ? undefined : await rooms.answers.read(value.answer)
    // From here on a replay finds nothing, and the code is sent once at most.
    if (!(await claim.take())) return failed('state', pages.badAnswer())
    // Set before the rest, because the flow is over even if that fails.
    res.appendHeader('Set-Cookie', cookies.end(flow))
    if ('visit' in value) return receiveVisitor(req, { as, path, query, state, pending: value }, server)
    const before = given && (await ledBefore(rooms, use, { given: given.value, pending: value }, { req, res }))
    const at = { ...rooms, codeGrant, verifyIdToken }
    return before ?? completeSignIn(at, use, req, { as, path, query, state, pending: value, appSays })
  }
}

/** Returns where another callback of the same answer has led, or the end of a withdrawn answer. The code is not sent then. */
async function ledBefore(
  rooms: PageRooms,
  { resume }: Pick<SignInUse, 'resume'>,
  { given, pending }: { readonly given: GivenAnswer; readonly pending: PendingAuthorization },
  visit: Visit,
): Promise<Outcome | undefined> {
  if (given.answer === 'no') return rooms.failed('declined', rooms.pages.declined())
  if (given.connected === true) return showStillConnected(rooms, visit.req, pending)
  return given.login === undefined ? undefined : resume(given.login, visit)
}

/**
 * Redeems the code, and goes on if the person is the user whose link it is.
 *
 * @param callback with `appSays`: whether the app's own sign-in says that it is this user. Undefined: the ID token must
 * @throws {UpstreamUnavailableError} the authorization server cannot be asked
 * @throws {ConfigurationError} its ID tokens cannot tell who is at the browser
 */
async function completeSignIn(
  rooms: SignInRooms,
  use: SignInUse,
  req: IncomingMessage,
  callback: Callback<PendingAuthorization> & { readonly appSays: boolean | undefined },
): Promise<Outcome> {
  const { pages, failed } = rooms
  const { as, pending, appSays } = callback
  checkSubjects(rooms, as)
  const { identity, clientId } = pending
  if (appSays === false) return failed('person', pages.otherPerson({ at: 'app' }), { ...identity, clientId })
  const redeem: Redeem = (parameters) =>
    redeemCounted(rooms, req, { as, parameters, verifier: pending.verifier, identity })
  const signedIn = await redeemAnswer({ ...rooms, redeem }, callback)
  if ('reason' in signedIn) return failed(signedIn.reason, refusalPage(rooms, signedIn), signedIn.details)
  const { tokens, idToken } = signedIn
  const { hasIdToken } = rooms.codeGrant
  const who = whoIsThere({ expected: identity, appSays, idToken, hasIdToken, as })
  if (who === 'bad ID token') return failed('id_token', refusalPage(rooms, { reason: 'id_token', details: {} }))
  // An ID token of which only the app says that it is this user's may be another person's, and so are its claims.
  const isOwn = typeof idToken === 'object' && isSamePerson(idToken, identity)
  const purpose = isOwn ? withClaims(rooms, pending, idToken.claims) : purposeOf(pending)
  const no = who === 'another person' ? identity : await use.whyNot(tokens, purpose, who === 'the same')
  if (no === undefined) return use.goOn(req, purpose, tokens)
  rooms.report('person', { ...no, clientId })
  // Where a rule has judged it, it is the account in Nextcloud.
  return tryAgain(rooms, req, { ...pending, at: 'rule' in no ? 'nextcloud' : 'provider' })
}

/** Returns the purpose with the claims of an ID token in place of those of the MCP token. */
function withClaims({ connect }: Pick<SignInRooms, 'connect'>, purpose: Purpose, given: object): Purpose {
  return purposeOf({ ...purpose, claims: claimsForRule(connect.identity, { ...given }) ?? {} })
}

function refusalPage({ pages }: Pick<PageRooms, 'pages'>, { reason, details }: Refusal): Page {
  switch (reason) {
    case 'answer':
      return pages.badAnswer()
    case 'id_token':
      return { ...pages.badAnswer(), status: 403 }
    case 'declined':
      return pages.declined()
    case 'too_many':
      return pages.tooManyRefused()
    case 'refused':
      return pages.providerRefused({ error: details.error ?? 'invalid_response' })
  }
}

/**
 * Redeems the code of a callback, and verifies the ID token that comes for it.
 *
 * @throws {UpstreamUnavailableError} the authorization server cannot be asked
 */
export async function redeemAnswer(
  {
    codeGrant,
    verifyIdToken,
    redeem,
  }: Pick<SignInRooms, 'verifyIdToken'> & {
    readonly codeGrant: Pick<CodeGrant, 'redirectUri' | 'readAnswer'>
    readonly redeem: Redeem
  },
  { as, path, query, state, pending: { nonce } }: Callback<Pick<PendingVisit, 'nonce'>>,
): Promise<SignedIn | Refusal> {
  // RFC 9700 §4.4.2.2: at the redirect URI of another issuer it is that one's code.
  if (path !== new URL(codeGrant.redirectUri(as)).pathname) return { reason: 'answer', details: {} }
  const answer = codeGrant.readAnswer(as, query, state)
  if (answer.kind === 'unusable') return { reason: 'answer', details: {} }
  if (answer.kind === 'error') return refusedSignIn(answer.error)
  const tokens = await redeem(answer.parameters).catch(ifError(TokenRequestError, (refusal) => refusal))
  if (tokens instanceof TokenRequestError) {
    const { error, errorDescription, hint } = tokens
    return { reason: 'refused', details: { error, errorDescription, hint } }
  }
  if (tokens === 'too many') return { reason: 'too_many', details: {} }
  if (tokens.idToken === undefined) return { tokens, idToken: 'none' }
  return { tokens, idToken: (await verifyIdToken(tokens.idToken, { issuer: as.issuer, nonce })) ?? 'bad' }
}

/** RFC 6749 §4.1.2.1, as far as error codes go that are in use. The rest is text from outside. */
const ERROR_CODE = /^[\w.-]{1,64}$/

/** The authorization server's error in place of a code (RFC 6749 §4.1.2.1). */
function refusedSignIn(given: string): Refusal {
  const error = ERROR_CODE.test(given) ? given : 'unknown_error'
  if (error === 'access_denied') return { reason: 'declined', details: {} }
  if (MEANS_OUTAGE.includes(error)) {
    throw new UpstreamUnavailableError(`The authorization server answers ${error} to an authorization request`)
  }
  return { reason: 'refused', details: { error, hint: hintForAuthorization(error) } }
}
