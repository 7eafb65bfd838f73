import type { IncomingMessage } from 'node:http'
import type { AuthorizationServer } from 'oauth4webapi'
import type { CodeAnswer } from '../authorization-server/code-grant.js'
import { hintForAuthorization } from '../authorization-server/hints.js'
import { MEANS_OUTAGE } from '../authorization-server/token-error.js'
import { TokenRequestError, UpstreamUnavailableError } from '../errors/errors.js'
import { sharedAccessToken, wallTime, type Identity } from '../grants/grant.js'
import type { Connection } from '../grants/grant-store.js'
import { persevere } from '../grants/persevere.js'
import { appKnows, checkSubjects, hasCommonSubjects } from './browser-identity.js'
import { type ConnectParts, needCodeGrant, type PendingAuthorization } from './connect-parts.js'
import { consentForm } from './consent.js'
import { offerToDisconnect } from './disconnection.js'
import type { LoginOwner, Logins } from './login-flow.js'
import type { Page } from './pages/pages.js'
import { waitingPage } from './waiting-page.js'

/** A callback of the browser that began the flow, which no other callback can repeat. */
export interface Callback {
  readonly as: AuthorizationServer
  readonly query: URLSearchParams
  readonly state: string
  readonly pending: PendingAuthorization
  /** Whether the app's own sign-in says that it is this user; undefined when the ID token has to. */
  readonly appSays: boolean | undefined
}

/** How it ends. */
export interface Outcome {
  readonly page: Page
  /** `Set-Cookie` values for what the page offers. */
  readonly cookies?: readonly string[]
  readonly connected?: boolean
}

/** RFC 6749 §4.1.2.1, as far as error codes go that are in use: what else is there is text, and comes from outside. */
const ERROR_CODE = /^[\w.-]{1,64}$/

/**
 * Redeems the code, and stores the grant if it is the user's own.
 *
 * @throws {UpstreamUnavailableError} the authorization server cannot be asked
 * @throws {StorageError} the grant cannot be stored
 * @throws {ConfigurationError} nobody can tell who is at the browser
 */
export async function completeConnection(
  parts: ConnectParts,
  req: IncomingMessage,
  { as, query, state, pending, appSays }: Callback,
): Promise<Outcome> {
  const { pages, verifyIdToken, failed } = parts
  const codeGrant = needCodeGrant(parts)
  checkSubjects(parts, as)
  if (appSays === false) {
    failed('person')
    return { page: pages.otherPerson({}) }
  }
  const answer = codeGrant.readAnswer(as, query, state)
  if (answer.kind === 'unusable') {
    failed('answer')
    return { page: pages.badAnswer() }
  }
  if (answer.kind === 'error') return { page: providerError(parts, answer.error) }
  let tokens: CodeAnswer
  try {
    tokens = await codeGrant.redeem(as, answer.parameters, pending.verifier)
  } catch (error) {
    if (!(error instanceof TokenRequestError)) throw error
    const { error: code, errorDescription, hint } = error
    failed('refused', { error: code, errorDescription, hint })
    return { page: pages.providerRefused({ error: code ?? 'invalid_response' }) }
  }
  const { idToken } = tokens
  const person = idToken && (await verifyIdToken(idToken, { issuer: as.issuer, nonce: pending.nonce }))
  // Where the app knows who it is, or the server has none, an ID token need not be there; one that is there has to be good.
  if (!person && (idToken !== undefined || (appSays === undefined && codeGrant.hasIdToken))) {
    failed('id_token')
    return { page: { ...pages.badAnswer(), status: 403 } }
  }
  // Where the server's subjects are everybody's, it has to agree with the app: another account may be signed in there.
  const tells =
    (appSays === undefined && codeGrant.hasIdToken) ||
    (typeof person === 'object' && hasCommonSubjects(as, person, pending.identity))
  const isKnown = appSays === true || tells
  if (
    (tells && !isSamePerson(person, pending.identity)) ||
    // With app passwords, it is the account in Nextcloud that the app is asked about.
    !(parts.logins === undefined ? await appKnows(parts, tokens.members, pending, isKnown) : isKnown)
  ) {
    failed('person')
    return tryAgain(parts, req, pending)
  }
  if (parts.logins !== undefined) return beginLogin(parts, parts.logins, req, pending)
  if (tokens.refreshToken === undefined) {
    failed('no_refresh_token', {
      hint: 'The authorization server gave no refresh token: allow offline_access (or refresh tokens) for this client.',
    })
    return { page: pages.noRefreshToken() }
  }
  await storeGrant(parts, pending, { ...tokens, refreshToken: tokens.refreshToken })
  // Where the browser goes on, nobody would see it.
  const offer = parts.connect.returnTo === undefined ? await offerToDisconnect(parts, req, pending) : undefined
  const page = pages.connected({ clientName: pending.clientId, ...(offer && { disconnect: offer.target }) })
  return { page, cookies: offer?.cookie.headers ?? [], connected: true }
}

function isSamePerson(person: Identity | '' | undefined, { issuer, subject }: Identity): boolean {
  return typeof person === 'object' && person.issuer === issuer && person.subject === subject
}

/** What the authorization server says instead of giving a code (RFC 6749 §4.1.2.1). */
function providerError({ pages, failed }: ConnectParts, given: string): Page {
  const error = ERROR_CODE.test(given) ? given : 'unknown_error'
  if (error === 'access_denied') {
    failed('declined')
    return pages.declined()
  }
  if (MEANS_OUTAGE.includes(error)) {
    throw new UpstreamUnavailableError(`The authorization server answers ${error} to an authorization request`)
  }
  failed('refused', { error, hint: hintForAuthorization(error) })
  return pages.providerRefused({ error })
}

/** Who is at the browser is known. Of the sign-in nothing is kept: in Nextcloud the user agrees to something else. */
async function beginLogin(
  parts: ConnectParts,
  logins: Logins,
  req: IncomingMessage,
  { identity, clientId }: LoginOwner,
): Promise<Outcome> {
  const { secret, login } = await logins.begin({ identity, clientId })
  return waitingPage(parts, req, secret, login)
}

/** Another round with the same purpose, for this browser: the person may have another account there. */
export async function tryAgain(parts: ConnectParts, req: IncomingMessage, owner: LoginOwner): Promise<Outcome> {
  const ticket = await parts.tickets.again(owner)
  const { target: retry, cookie } = consentForm(parts, req, ticket.secret, ticket)
  return { page: parts.pages.otherPerson({ retry }), cookies: cookie.headers }
}

async function storeGrant(
  { grants, connect, broker, events, clock, onConnected, config }: ConnectParts,
  { identity, clientId }: PendingAuthorization,
  { refreshToken, refreshExpiresIn, scopes, access }: CodeAnswer & { readonly refreshToken: string },
): Promise<void> {
  const fingerprint = grants.fingerprint(refreshToken)
  // Shared, so that the first tool call needs no refresh.
  const accessToken = sharedAccessToken(access, clock)
  const connection: Connection = {
    refreshToken,
    fingerprint,
    clientId,
    scopes: scopes ?? connect.scopes,
    ...(refreshExpiresIn !== undefined && { refreshEndsAt: wallTime(access.sentAt, clock) + refreshExpiresIn * 1_000 }),
    ...(accessToken && { accessToken }),
  }
  // The code is spent, so a store that is away for a moment would cost the user the whole way.
  await persevere(clock, config.http.timeout, () => grants.store.connect(identity, connection))
  broker.forget(identity)
  events.emit({ type: 'grant.stored', ...identity, clientId, fingerprint })
  onConnected(identity)
}
