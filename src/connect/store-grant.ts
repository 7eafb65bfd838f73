import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { CodeAnswer } from '../authorization-server/code-grant.js'
import type { OfPerson } from '../events.js'
import { refreshEnd, sharedAccessToken } from '../grants/grant.js'
import type { Connection } from '../grants/grant-store.js'
import { persevere } from '../grants/persevere.js'
import { quirksOf } from '../presets.js'
import type { Outcome } from './browser.js'
import type { PageRooms } from './connect-rooms.js'
import { showConnected } from './disconnection.js'
import { WITHDRAWN } from './login-answers.js'
import { endTokens, NOT_ENDED } from './noted-tokens.js'
import type { Purpose } from './tickets.js'
import { whyNotTheirs } from './whose-account.js'

/**
 * Looks whether the account that a sign-in opens may be the user's connection. If not, the tokens are ended in Nextcloud, where it gave
 * them itself.
 *
 * @param isKnown whether the app's sign-in or an ID token says who has signed in
 * @returns what the operator is told of a no; undefined for a yes
 */
export async function whyNoGrant(
  rooms: PageRooms,
  tokens: CodeAnswer,
  purpose: Purpose,
  isKnown: boolean,
): Promise<OfPerson | undefined> {
  const { connect, nextcloud } = rooms
  const { access, members } = tokens
  const isOfNextcloud = quirksOf(nextcloud.preset).endpoints !== undefined
  // Without an ID token the rule alone tells, so that there must be one.
  if (connect.identity === undefined && !isKnown) return purpose.identity
  const credential = {
    secret: { scheme: 'Bearer', token: access.accessToken },
    ...(isOfNextcloud && { userId: members['user_id'] }),
  } as const
  const no = await whyNotTheirs(rooms, credential, purpose)
  const notEnded = no && (await endTokens(rooms, purpose.identity, tokens))
  return no === undefined || notEnded === undefined ? no : { ...no, hint: `${no.hint} ${notEnded}` }
}

/** Returns the connection that the tokens of a sign-in make. */
export function connectionOf(
  { grants, clock }: Pick<PageRooms, 'grants' | 'clock'>,
  tokens: CodeAnswer & { readonly refreshToken: string },
  of: Pick<Connection, 'clientId' | 'scopes' | 'withdrawals' | 'isSameAccount'>,
): Connection & { readonly refreshToken: string } {
  const { refreshToken, access } = tokens
  // Shared, so that the first tool call needs no refresh.
  const accessToken = sharedAccessToken(access, grants.askedFor, clock)
  const refreshEndsAt = refreshEnd(tokens, access.sentAt, clock)
  return {
    ...of,
    connection: randomUUID(),
    refreshToken,
    fingerprint: grants.fingerprint(refreshToken),
    ...(refreshEndsAt !== undefined && { refreshEndsAt }),
    ...(accessToken && { accessToken }),
  }
}

/**
 * Stores the refresh token of a sign-in as the user's connection.
 *
 * @throws {StorageError} the grant cannot be stored
 */
export async function storeGrant(
  rooms: PageRooms,
  req: IncomingMessage,
  purpose: Purpose,
  tokens: CodeAnswer,
): Promise<Outcome> {
  const { identity, clientId, answer, withdrawals } = purpose
  const { answers, grants, broker, deletions, events, clock, onConnected, config, connect, failed, pages } = rooms
  const { refreshToken } = tokens
  if (refreshToken === undefined) {
    const notEnded = (await endTokens(rooms, identity, tokens)) ?? ''
    return failed('no_refresh_token', pages.noRefreshToken(), {
      hint: `The authorization server gave no refresh token: allow offline_access (or refresh tokens) for this client. ${notEnded}`.trim(),
    })
  }
  const scopes = tokens.scopes ?? connect.scopes
  const { ownSignIn } = config
  const isSameAccount = ownSignIn && (() => ownSignIn.isSameAccount(identity.subject))
  const connection = connectionOf(rooms, { ...tokens, refreshToken }, { clientId, scopes, withdrawals, isSameAccount })
  const { fingerprint } = connection
  // The code is spent, so a short outage of the store would cost the user the whole way.
  const stored = await persevere(clock, config.http.timeout, () => grants.store.connect(identity, connection)).catch(
    (error: unknown) => {
      // No page waits for a store that fails.
      grants.background(deletions.leave(identity, { refreshToken }))
      throw error
    },
  )
  if (stored === 'withdrawn') {
    const isEnded = await deletions.discard(identity, { refreshToken }, tokens.access.accessToken)
    const hint = isEnded === 'pending' ? `${WITHDRAWN} ${NOT_ENDED}` : WITHDRAWN
    return failed('declined', pages.withdrawn(), { ...identity, clientId, hint })
  }
  const { retired } = stored
  broker.forget(identity)
  events.emit({ type: 'grant.stored', ...identity, clientId, fingerprint })
  onConnected(identity)
  grants.background(deletions.stored(connection))
  if (retired !== undefined) grants.background(deletions.end(identity, retired.credential, retired.dead))
  await answers.note(answer, { connected: true })
  return showConnected(rooms, req, purpose)
}
