import type { IncomingMessage } from 'node:http'
import type { CodeAnswer } from '../authorization-server/code-grant.js'
import type { OfPerson } from '../events.js'
import { isLiving, refreshEnd, retiredBy, sharedAccessToken } from '../grants/grant.js'
import type { Connection } from '../grants/grant-store.js'
import { persevere } from '../grants/persevere.js'
import { quirksOf } from '../presets.js'
import type { Outcome } from './browser.js'
import type { PageRooms } from './connect-rooms.js'
import { showConnected } from './disconnection.js'
import type { Purpose } from './tickets.js'
import { whyNotTheirs } from './whose-account.js'

/**
 * Looks whether the account that a sign-in opens may be the user's connection. If not, and Nextcloud itself gave the tokens, they are
 * ended there: elsewhere they are dropped, because some servers revoke all that the user has with this client.
 *
 * @param isKnown whether the app's sign-in or an ID token says who has signed in
 * @returns what the operator is told of a no; undefined for a yes
 */
export async function whyNoGrant(
  rooms: PageRooms,
  { access, members }: CodeAnswer,
  purpose: Purpose,
  isKnown: boolean,
): Promise<OfPerson | undefined> {
  const { connect, nextcloud, freshCredentials } = rooms
  const isOfNextcloud = quirksOf(nextcloud.preset).endpoints !== undefined
  const token = access.accessToken
  // Without an ID token the rule alone tells, so that there must be one.
  if (connect.identity === undefined && !isKnown) return purpose.identity
  const credential = {
    secret: { scheme: 'Bearer', token },
    ...(isOfNextcloud && { userId: members['user_id'] }),
  } as const
  const no = await whyNotTheirs(rooms, credential, purpose)
  if (no === undefined || !isOfNextcloud || (await freshCredentials.endToken(token))) return no
  return { ...no, hint: `${no.hint ?? ''} ${NOT_ENDED}`.trim() }
}

export const NOT_ENDED =
  'Its tokens could not be ended in Nextcloud: the user finds the session there, under Security, Devices & sessions.'

/** Returns the connection that the tokens of a sign-in make. */
export function connectionOf(
  { grants, clock }: Pick<PageRooms, 'grants' | 'clock'>,
  tokens: CodeAnswer & { readonly refreshToken: string },
  of: Pick<Connection, 'clientId' | 'scopes'>,
): Connection & { readonly refreshToken: string } {
  const { refreshToken, access } = tokens
  // Shared, so that the first tool call needs no refresh.
  const accessToken = sharedAccessToken(access, grants.askedFor, clock)
  const refreshEndsAt = refreshEnd(tokens, access.sentAt, clock)
  return {
    ...of,
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
  { identity, clientId, answer }: Purpose,
  tokens: CodeAnswer,
): Promise<Outcome> {
  const { answers, grants, broker, deletions, events, clock, onConnected, config, connect, failed, pages } = rooms
  const { refreshToken } = tokens
  if (refreshToken === undefined) {
    return failed('no_refresh_token', pages.noRefreshToken(), {
      hint: 'The authorization server gave no refresh token: allow offline_access (or refresh tokens) for this client.',
    })
  }
  const scopes = tokens.scopes ?? connect.scopes
  const connection = connectionOf(rooms, { ...tokens, refreshToken }, { clientId, scopes })
  const { fingerprint } = connection
  // The code is spent, so a short outage of the store would cost the user the whole way.
  const replaced = await persevere(clock, config.http.timeout, () => grants.store.connect(identity, connection))
  broker.forget(identity)
  events.emit({ type: 'grant.stored', ...identity, clientId, fingerprint })
  onConnected(identity)
  const retired = retiredBy(connection, replaced)
  if (replaced !== undefined && retired !== undefined)
    grants.background(deletions.end(identity, retired, !isLiving(replaced)))
  await answers.note(answer, { connected: true })
  return showConnected(rooms, req, { identity, clientId })
}
