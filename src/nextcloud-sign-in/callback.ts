import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CodeAnswer } from '../authorization-server/code-grant.js'
import { ofNamedUser } from '../broker/credential-end.js'
import { queryOf, singleParameter, type Outcome } from '../connect/browser.js'
import { flowOf, holds } from '../connect/cookies.js'
import type { Page } from '../connect/pages/document.js'
import { endTokens, redeemCounted, type BroughtCode } from '../connect/noted-tokens.js'
import { WITHDRAWN } from '../connect/login-answers.js'
import { connectionOf } from '../connect/store-grant.js'
import { TokenRequestError, UpstreamUnavailableError } from '../errors/errors.js'
import { isLiving, type Identity } from '../grants/grant.js'
import { persevere } from '../grants/persevere.js'
import { isOpen, keepResult, noteSent } from './interaction.js'
import { startSession } from './own-sign-in.js'
import { PATHS } from './paths.js'
import type { PendingSignIn, SignInResult, SignInRooms } from './sign-in-rooms.js'
import { isSameAccount, loginOf } from './withdrawn.js'

/**
 * `GET …/callback`: the browser comes back from Nextcloud. Undefined: the state is not of a sign-in, and another handler may know it.
 *
 * A code that comes to another browser than the one that left is spent and dropped, so that it is worth nothing in an address bar.
 */
