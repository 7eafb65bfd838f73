import type { IncomingMessage } from 'node:http'
import type { CodeAnswer } from '../authorization-server/code-grant.js'
import { refreshEnd, sharedAccessToken } from '../grants/grant.js'
import { persevere } from '../grants/persevere.js'
import type { Outcome } from './browser.js'
import type { PageRooms } from './connect-rooms.js'
import { showConnected } from './disconnection.js'
import type { Purpose } from './tickets.js'

/**
 * Stores the refresh token of a sign-in as the user's connection.
 *
 * @throws {StorageError} the grant cannot be stored
 */
export async function storeGrant(
  rooms: PageRooms,
  req: IncomingMessage,
  { identity, clientId }: Purpose,
  tokens: CodeAnswer,
): Promise<Outcome> {
  const { grants, broker, events, clock, onConnected, config, connect, failed, pages } = rooms
  const { refreshToken, access } = tokens
  if (refreshToken === undefined) {
    return failed('no_refresh_token', pages.noRefreshToken(), {
      hint: 'The authorization server gave no refresh token: allow offline_access (or refresh tokens) for this client.',
    })
  }
  const fingerprint = grants.fingerprint(refreshToken)
  // Shared, so that the first tool call needs no refresh.
  const accessToken = sharedAccessToken(access, grants.askedFor, clock)
  const refreshEndsAt = refreshEnd(tokens, access.sentAt, clock)
  const connection = {
    refreshToken,
    fingerprint,
    clientId,
    scopes: tokens.scopes ?? connect.scopes,
    ...(refreshEndsAt !== undefined && { refreshEndsAt }),
    ...(accessToken && { accessToken }),
  }
  // The code is spent, so a short outage of the store would cost the user the whole way.
  await persevere(clock, config.http.timeout, () => grants.store.connect(identity, connection))
  broker.forget(identity)
  events.emit({ type: 'grant.stored', ...identity, clientId, fingerprint })
  onConnected(identity)
  return showConnected(rooms, req, { identity, clientId })
}