export async function receiveCode(
  rooms: SignInRooms,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<Outcome | undefined> {
  const { pending, cookies, signInPages, codeGrant, events } = rooms
  const query = queryOf(req)
  const state = singleParameter(query, 'state')
  const record = await pending.read(state)
  if (record === undefined)
    return ANSWERED.some((name) => query.has(name)) ? undefined : { page: signInPages.noAnswer() }
  const flow = flowOf(state)
  const as = await codeGrant.metadata()
  const answer = codeGrant.readAnswer(as, query, state)
  // From here on a replay finds nothing, and the code is sent once at most.
  if (!(await pending.spend(record))) return { page: signInPages.badAnswer() }
  const isOurs = holds(cookies.values(req, flow), record.value.cookieHash)
  // On the way to a client, `/done` looks at it once more.
  if (isOurs && 'visit' in record.value) res.appendHeader('Set-Cookie', cookies.end(flow))
  if (answer.kind !== 'code') {
    events.emit({ type: 'connect.failed', reason: answer.kind === 'error' ? 'declined' : 'answer' })
    return isOurs && answer.kind === 'error'
      ? goBack(rooms, { flow, pending: record.value }, { denied: true })
      : { page: signInPages.badAnswer() }
  }
  const tokens = await redeem(rooms, req, { as, parameters: answer.parameters, pending: record.value })
  if ('page' in tokens) return tokens
  if (isOurs) return signIn(rooms, { req, res, flow, pending: record.value }, tokens)
  await drop(rooms, tokens)
  events.emit({ type: 'connect.failed', reason: 'browser' })
  return { page: signInPages.notFromHere() }
}

/** Parameters of an answer of Nextcloud. */
const ANSWERED = ['state', 'code', 'error']

/**
 * Sends a code to Nextcloud, one for each question and few wrong ones for each address: anybody can begin a sign-in and make a code up.
 *
 * @returns the tokens, or the page that says why there are none
 */
async function redeem(
  rooms: SignInRooms,
  req: IncomingMessage,
  { as, parameters, pending }: Pick<BroughtCode, 'as' | 'parameters'> & { readonly pending: PendingSignIn },
): Promise<CodeAnswer | { readonly page: Page }> {
  const { signInPages, events, issuer } = rooms
  const sent = 'visit' in pending ? undefined : await noteSent(rooms, pending.interaction)
  if (sent === 'before') return { page: signInPages.badAnswer() }
  const identity = { issuer: issuer.origin, subject: '' }
  try {
    const tokens = await redeemCounted(rooms, req, { as, parameters, verifier: pending.verifier, identity })
    if (tokens !== 'too many') return tokens
    // Nothing was sent, so that the same question may be answered again.
    await sent?.forget()
    events.emit({ type: 'connect.failed', reason: 'too_many' })
    return { page: signInPages.tooMany() }
  } catch (error) {
    if (!(error instanceof TokenRequestError)) {
      await sent?.forget()
      throw error
    }
    const { error: reason = 'invalid_response', errorDescription, hint } = error
    events.emit({ type: 'connect.failed', reason: 'refused', error: error.error, errorDescription, hint })
    return { page: signInPages.notLetIn(reason) }
  }
}

async function goBack(
  rooms: SignInRooms,
  { flow, pending }: Pick<Arrival, 'flow' | 'pending'>,
  result: SignInResult,
): Promise<Outcome> {
  const { issuer, signInPages, connect } = rooms
  // Pages, and no redirects: the policy of Nextcloud's own page would bind all redirects that follow.
  if ('visit' in pending) return { page: signInPages.goOn(issuer.origin + connect.path, 'connections') }
  const { interaction, cookieHash } = pending
  await keepResult(rooms, interaction, { ...result, flow, cookieHash })
  return { page: signInPages.goOn(`${issuer.origin}${PATHS.interaction}/${interaction}/done`, 'app') }
}

/** A browser that has come back with a code. */
interface Arrival {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly flow: string
  readonly pending: PendingSignIn
}

/** Signs in the account that Nextcloud names twice: in the answer to the code, and when asked with the token itself. */
async function signIn(rooms: SignInRooms, arrival: Arrival, tokens: CodeAnswer): Promise<Outcome> {
  const { pending } = arrival
  const { signInPages, events } = rooms
  const dropFirst = async (error: unknown): Promise<never> => {
    await drop(rooms, tokens)
    throw error
  }
  const { user, withdrawals } = await whoIs(rooms, tokens).catch(dropFirst)
  if (user === undefined || user !== tokens.members['user_id'] || tokens.refreshToken === undefined) {
    await drop(rooms, tokens)
    events.emit({ type: 'connect.failed', reason: tokens.refreshToken === undefined ? 'no_refresh_token' : 'person' })
    return { page: signInPages.otherAccount() }
  }
  if ('visit' in pending) {
    // It says who is there, and is no connection.
    await drop(rooms, tokens)
    const ended = await endOfBefore(rooms, { issuer: rooms.issuer.origin, subject: user })
    await startSession(rooms, arrival, loginOf(user, withdrawals + ended))
    return goBack(rooms, arrival, { user, withdrawals })
  }
  const { clientId, interaction, before } = pending
  if (!(await isOpen(rooms, interaction).catch(dropFirst))) {
    await drop(rooms, tokens)
    events.emit({ type: 'connect.failed', reason: 'declined' })
    return { page: signInPages.unknown() }
  }
  // What was taken back after the yes counts, where it was known whose yes it was.
  const of = { clientId, withdrawals: before?.user === user ? before.withdrawals : withdrawals }
  const stored = await store(rooms, user, { ...tokens, refreshToken: tokens.refreshToken }, of)
  return goBack(rooms, arrival, stored === 'withdrawn' ? { denied: true } : { user, ...stored })
}

/** What the person has agreed to in this sign-in. */
interface Consent {
  readonly clientId: string
  readonly withdrawals: number
}

/** A person who has signed in: undefined if Nextcloud refuses to say who it is. */
interface SignedIn {
  readonly user: string | undefined
  /** `GrantStore.withdrawals` when that was asked. */
  readonly withdrawals: number
}

/**
 * @throws {UpstreamUnavailableError} Nextcloud does not say it
 * @throws {StorageError} the store cannot be asked what the user has taken back so far
 */
async function whoIs(rooms: SignInRooms, { access, members }: CodeAnswer): Promise<SignedIn> {
  const { freshCredentials, grants, issuer } = rooms
  // Before the question: the user may disconnect while it is open.
  const withdrawals = await grants.store.withdrawals(ofNamedUser({ issuer: issuer.origin, subject: '' }, members))
  const account = await freshCredentials.accountOf({ scheme: 'Bearer', token: access.accessToken })
  if (account === undefined) {
    throw new UpstreamUnavailableError('Nextcloud does not say who has signed in', { service: 'Nextcloud' })
  }
  return { user: account === 'refused' ? undefined : account.id, withdrawals }
}

/** Has Nextcloud end tokens that nobody may use: this ends its session and refresh token as well. */
async function drop(rooms: SignInRooms, tokens: CodeAnswer): Promise<void> {
  const { events, issuer } = rooms
  const hint = await endTokens(rooms, ofNamedUser({ issuer: issuer.origin, subject: '' }, tokens.members), tokens)
  if (hint !== undefined) events.emit({ type: 'connect.failed', reason: 'refused', hint })
}

/**
 * Nextcloud's tokens of the sign-in are the connection: nobody connects twice. Those of the sign-in before end.
 *
 * @returns `withdrawn` if the user has disconnected meanwhile: the tokens are ended
 * @throws {StorageError} they cannot be stored, and are ended unless they are after all
 */
async function store(
  rooms: SignInRooms,
  user: string,
  tokens: CodeAnswer & { readonly refreshToken: string },
  of: Consent,
): Promise<Pick<Consent, 'withdrawals'> | 'withdrawn'> {
  const { grants, deletions, config, clock, events, issuer } = rooms
  const identity = { issuer: issuer.origin, subject: user }
  const { clientId } = of
  const connection = connectionOf(rooms, tokens, { ...of, scopes: [], isSameAccount: () => isSameAccount(rooms, user) })
  const connect = () => grants.store.connect(identity, connection)
  const stored = await persevere(clock, config.http.timeout, connect).catch((error: unknown) => {
    grants.background(deletions.leave(identity, { refreshToken: tokens.refreshToken }))
    throw error
  })
  if (stored === 'withdrawn') {
    await drop(rooms, tokens)
    events.emit({ type: 'connect.failed', reason: 'declined', ...identity, clientId, hint: WITHDRAWN })
    return stored
  }
  const { retired, withdrawals } = stored
  events.emit({ type: 'grant.stored', ...identity, clientId, fingerprint: connection.fingerprint })
  grants.background(deletions.stored(connection))
  if (retired !== undefined) grants.background(deletions.end(identity, retired.credential, retired.dead))
  return { withdrawals }
}

/**
 * Ends a connection that a person who visits the page need not have made: a user id may be given to another person once its account is
 * deleted, and what the first agreed to is not for the second to see.
 *
 * @returns the number of withdrawals that this is
 * @throws {UpstreamUnavailableError} Nextcloud does not say whether the connection is good
 */
async function endOfBefore({ standingOf, grants, deletions }: SignInRooms, identity: Identity): Promise<0 | 1> {
  const ended = await grants.store.endUnless(identity, async (before) => {
    const standing = before !== undefined && isLiving(before) ? await standingOf(identity.subject) : 'refused'
    // A look at the page must not end a good connection.
    if (standing === 'untold') throw new UpstreamUnavailableError('Nextcloud does not say who the user is')
    return standing === 'taken'
  })
  if (ended === 'kept') return 0
  if (ended?.retired !== undefined) grants.background(deletions.forget(ended.retired.credential))
  return 1
}
